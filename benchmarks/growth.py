"""Measure how time and memory grow with the faces in an image, with its size, and with the number of workers.

    python -m benchmarks.growth [--detector yunet]

Each point by faces or size is measured in a new process, so that its memory can be measured.
Writes `benchmarks/growth.json` and `docs/growth.png`.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from PIL import Image

from benchmarks.composed_images import make_folder
from benchmarks.images import crowd, portrait
from benchmarks.peers.environments import ROOT
from benchmarks.peers.process import Process
from benchmarks.speed import measured_on, processor
from deepfer.detection import load_detector
from training.report.markdown import table

OUT = Path(__file__).with_suffix(".json")
CHART = ROOT / "docs" / "growth.png"
FACES = (1, 2, 4, 8, 16, 32, 64)
CROWD_SIZE, CROWD_CELLS = (
    (1024, 1024),
    8,
)  # all faces have the same size, and none needs a closer search
MEGAPIXELS = (0.3, 1, 2, 4, 8, 12, 24, 50)
SIZED_FACES = 4
SETTINGS = {"photo": False, "frame": True}
SIZES = 50  # the number of different sizes of the many small images
LOOK_S = 0.05  # time between two samples of the workers' memory


def point(image: np.ndarray, detector: str, frames: bool, runs: int) -> dict[str, float]:
    """Milliseconds for an image, and the peak memory of a process that has processed no other image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.npy")
        np.save(path, image)
        with Process(Path(sys.executable), "DeepFER", {"detector": detector, "frames": frames}) as process:
            process.ask("load")
            answer = process.ask("recognize", image=str(path), times=runs)
            memory = process.ask("memory")["peak"]
    return {"ms": statistics.median(answer["ms"]), "found": answer["faces"], "memory_mb": memory}


def over_folder(folder: Path, detector: str, workers: int, one_core: bool = False) -> dict[str, float]:
    """Time and peak memory of the command over a folder.

    Memory is that of all its processes together: overall, in the first fifth of the run, and in the last. A single
    worker uses all cores for each image, unless `one_core` pins it to one.
    """
    command = [sys.executable, "-m", "deepfer", folder, "--detector", detector, "--workers", str(workers)]
    start, memory = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as aside:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        output = Path(aside, "out.jsonl")
        with subprocess.Popen([*command, "--output", output], stderr=subprocess.DEVNULL, env=environment) as process:
            whole = psutil.Process(process.pid)
            if one_core:  # the process has not counted the cores yet
                whole.cpu_affinity(whole.cpu_affinity()[-1:])
            while process.poll() is None:
                memory.append(memory_of(whole) / 1e6)
                time.sleep(LOOK_S)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{command} ended with status {process.returncode}")
    fifth = math.ceil(len(memory) / 5)
    return {
        "seconds": seconds,
        "memory_mb": max(memory),
        "memory_first_mb": max(memory[:fifth]),
        "memory_last_mb": max(memory[-fifth:]),
    }


def share_of_machine(cores: int) -> float:
    """How fast a plain loop runs on each core while all cores are busy, relative to running alone."""
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        alone = min(pool.apply(_loop) for _ in range(5))
        together = min(statistics.fmean(pool.starmap(_loop, [()] * cores, chunksize=1)) for _ in range(5))
    return alone / together


def _loop() -> float:
    start = time.perf_counter()
    for _ in range(10_000_000):
        pass
    return time.perf_counter() - start


