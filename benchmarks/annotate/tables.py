"""The tables of `benchmarks/annotate.json`."""

from __future__ import annotations

from typing import Any

from benchmarks.annotate.driver import CHUNK
from training.report.markdown import table

PHOTOS = 1e6
CORES = (2, 64, 1000)  # for which a million photos are calculated


def throughput(result: dict[str, Any]) -> str:
    """Photos per second by engine and workers, and the processor time behind them."""
    head = (
        "Photos", "Engine, workers", "runs", "photos/s", "workers idle", "a worker's ms of processor time per photo",
        "cores for other processes", "share of one core's rate, calculated", "MB",
    )  # fmt: skip
    rows = []
    for size, runs in result["throughput"].items():
        for name, run in runs.items():
            rows.append(
                (
                    _photos(size), name.replace(" ", ", "), run["runs"], f"{run['per_second']:.1f}",
                    f"{run['idle']:.0%}", f"{run['worker_ms']:.1f}",
                    f"{run['other_cores']:.2f}",
                    f"{run['calculated_share']:.0%}" if "calculated_share" in run else "–", f"{run['memory_mb']:.0f}",
                )
            )  # fmt: skip
    note = (
        f"{result['processor']}, Python {result['python']}; medians. The load average, which includes these "
        f"runs, was {result['load']:.0f}. On a busy machine the photos per second say little, so the share of one "
        "core's rate times the workers is calculated: a single worker's processor time per photo, "
        "relative to this run's, times the share of the cores that neither idle workers nor other processes take."
    )
    return f"{table(head, rows)}\n\n{note}"


def costs(result: dict[str, Any]) -> str:
    """What a million photos cost, calculated from the measured figures."""
    rows = []
    for size, runs in result["throughput"].items():
        for cores in CORES:
            run = _cluster(runs)
            per_second = cores * _rate(run)
            rows.append(
                (
                    _photos(size), f"{cores:,}", _time(PHOTOS / per_second), f"{PHOTOS / _rate(run) / 3600:.1f}",
                    f"{per_second:,.0f}", f"{per_second * run['bytes_per_photo'] / 1e6:,.0f}",
                    f"{per_second / CHUNK:.2g}",
                )
            )  # fmt: skip
    head = ("Photos", "Cores", "time", "core-hours", "photos/s", "MB/s read", "finished chunks/s")
    return table(head, rows)


def limits(result: dict[str, Any]) -> str:
    """What the driver does, and how many cores that is enough for."""
    d = result["driver"]
    runs = next(iter(result["throughput"].values()))
    local = next(run for name, run in reversed(runs.items()) if name.startswith("local"))
    driver_ms = local["all_ms"] - local["worker_ms"]
    rows = [
        ("List a folder", f"{1e6 * d['list_s']:.0f} µs per input", f"{PHOTOS * d['list_s']:.0f} s for a million"),
        (
            "Ray: send an actor the list", f"{d['job_bytes']:.0f} bytes per input",
            f"{PHOTOS * d['job_bytes'] / 1e6:.0f} MB for a million",
        ),
        (
            "Local engine: send photos' names, collect rows, write shards", f"{driver_ms:.2f} ms per photo",
            f"{1000 / driver_ms:,.0f} photos/s, or {1000 / driver_ms / _rate(local):,.0f} workers",
        ),
        ("Write a shard", f"{1000 * d['write_s']:.0f} ms per {CHUNK:,} rows", "in the actors, with Ray"),
        (
            "Read a shard's summary at the end", f"{1000 * d['read_s']:.1f} ms",
            f"{PHOTOS / CHUNK * d['read_s']:.1f} s for a million",
        ),
    ]  # fmt: skip
    if d["ray_cpu_s"]:
        most = 1 / d["ray_cpu_s"]
        rows.insert(
            3,
            (
                "Ray: hand out a chunk, take its result", f"{1000 * d['ray_cpu_s']:.1f} ms per chunk",
                f"{most:,.0f} chunks/s, or {most * CHUNK / _rate(_cluster(runs)):,.0f} cores",
            ),
        )  # fmt: skip
    return table(("Driver", "cost", "enough for"), rows)


def endurance(result: dict[str, Any]) -> str:
    """The long runs."""
    rows = []
    for name in ("photos", "videos"):
        if run := result.get("endurance", {}).get(name):
            rows.append(
                (
                    f"{run['inputs']:,} {name}", f"{run['faces']:,}", f"{run['inputs'] / run['seconds']:.1f}",
                    f"{run['kept_shards']} of {run['shards']}", f"{run['read_twice']:,} ({run['chunk']:,})",
                    f"{run['memory_first_mb']:.0f}", f"{run['memory_last_mb']:.0f}",
                )
            )  # fmt: skip
    head = (
        "Inputs", "faces or people", "inputs/s", "shards kept after the kills", "inputs read twice (chunk)",
        "MB, first fifth", "MB, last fifth",
    )  # fmt: skip
    return table(head, rows)


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    parts = [throughput(result), costs(result), limits(result)]
    return "\n\n".join([*parts, *([endurance(result)] if "endurance" in result else [])])


def _rate(run: dict[str, float]) -> float:
    """Photos per second and core, if every core has a worker, and nothing but the run to do."""
    return 1000 * (1 - run["lost"]) / run["worker_ms"]


def _cluster(runs: dict[str, dict[str, float]]) -> dict[str, float]:
    """The run of the largest number of workers, of Ray if it was measured."""
    return list(runs.values())[-1]


def _photos(size: str) -> str:
    width, height = map(int, size.split("x"))
    return size if width * height < 1e6 else f"{size} ({width * height / 1e6:.0f} MP)"


def _time(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )
