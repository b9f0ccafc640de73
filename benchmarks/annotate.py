"""Measure `deepfer.annotate`: photos per second for each number of workers, memory over time, and bytes per face.

    python -m benchmarks.annotate [--photos 2000] [--size 640x480] [--source FOLDER] [--engine ray]

A worker runs OpenCV and LiteRT on one thread, so the rate of one worker is that of one core.
Writes `benchmarks/annotate.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import psutil
from PIL import Image

from benchmarks.images import portrait
from benchmarks.peers.environments import ROOT
from benchmarks.speed import processor
from deepfer.annotate.shards import read_summary
from training.report.markdown import table

OUT = Path(__file__).with_suffix(".json")
VARIANTS = 50  # different photos; the others are links to them
LOOK_S = 0.2  # time between two samples of memory
CORES = (2, 64, 1000)  # numbers of cores for which the hours for a million photos are calculated


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A folder of `count` photos with one face each.

    Args:
        folder: The new folder.
        count: The number of photos.
        size: `(width, height)`.
    """
    folder.mkdir()
    face = cv2.resize(portrait(), size, interpolation=cv2.INTER_AREA)
    for number in range(count):
        path, first = folder / f"{number:07}.jpg", folder / f"{number % VARIANTS:07}.jpg"
        if path == first:
            Image.fromarray(cv2.convertScaleAbs(face, alpha=1 - number / 200)).save(path, quality=90)
        else:
            os.link(first, path)
    return folder


def measure(source: Path, engine: str, workers: int) -> dict[str, float]:
    """Annotate a folder: inputs, faces, photos per second after the first shard, memory, bytes per face."""
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside, "out")
        command = [sys.executable, "-m", "deepfer.annotate", source, out, "--engine", engine, "--workers", str(workers)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        memory: list[float] = []
        begun = time.perf_counter()
        first_s = 0.0
        with subprocess.Popen(
            [*command, "--chunk", "100"], stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
        ) as process:
            while process.poll() is None:
                shards = len(list(out.glob("data/train-*")))
                if shards and not first_s:
                    first_s, first = time.perf_counter() - begun, shards
                if first_s:
                    memory.append(_memory_mb(process.pid))
                time.sleep(LOOK_S)
        seconds = time.perf_counter() - begun - first_s
        shards_made = sorted(out.glob("data/train-*"))
        summary = read_summary(shards_made)
        size = sum(path.stat().st_size for path in shards_made)
    done = summary.inputs - 100 * first  # after the first shard
    fifth = max(1, len(memory) // 5)
    return {
        "inputs": summary.inputs,
        "faces": summary.faces,
        "failed": summary.failed,
        "per_second": done / seconds,
        "memory_first_mb": max(memory[:fifth]),
        "memory_last_mb": max(memory[-2 * fifth : -1] or memory),  # at the very end, the workers have exited
        "bytes_per_face": size / max(summary.faces, 1),
    }


def _memory_mb(pid: int) -> float:
    total = 0
    try:
        for one in (process := psutil.Process(pid), *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.NoSuchProcess:  # it has just exited
        pass
    return total / 1e6


def markdown(result: dict[str, Any]) -> str:
    """The tables of `annotate.json`."""
    runs = {int(count): run for count, run in result["runs"].items()}
    alone = runs[1]["per_second"]
    rows = [
        (
            count,
            f"{run['per_second']:.1f}",
            f"{100 * run['per_second'] / (count * alone):.0f}%",
            f"{run['memory_first_mb']:.0f}",
            f"{run['memory_last_mb']:.0f}",
        )
        for count, run in runs.items()
    ]
    head = ("Workers", "photos/s", "of one worker's rate times the workers", "MB, first fifth", "MB, last fifth")
    best = max(run["per_second"] / (count * alone) for count, run in runs.items() if count > 1 or len(runs) == 1)
    costs = [(f"{cores:,}", f"{1e6 / (alone * cores * best) / 3600:.3g}") for cores in CORES]
    return "\n\n".join(
        [
            table(head, rows),
            table(("Cores", "hours for a million such photos"), costs),
            f"{runs[1]['inputs']:,} photos of {result['photos']}, engine {result['engine']}; "
            f"{runs[1]['bytes_per_face']:.0f} bytes per face. {result['processor']}. The hours are calculated from the "
            "best share, and assume that reading keeps up.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=int, default=2000, help="default: 2,000")
    add("--size", default="640x480", help="size of the photos (default: 640x480)")
    add("--source", type=Path, help="a folder of your own photos")
    add("--engine", choices=("local", "ray"), default="local")
    add("--workers", type=int, nargs="+", help="default: 1, 2, 4, … up to the number of cores")
    add("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    size = re.fullmatch(r"(\d+)x(\d+)", args.size)
    if not size:
        parser.error("--size must look like 640x480")
    cores = cv2.getNumberOfCPUs()
    counts = args.workers or sorted({cores, *(2**n for n in range(cores.bit_length()))})
    with tempfile.TemporaryDirectory() as aside:
        source = args.source or make_photos(Path(aside, "photos"), args.photos, (int(size[1]), int(size[2])))
        runs = {str(count): measure(source, args.engine, count) for count in sorted({1, *counts})}
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "photos": "your own" if args.source else args.size,
        "engine": args.engine,
        "runs": runs,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
