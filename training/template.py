"""Where a face sits in the training pictures: what `training.export` writes as a checkpoint's crop geometry.

python -m training.template --dataset PATH_OR_HUB_ID [--detector haar]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from training.data import DataError, load

ENLARGED = 4  # detectors were made for larger faces than 48 pixels
SAMPLE = 4000


def main(argv: Sequence[str] | None = None) -> int:
    """Print medians over the training split, as shares of the picture's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--detector", default="auto", help="as for `python -m deepfer` (default: our own)")
    args = parser.parse_args(argv)
    try:
        splits = load(args.dataset)
        if "train" not in splits:
            raise DataError(f"{args.dataset} has no train split, only {', '.join(splits)}")
        images = splits["train"].images
        detector = load_detector(args.detector)
    except (DataError, DeepFERError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    chosen = images[np.random.default_rng(0).permutation(len(images))[:SAMPLE]]
    side = ENLARGED * images.shape[1]
    border = side // 2
    boxes, landmarks = [], []
    for image in chosen:
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        padded = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
        faces = detector.detect(cv2.cvtColor(padded, cv2.COLOR_GRAY2RGB))
        if faces:
            boxes.append((np.array(faces[0].box) - border) / side)
            landmarks.append((np.array(faces[0].landmarks) - border) / side)
    if not boxes:
        print(f"error: {detector.name} finds no face in {len(chosen)} pictures", file=sys.stderr)
        return 1
    found = np.array(boxes)
    center = (found[:, :2] + found[:, 2:]) / 2
    longer = (found[:, 2:] - found[:, :2]).max(axis=1)
    print(f"{detector.name}: {len(found)} faces in {len(chosen)} pictures")
    print(f"box: margin {1 / np.median(longer):.3f}, center {np.round(np.median(center, axis=0), 3).tolist()}")
    print(f"     quartiles of the longer side {np.round(np.quantile(longer, [0.25, 0.75]), 3).tolist()}")
    if np.size(landmarks[0]):
        print("landmarks:", np.round(np.median(landmarks, axis=0), 4).tolist())
        print("quartile range:", np.round(np.subtract(*np.quantile(landmarks, [0.75, 0.25], axis=0)), 3).tolist())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
