"""Measure the time to a result: from a cold start on the command line, warm in Python, and of the classifier alone.

    python -m benchmarks.speed [--detector yunet]

Writes `benchmarks/speed.json`. All times are medians. Machines are noisy, so trust the ratios more than the times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.images import portrait
from deepfer import EmotionRecognizer
from training.report.markdown import table

OUT = Path(__file__).with_name("speed.json")
COLD_RUNS, WARM_RUNS = 9, 200

# Prints the child's wall-clock seconds and peak memory (KiB) after its own output.
MEASURED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, "-m", "deepfer", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def milliseconds(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median time of each call. They take turns, so that a slow moment of the machine affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 5):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 5:  # the first five warm up
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in taken.items()}


def cold(photo: Path, detector: str) -> dict[str, float]:
    """Time and memory of a new process, with its files in the disk cache."""
    done = [
        subprocess.run(
            [sys.executable, "-c", MEASURED, str(photo), "--detector", detector],
            capture_output=True, text=True, check=True,
        ).stdout.split()
        for _ in range(COLD_RUNS + 1)
    ][1:]  # fmt: skip
    return {
        "seconds": statistics.median(float(seconds) for seconds, _ in done),
        "peak_memory_mb": statistics.median(int(kib) / 1000 for _, kib in done),
    }


def processor() -> str:
    """The processor's name and number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def measured_on(result: dict[str, Any]) -> str:
    """The machine and the detector of a result; says so if it is not the default detector."""
    other = "" if result["detector"] == "deepfer" else ", not the current default"
    return f"{result['processor']}; detector: {result['detector']}{other}"


def markdown(result: dict[str, Any]) -> str:
    """The table of `speed.json`."""
    warm, cold, classifier = result["picture_640x480_ms"], result["cold"], result["classifier_ms"]
    rows = [
        ("`deepfer photo.jpg`, cold start", f"{cold['seconds']:.2f} s, {cold['peak_memory_mb']:.0f} MB"),
        ("640x480 image with one face, warm", f"{warm['recognize']:.1f} ms"),
        ("of which the detector", f"{warm['detect']:.1f} ms"),
        ("total, relative to the detector", f"{warm['ratio']:.2f}x"),
        ("classifier, 1 crop, one thread", f"{classifier['batch_1']:.2f} ms"),
        ("classifier, 32 crops, one thread", f"{classifier['batch_32']:.1f} ms"),
    ]
    return f"{table(('Task', 'median'), rows)}\n\n{measured_on(result)}."


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="auto", help="as for `python -m deepfer` (default: our own)")
    args = parser.parse_args()
    cv2.setNumThreads(os.cpu_count() or 1)
    recognizer = EmotionRecognizer.from_pretrained(detector=args.detector)
    image = portrait()
    faces = recognizer.recognize(image)
    assert len(faces) == 1, f"one face expected, {len(faces)} found"
    crops = np.repeat(recognizer.crop(image, faces[0])[None], 32, axis=0)
    warm = milliseconds(
        {"recognize": lambda: recognizer.recognize(image), "detect": lambda: recognizer.detector.detect(image)},
        WARM_RUNS,
    )
    classifier = milliseconds(
        {
            "batch_1": lambda: recognizer.classifier.predict(crops[:1]),
            "batch_32": lambda: recognizer.classifier.predict(crops),
        },
        WARM_RUNS,
    )
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(image).save(photo, quality=92)
        result = {
            "processor": processor(),
            "python": platform.python_version(),
            "detector": recognizer.detector_name,
            "cold": cold(photo, args.detector),
            "picture_640x480_ms": {**warm, "ratio": warm["recognize"] / warm["detect"]},
            "classifier_ms": classifier,
        }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
