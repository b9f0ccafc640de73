"""Summarize a dataset, including near-duplicates between its splits, and optionally pack it into one file.

python -m training.data --dataset PATH_OR_HUB_ID
python -m training.data --dataset PATH_OR_HUB_ID --out faces.npz     # for a machine without `datasets`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.arguments import bounded_int
from deepfer.face import LABELS
from training.data.duplicates import between
from training.data.loading import load, pack
from training.data.split import Split
from training.exceptions import DataError


def main(argv: Sequence[str] | None = None) -> int:
    """Summarize or pack a dataset from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder, Hub id or Hub id@revision")
    parser.add_argument("--size", type=bounded_int(1), default=48, help="side of the square images, in pixels")
    parser.add_argument("--out", type=Path, help="the .npz to write")
    args = parser.parse_args(argv)
    try:
        splits = load(args.dataset, args.size)
        if args.out:
            pack(splits, args.out)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, split in splits.items():
        print(f"{name}: {_summary(split)}")
    if splits.held_out:
        print(f"validation was held out: {splits.held_out['share']:.0%} of every label, seed {splits.held_out['seed']}")
    for (name, other), twins in between(splits).items():
        print(f"{name}: {np.count_nonzero(twins >= 0)} images have a near-duplicate in {other}")
    return 0


def _summary(split: Split) -> str:
    counts = ", ".join(f"{label} {np.count_nonzero(split.labels == i)}" for i, label in enumerate(LABELS))
    voted = split.ferplus_labels >= 0
    agreement = ""
    if voted.any():
        agreed = np.mean(split.labels[voted] == split.ferplus_labels[voted])
        agreement = f"; {np.count_nonzero(voted)} with a FER+ majority, which agrees with the label in {agreed:.1%}"
    return f"{len(split)} images ({counts}){agreement}"


if __name__ == "__main__":
    raise SystemExit(main())
