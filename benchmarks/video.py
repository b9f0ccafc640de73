"""Measure the processing time of videos relative to their length, and their peak memory.

    python -m benchmarks.video [--detector yunet]

Makes 720p videos of two moving faces. A new process tracks and annotates each one and writes its table: once without
ffmpeg (VP8 by OpenCV) and, if ffmpeg is installed, once with it (H.264). Writes `benchmarks/video.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.data import astronaut

from benchmarks.speed import measured_on, processor
from deepfer.detection import load_detector
from deepfer.video_writer import video_suffix
from training.report.markdown import table

OUT = Path(__file__).with_name("video.json")
WIDTH, HEIGHT, FPS = 1280, 720, 30

# Prints the number of frames and people, wall-clock seconds, CPU seconds, and peak memory in KiB.
MEASURED = """
import resource, sys, time
from pathlib import Path
from deepfer import EmotionRecognizer, recognize_video
from deepfer.video_writer import video_suffix
recognizer = EmotionRecognizer.from_pretrained(detector=sys.argv[2])
source = Path(sys.argv[1])
start = time.perf_counter()
video, table = source.with_name("out" + video_suffix()), source.with_name("timeline.csv")
*_, last = recognize_video(recognizer, source, video=video, table=table)
wall = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
print(last.result.frames, len(last.result.people), wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def make_video(path: Path, seconds: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Write a video of two astronauts who move over a still background, with frames of `(width, height)`."""
    width, height = size
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)
    ground = np.random.default_rng(0).integers(70, 150, (9, 16, 3), dtype=np.uint8)
    ground = cv2.resize(ground, size, interpolation=cv2.INTER_CUBIC)
    photo = astronaut()[:280, 90:370, ::-1]
    unit = height / HEIGHT
    for i in range(round(seconds * FPS)):
        frame = ground.copy()
        for k, person in enumerate((photo, photo[:, ::-1])):
            phase = i / FPS + 2 * k
            side = round(unit * (330 + 40 * math.sin(0.8 * phase)))
            x = round(width * (0.25 + 0.5 * k) - side / 2 + unit * 90 * math.sin(1.3 * phase))
            y = round(unit * (170 + 40 * math.cos(phase)))
            frame[y : y + side, x : x + side] = cv2.resize(person, (side, side), interpolation=cv2.INTER_AREA)
        writer.write(frame)
    writer.release()


def measure(path: Path, detector: str, environment: dict[str, str]) -> dict[str, float]:
    """Process one video in a new process."""
    command = [sys.executable, "-c", MEASURED, str(path), detector]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    frames, people, wall, cores, peak = map(float, printed)
    assert people == 2, f"two people expected, {people:.0f} found"
    return {"processing_to_playing": wall * FPS / frames, "cores": cores / wall, "peak_memory_mb": peak / 1000}


def markdown(result: dict[str, Any]) -> str:
    """The table of `video.json`."""
    rows = [
        (
            f"{run['seconds']:g} s, annotated as {run['encoder']}",
            f"{run['processing_to_playing']:.2f}",
            f"{run['peak_memory_mb']:.0f} MB",
        )
        for run in result["runs"]
    ]
    load = result["load_before"]
    busy = f"; load average {load:.1f} before the run" if load > 0.5 else ""
    head = ("Video", "processing time / playing time", "peak memory")
    return f"{table(head, rows)}\n\n{result['clip']}; {measured_on(result)}{busy}."


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="auto", help="as for `python -m deepfer` (default: our own)")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60], help="lengths of the videos")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        environments = {"VP8": dict(os.environ) | {"PATH": folder}}
        if video_suffix() == ".mp4":
            environments["H.264"] = dict(os.environ)
        for seconds in args.seconds:
            path = Path(folder, "video.mp4")
            make_video(path, seconds)
            for encoder, environment in environments.items():
                runs.append({"encoder": encoder, "seconds": seconds, **measure(path, args.detector, environment)})
                print(json.dumps(runs[-1]))
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "detector": load_detector(args.detector).name,
        "load_before": load,
        "clip": f"{WIDTH}x{HEIGHT}, {FPS} frames per second, two faces",
        "runs": runs,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
