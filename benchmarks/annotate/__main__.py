"""Measure `deepfer.annotate`.

    python -m benchmarks.annotate                    # photos per second, the driver's part, what a million photos cost
    python -m benchmarks.annotate --many 100000      # so many small photos, while a worker and the driver are killed
    python -m benchmarks.annotate --videos 200       # likewise for videos of two seconds

Ray is measured if it is installed. Needs Linux. Each command updates its part of `benchmarks/annotate.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.annotate import driver, endurance, tables
from benchmarks.annotate.inputs import make_photos, make_videos
from benchmarks.annotate.throughput import turns
from benchmarks.speed import processor

OUT = Path(__file__).parents[1] / "annotate.json"
SMALL, LARGE, TINY = (640, 480), (4000, 3000), (80, 60)
LARGE_SHARE = 8  # one large photo for so many small ones


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=int, default=600, help="of 640x480, and an eighth as many of 12 MP (default: 600)")
    add("--repeats", type=int, default=3, help="turns of the engines (default: 3)")
    add("--workers", type=int, nargs="+", default=[os.cpu_count() or 1], help="default: one per core")
    add("--many", type=int, metavar="N", help="annotate N small photos, and kill")
    add("--videos", type=int, metavar="N", help="annotate N videos, and kill")
    add("--chunk", type=int, help="inputs per shard of --many (default: 1,000) and --videos (default: 5)")
    add("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as aside:
        if args.many or args.videos:
            part = {"endurance": long(Path(aside), args.many, args.videos, args.chunk, args.workers[-1])}
        else:
            part = short(Path(aside), args.photos, args.workers, args.repeats)
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    if "endurance" in part:
        part["endurance"] = result.get("endurance", {}) | part["endurance"]
    result |= part
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(tables.markdown(result) if "throughput" in result else tables.endurance(result))
    return 0


def long(folder: Path, photos: int | None, videos: int | None, chunk: int | None, workers: int) -> dict[str, Any]:
    """The long runs that are killed."""
    result = {}
    if photos:
        source = make_photos(folder / "photos", photos, TINY)
        result["photos"] = endurance.measure(source, photos, chunk or 1000, workers)
    if videos:
        source = make_videos(folder / "videos", videos)
        result["videos"] = endurance.measure(source, videos, chunk or 5, workers)
    return result


def short(folder: Path, photos: int, workers: list[int], repeats: int) -> dict[str, Any]:
    """The throughput and the driver's part."""
    runs, loads = {}, []
    for size, count in ((SMALL, photos), (LARGE, max(1, photos // LARGE_SHARE))):
        name = "x".join(map(str, size))
        source = make_photos(folder / name, count, size)
        runs[name] = turns(source, count, workers, repeats)
        loads.append(os.getloadavg()[0])
        each = statistics.fmean(path.stat().st_size for path in source.iterdir())
        for run in runs[name].values():
            run["bytes_per_photo"] = each
    small = folder / "x".join(map(str, SMALL))
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": statistics.fmean(loads),
        "throughput": runs,
        "driver": driver.measure(small),
    }


if __name__ == "__main__":
    raise SystemExit(main())