def long_folder(folder: Path, count: int) -> Path:
    """A folder of `count` images of one face, in `SIZES` sizes."""
    folder.mkdir()
    face = portrait()
    for number in range(count):
        path, first = folder / f"{number:05}.jpg", folder / f"{number % SIZES:05}.jpg"
        if path == first:
            side = 240 + 4 * number
            Image.fromarray(cv2.resize(face, (side * 4 // 3, side), interpolation=cv2.INTER_AREA)).save(path)
        else:
            os.link(first, path)
    return folder


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and its children, counting shared memory once (Linux's PSS)."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just exited
            continue
    return total


def growth(detector: str, runs: int, images: int, many: int, smallest: bool) -> dict[str, Any]:
    """Measure every point; with `smallest`, only the first two of each line."""
    count = 2 if smallest else None
    found: dict[str, Any] = {"faces": {}, "megapixels": {}}
    for setting, frames in SETTINGS.items():
        found["faces"][setting] = {
            str(faces): point(crowd(faces, CROWD_SIZE, CROWD_CELLS), detector, frames, runs) for faces in FACES[:count]
        }
        found["megapixels"][setting] = {
            str(size): point(crowd(SIZED_FACES, four_to_three(size)), detector, frames, max(1, runs // round(1 + size)))
            for size in MEGAPIXELS[:count]
        }
    cores = cv2.getNumberOfCPUs()
    with tempfile.TemporaryDirectory() as aside:
        folder, faces = make_folder(Path(aside, "folder"), images)
        alone = over_folder(folder, detector, 1, one_core=True)
        runs_of = {str(n): over_folder(folder, detector, n) for n in sorted({1, *range(2, 2 * cores + 1)})[:count]}
        run_of_many = over_folder(long_folder(Path(aside, "many"), many), detector, cores)
    found["many"] = {"pictures": many, **run_of_many}
    found["workers"] = {
        "cores": cores,
        "pictures": images,
        "faces": faces,
        "one_core": alone,
        "plain_loop": share_of_machine(cores),
        "runs": runs_of,
    }
    return found


def four_to_three(megapixels: float) -> tuple[int, int]:
    """`(width, height)` of a 4:3 image of that size."""
    return round(1000 * (megapixels * 4 / 3) ** 0.5), round(1000 * (megapixels * 3 / 4) ** 0.5)


def throughput(workers: dict[str, Any]) -> dict[int, float]:
    """Images per second by the number of workers."""
    return {int(count): workers["pictures"] / run["seconds"] for count, run in workers["runs"].items()}


def markdown(result: dict[str, Any]) -> str:
    """The tables of `growth.json`."""

    def shown(run: dict[str, float]) -> str:
        return f"{run['ms']:.0f} ms, {run['memory_mb']:.0f} MB"

    parts = []
    for title, line in ((f"Faces in {'x'.join(map(str, CROWD_SIZE))}", "faces"), ("Megapixels", "megapixels")):
        lines = result[line]
        rows = [(setting, *map(shown, runs.values())) for setting, runs in lines.items()]
        parts.append(table((title, *next(iter(lines.values()))), rows))
    workers = result["workers"]
    rate = throughput(workers)
    rows = [
        (f"{rate[int(count)]:.1f}" for count in workers["runs"]),
        (f"{run['memory_mb']:.0f}" for run in workers["runs"].values()),
    ]
    named = zip(("images/s", "MB in total"), rows, strict=True)
    parts.append(table(("Workers", *workers["runs"]), [(name, *cells) for name, cells in named]))
    text = f"The folder holds {workers['pictures']} images of 1 MP with {workers['faces']} faces."
    if workers["cores"] in rate:
        alone = workers["pictures"] / workers["one_core"]["seconds"]
        share = rate[workers["cores"]] / (workers["cores"] * alone)
        text += (
            f" A single worker uses all cores for each image; pinned to one core, it processes {alone:.1f} images/s. "
            f"{workers['cores']} workers on {workers['cores']} cores reach {100 * share:.0f}% of "
            f"{workers['cores']} times that rate; a plain loop on all cores reaches {100 * workers['plain_loop']:.0f}%."
        )
    many = result["many"]
    text += (
        f" Over {many['pictures']:,} small images ({many['pictures'] / many['seconds']:.0f} per second), memory peaks "
        f"at {many['memory_first_mb']:.0f} MB in the first fifth of the run and {many['memory_last_mb']:.0f} MB in "
        "the last."
    )
    parts.append(f"{text} {measured_on(result)}.")
    return "\n\n".join(parts)


def chart(result: dict[str, Any], path: Path) -> None:
    """Time in the upper row, memory in the lower; a column each for faces, megapixels and workers."""
    from training.report import plots
    from training.report.plots import plt

    figure, panels = plt.subplots(2, 3, figsize=(11, 5.6))
    colours = {"photo": plots.ACCENT, "frame": plots.MUTED}
    for column, (name, line) in enumerate((("faces", "faces"), ("megapixels", "megapixels"))):
        for setting, runs in result[line].items():
            for row, key in enumerate(("ms", "memory_mb")):
                values = [run[key] for run in runs.values()]
                panels[row][column].plot(
                    [float(x) for x in runs], values, marker="o", markersize=4, color=colours[setting], label=setting
                )
        panels[0][column].set_title(f"ms by {name}", fontsize=10)
        panels[1][column].set_title(f"MB by {name}", fontsize=10)
        panels[0][column].legend()
    rate = throughput(result["workers"])
    panels[0][2].plot(list(rate), list(rate.values()), marker="o", markersize=4, color=plots.ACCENT)
    panels[0][2].set_title("folder, images/s by workers", fontsize=10)
    memory = [run["memory_mb"] for run in result["workers"]["runs"].values()]
    panels[1][2].plot(list(rate), memory, marker="o", markersize=4, color=plots.ACCENT)
    panels[1][2].set_title("MB by workers", fontsize=10)
    for axes in panels.flat:
        axes.set_ylim(0, 1.08 * max(line.get_ydata().max() for line in axes.lines))
        axes.set_xlim(left=0)
        axes.grid(axis="y")
    figure.tight_layout()
    plots.save(figure, path)


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--detector", default="auto", help="as for `python -m deepfer` (default: our own)")
    add("--runs", type=int, default=30, help="default: 30; fewer for large images")
    add("--images", type=int, default=200, help="images in the folder (default: 200)")
    add("--many", type=int, default=10_000, help="small images whose memory is sampled (default: 10,000)")
    add("--smallest", action="store_true", help="measure two points of each line, as a test")
    add("--out", type=Path, default=OUT)
    add("--chart", type=Path, default=CHART)
    args = parser.parse_args(argv)
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "detector": load_detector(args.detector).name,
        **growth(args.detector, args.runs, args.images, args.many, args.smallest),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    chart(result, args.chart)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
