"""Measure how well the detectors find faces: recall by face size, false boxes and time, on images with known boxes.

    python -m benchmarks.detection                     # YuNet from the Hub; writes benchmarks/detection.json
    python -m benchmarks.detection --yunet FILE.onnx   # the same, with YuNet from a file
    python -m benchmarks.detection --yunet FILE.onnx --images 2 --out /tmp/detection.json    # a quick trial

The images are those of `benchmarks.composed_images`. Our detector was trained on a few drawn heads of the same kind,
but not on these, and never on the astronaut. Both are counted separately.

A face counts as found if a box overlaps its own box with IoU >= 0.4. (Haar's boxes are squares, so 0.5 would reject
boxes for their shape.) Every other box is false, and so is a second box on the same face.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.composed_images import (
    FACE_SIZES,
    IMAGE_SIZES,
    ROLLED,
    ROLLED_SIZES,
    SEED,
    PlacedFace,
    astronaut_head,
    background,
    compose,
    place,
)
from benchmarks.speed import processor
from deepfer.detection import load_detector
from deepfer.face import Face, iou
from deepfer.recognizer import FRAME_SIDE

OUT = Path(__file__).with_suffix(".json")
FOUND_IOU = 0.4
TURNED = 15  # degrees; from this roll on, a face counts as turned


def match(found: list[Face], truth: list[PlacedFace]) -> tuple[list[bool], int]:
    """Which faces were found, and how many boxes are false; every box counts for one face at most."""
    left = list(found)
    hits = []
    for face in truth:
        best = max(left, key=lambda other: iou(other.box, face.box), default=None)
        hits.append(best is not None and iou(best.box, face.box) >= FOUND_IOU)
        if hits[-1]:
            left.remove(best)
    return hits, len(left)


def measure(detectors: dict[str, Any], each: int, seed: int) -> dict[str, Any]:
    """The counts and times of every detector over all images."""
    # detector -> what is counted -> its outcomes
    outcomes: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in detectors}
    total = (3 * each + max(1, each // 4)) * (len(FACE_SIZES) + 3) + each * len(ROLLED_SIZES)
    for number, composed in enumerate(compose(each, seed), 1):
        print(f"\r{number}/{total}", end="", file=sys.stderr)
        area = "12" if composed.megapixels == "12" else "up_to_2"
        for name, detector in detectors.items():
            start = time.perf_counter()
            found = detector.detect(composed.image)
            milliseconds = 1000 * (time.perf_counter() - start)
            hits, false = match(found, composed.faces)
            note = outcomes[name]
            if any(abs(face.turn) >= ROLLED for face in composed.faces):
                note["false/rolled/up_to_2"].append(false)
                note["recall/rolled/up_to_2"] += hits
                continue
            kind = "small_faces" if composed.faces else "faceless"
            if composed.single_size == max(FACE_SIZES):
                kind = "large_faces"
            note[f"ms/{kind}/{composed.megapixels}"].append(milliseconds)
            note[f"false/{'faces' if composed.faces else 'faceless'}/{area}"].append(false)
            for face, hit in zip(composed.faces, hits, strict=True):
                note[f"recall/{face.size}/{area}"].append(hit)
                if face.size < 32:
                    continue
                note[f"recall/32_and_above/{area}"].append(hit)
                note[f"recall/{'turned' if abs(face.turn) >= TURNED else 'upright'}/{area}"].append(hit)
                note[f"recall/{'drawn' if face.drawn else 'astronaut'}/{area}"].append(hit)
                if face.over_border:
                    note[f"recall/over_border/{area}"].append(hit)
    print(file=sys.stderr)
    return {
        name: {
            key: {"n": len(values), "median" if key.startswith("ms") else "mean": _average(key, values)}
            for key, values in sorted(note.items())
        }
        for name, note in outcomes.items()
    }


def time_one_face(detectors: dict[str, Any], seed: int, runs: int = 40) -> dict[str, dict[str, float]]:
    """Median milliseconds of each detector for a 640x480 image with one face, as a frame at 320 px and as a photo.

    The detectors take turns, so that whatever else the machine does slows all of them.
    """
    image = background(IMAGE_SIZES["0.3"], np.random.default_rng(seed))
    head, face = astronaut_head()
    place(head, face, 160, 0.0, (320.0, 240.0), image)
    calls = {
        name: {"frame": detector.for_frames(FRAME_SIDE).detect, "photo": detector.detect}
        for name, detector in detectors.items()
    }
    taken: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in calls}
    for _ in range(runs):
        for name, kinds in calls.items():
            for kind, detect in kinds.items():
                detect(image)  # so that the network is set to this image size again
                start = time.perf_counter()
                detect(image)
                taken[name][kind].append(1000 * (time.perf_counter() - start))
    return {
        name: {kind: round(statistics.median(ms), 2) for kind, ms in kinds.items()} for name, kinds in taken.items()
    }


def _average(key: str, values: list[float]) -> float:
    return round(statistics.median(values), 1) if key.startswith("ms") else round(statistics.fmean(values), 4)


def markdown(result: dict[str, Any]) -> str:
    """The tables of `detection.json`."""
    titles = {"deepfer": "DeepFER", "yunet": "YuNet", "haar": "Haar"}
    areas = {"up_to_2": "0.3 to 2 MP", "12": "12 MP"}
    parts = [str(size) for size in FACE_SIZES] + [
        "32_and_above",
        "turned",
        "rolled",
        "astronaut",
        "drawn",
        "over_border",
    ]
    lines = [
        "| Faces found | images | "
        + " | ".join(f"{size} px" for size in FACE_SIZES)
        + f" | 32 px and above | of these turned {TURNED}–45° | turned {ROLLED}–180° | astronaut | drawn"
        " | over the border | false boxes per image with faces | … without |",
        "|---|---|" + "--:|" * (len(parts) + 2),
    ]
    for name, m in result["detectors"].items():
        for area, words in areas.items():
            recall = [m.get(f"recall/{part}/{area}") for part in parts]
            false = [m[f"false/{kind}/{area}"]["mean"] for kind in ("faces", "faceless")]
            cells = [f"{100 * value['mean']:.1f}%" if value else "–" for value in recall]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells + [f'{value:.2f}' for value in false])} |")
    lines += [
        "",
        "| Median ms | faces of | " + " | ".join(f"{size} MP" for size in IMAGE_SIZES) + " |",
        "|---|---|" + "--:|" * len(IMAGE_SIZES),
    ]
    kinds = {"large_faces": f"{max(FACE_SIZES)} px", "small_faces": "mixed sizes and smaller", "faceless": "none"}
    for name, m in result["detectors"].items():
        for kind, words in kinds.items():
            cells = [f"{m[f'ms/{kind}/{size}']['median']:.0f}" for size in IMAGE_SIZES]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells)} |")
    lines += [
        "",
        "| One thread, ms | 640x480 frame at 320 px | 640x480 photo |",
        "|---|--:|--:|",
        *(
            f"| {titles[name]} | {ms['frame']:.1f} | {ms['photo']:.1f} |"
            for name, ms in result["one_thread_ms"].items()
        ),
    ]
    made = f"{result['pictures']} images with {result['faces']} faces, made from seed {result['seed']}"
    lines += ["", f"{made}. {result['processor']}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yunet", default="yunet", help="YuNet's .onnx file (default: from the Hub or its cache)")
    parser.add_argument("--detector", default="deepfer", help="another checkpoint folder for our detector")
    parser.add_argument("--images", type=int, default=20, help="images for each image size and face size")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--threads", type=int, default=2, help="threads of each detector (default: 2)")
    parser.add_argument("--out", type=Path, default=OUT, help="default: benchmarks/detection.json")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    sources = {"deepfer": args.detector, "yunet": args.yunet, "haar": "haar"}
    load = os.getloadavg()[0]
    outcomes = measure({name: load_detector(source) for name, source in sources.items()}, args.images, args.seed)
    cv2.setNumThreads(1)
    one_thread = time_one_face({name: load_detector(source) for name, source in sources.items()}, args.seed)
    counts = {key: value["n"] for key, value in outcomes["haar"].items()}
    result = {
        "seed": args.seed,
        "pictures": sum(n for key, n in counts.items() if key.startswith("false/")),
        "faces": sum(
            n for key, n in counts.items() if key.split("/")[1] in (*map(str, FACE_SIZES), "rolled") and "recall" in key
        ),
        "processor": f"{processor()}; OpenCV {cv2.__version__}, {args.threads} threads, load average {load:.1f} before",
        "one_thread_ms": one_thread,
        "detectors": outcomes,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
