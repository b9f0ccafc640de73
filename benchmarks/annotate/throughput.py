"""Photos per second by engine and number of workers, and where the time goes.

Engines take turns, so that a slow moment of the machine affects all of them. The rate says little on a machine that
others use, too; processor time per photo and the workers' idle time say how it would be on a machine of its own.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.annotate.processes import memory_mb, usage
from benchmarks.peers.environments import ROOT

CHUNKS = 15  # in a run
LOOK_S = 0.05  # between two looks at the finished shards


def command(source: Path, out: Path, *options: object) -> list[str]:
    """The command that annotates a folder."""
    return [sys.executable, "-m", "deepfer.annotate", *map(str, (source, out, *options))]


def start(words: list[str]) -> subprocess.Popen:
    """Start a command of the project."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, stderr=subprocess.PIPE, cwd=ROOT, env=environment, text=True)


def shards_in(out: Path) -> list[Path]:
    """The finished shards."""
    return sorted(out.glob("data/train-*.parquet"))


def finish(process: subprocess.Popen) -> None:
    """Wait for a command; raise a `RuntimeError` with what it wrote if it failed."""
    _, written = process.communicate()
    if process.returncode:
        raise RuntimeError(f"status {process.returncode}: {written}")


def turns(source: Path, photos: int, workers: list[int], repeats: int) -> dict[str, dict[str, float]]:
    """Measure a folder of photos with one local worker, and with `workers` of each engine, `repeats` times each."""
    engines = ["local", *(["ray"] if importlib.util.find_spec("ray") else [])]
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeats):
        alone = one_run(source, photos, "local", 1)
        runs.setdefault("local 1", []).append(alone)
        for engine, count in itertools.product(engines, workers):
            if (engine, count) != ("local", 1):
                run = one_run(source, photos, engine, count)
                run["share"] = run["per_second"] / (count * alone["per_second"])
                run["calculated_share"] = min(1.0, alone["worker_ms"] / run["worker_ms"]) * (1 - run["lost"])
                runs.setdefault(f"{engine} {count}", []).append(run)
    return {name: _median(taken) for name, taken in runs.items()}


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {"runs": len(runs), **{key: statistics.median(run[key] for run in runs) for key in runs[0]}}


def one_run(source: Path, photos: int, engine: str, workers: int) -> dict[str, float]:
    """Annotate a folder, and watch while all workers are busy: from the first shards to the last ones.

    Returns:
        `per_second`: photos per second; `worker_ms` and `all_ms`: processor time per photo of the workers and of all
        processes; `idle`: the share of their time in which workers wait for the next photo, not for a processor;
        `other_cores`: processor time per second of the other processes; `lost`: the share of as many cores as there
        are workers that this or the idle time takes, whichever is more.
    """
    chunk = max(1, photos // CHUNKS)
    total = -(-photos // chunk)
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside, "out")
        begun = time.perf_counter()
        process = start(command(source, out, "--engine", engine, "--workers", workers, "--chunk", chunk))

        def wait(holds: Callable[[int], bool]) -> int:
            while not holds(count := len(shards_in(out))) and process.poll() is None:
                time.sleep(LOOK_S)
            return count

        first = wait(lambda count: count >= workers)
        before, from_s = usage(process.pid), time.perf_counter()
        last = wait(lambda count: count >= total - workers)
        after, to_s = usage(process.pid), time.perf_counter()
        memory = memory_mb(process.pid)
        finish(process)
    done, wall = (last - first) * chunk, to_s - from_s
    used = {pid: one.cpu_s - before[pid].cpu_s for pid, one in after.items() if pid in before}
    working = [pid for pid in used if after[pid].is_worker]
    free = sum(
        wall - after[pid].main_queue_s + before[pid].main_queue_s for pid in working
    )  # with a processor, or idle
    busy = sum(after[pid].main_cpu_s - before[pid].main_cpu_s for pid in working)
    idle = max(0.0, 1 - busy / free)
    other_cores = (sum(used.values()) - sum(used[pid] for pid in working)) / wall
    return {
        "start_s": from_s - begun,
        "per_second": done / wall,
        "worker_ms": 1000 * sum(used[pid] for pid in working) / done,
        "all_ms": 1000 * sum(used.values()) / done,
        "idle": idle,
        "other_cores": other_cores,
        "lost": max(idle, other_cores / workers),
        "memory_mb": memory,
    }
