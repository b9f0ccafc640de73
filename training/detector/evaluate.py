"""Measures a detector on whole photos, with YuNet at a plain threshold as the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfer.detection import Detector
from deepfer.face import Box, Face, clip_box, iou
from deepfer.grid_network import GridNetwork
from training.detector.photos import decode

PARTS = ("people", "varied", "scenes")
REFERENCE_SCORE = 0.6  # faces to which YuNet gives at least this score are those to be found
MATCH_IOU = 0.4
HEIGHTS = (0, 16, 24, 32, 48, 96, math.inf)  # pixels; recall is given between each two


def evaluate(detector: Detector, teacher: GridNetwork, folder: Path, split: str = "validation") -> dict[str, Any]:
    """Measure a detector on `folder/{people,varied,scenes}-SPLIT.parquet`.

    Returns:
        For each part: `photos`, `faces` (that YuNet sees), `found` and `extra` (counts), `landmark_error` and
        `landmark_error_median` (mean and median over the faces found, as a share of the distance between the eyes), and
        `by_height`, which maps the lower end of a range of face heights to `[found, faces]`.

    Raises:
        DataError: A file is missing or damaged.
    """
    return {part: _measure(detector, teacher, decode(folder / f"{part}-{split}.parquet")[1]) for part in PARTS}


def _measure(detector: Detector, teacher: GridNetwork, photos: Sequence[np.ndarray]) -> dict[str, Any]:
    faces, extra, errors = 0, 0, []
    by_height = {str(low): [0, 0] for low in HEIGHTS[:-1]}
    for photo in photos:
        height, width = photo.shape[:2]
        rows = teacher.detect(photo, REFERENCE_SCORE)
        found = detector.detect(photo)
        matched = match(found, [clip_box((x, y, x + w, y + h), width, height) for x, y, w, h in rows[:, :4].tolist()])
        faces += len(rows)
        extra += len(found) - sum(face is not None for face in matched)
        for row, face in zip(rows, matched, strict=True):
            low = max(height for height in HEIGHTS if height <= row[3])
            by_height[str(low)][1] += 1
            if face is not None:
                by_height[str(low)][0] += 1
                if face.landmarks:
                    errors.append(landmark_error(face, row[4:14].reshape(5, 2)))
    return {
        "photos": len(photos),
        "faces": faces,
        "found": sum(found for found, _ in by_height.values()),
        "extra": extra,
        "landmark_error": round(float(np.mean(errors)), 4) if errors else None,
        "landmark_error_median": round(float(np.median(errors)), 4) if errors else None,
        "by_height": by_height,
    }


def match(found: Sequence[Face], boxes: Sequence[Box]) -> list[Face | None]:
    """For each box, the face that overlaps it most, by at least `MATCH_IOU`, or None; a face matches only one box."""
    left, matched = list(found), []
    for box in boxes:
        best = max(left, key=lambda face: iou(face.box, box), default=None)
        if best is not None and iou(best.box, box) < MATCH_IOU:
            best = None
        if best is not None:
            left.remove(best)
        matched.append(best)
    return matched


def landmark_error(face: Face, expected: np.ndarray) -> float:
    """Mean distance of landmarks from the expected ones, `(5, 2)`, as a share of the distance between the eyes."""
    apart = np.hypot(*(np.array(face.landmarks) - expected).T).mean()
    return float(apart / max(math.dist(expected[0], expected[1]), 1.0))


def markdown(measured: dict[str, dict[str, Any]]) -> str:
    """A table of what `evaluate` measured of several detectors, by name."""
    lines = [
        "| Detector | photos | faces YuNet sees | found | extra boxes | landmark error, mean (median) |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name, parts in measured.items():
        for part, m in parts.items():
            found = f"{100 * m['found'] / m['faces']:.1f}%" if m["faces"] else "–"
            error = "–"
            if m["landmark_error"] is not None:
                error = f"{100 * m['landmark_error']:.1f}% ({100 * m['landmark_error_median']:.1f}%)"
            share = f"{m['extra']} ({100 * m['extra'] / m['faces']:.1f}%)" if m["faces"] else str(m["extra"])
            lines.append(f"| {name} | {m['photos']} {part} | {m['faces']} | {found} | {share} | {error} |")
    return "\n".join(lines)
