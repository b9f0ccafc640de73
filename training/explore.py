"""Explore a dataset before training: write a page of figures. They show people, so write it under `runs/`.

python -m training.explore --dataset PATH_OR_HUB_ID --out runs/explore
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.face import LABELS
from training.data import duplicates
from training.data.loading import load, name_of
from training.data.split import Split, Splits, joined
from training.exceptions import DataError
from training.model.recipes import RECIPES
from training.report import plots
from training.report.image_grid import image_grid, require_private
from training.report.markdown import percent, table

PAGE = "README.md"
SAMPLES = 12  # faces per class
PAIRS = 12  # near-duplicates to show
VARIANTS = 11  # augmented variants per face
NO_MAJORITY = "none of these"


def explore(splits: Splits, name: str, out: Path, seed: int = 0) -> str:
    """Write the figures into `out`, and return the page that shows them, in Markdown."""
    rng = np.random.default_rng(seed)
    parts = [
        f"# {name}\n\nThis page shows people: do not publish it.",
        _distribution(splits, out),
        _faces(splits, out, rng),
        _agreement(splits, out),
        _near_duplicates(splits, out, rng),
        _augmentation(splits, out, rng),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figure(path: str, alt: str) -> str:
    return f"![{alt}]({path})"


def _distribution(splits: Splits, out: Path) -> str:
    counts = {name: np.bincount(split.labels, minlength=len(LABELS)) for name, split in splits.items()}
    plots.distribution(counts, out / "distribution.png")
    rows = [
        (label, *(f"{c[i]} ({percent(c[i] / max(c.sum(), 1))}%)" for c in counts.values()))
        for i, label in enumerate(LABELS)
    ]
    rows.append(("all", *(str(c.sum()) for c in counts.values())))
    held = splits.held_out
    return "\n\n".join(
        [
            "## Classes",
            _figure("distribution.png", "Bars: the share of each emotion in each split"),
            table(("Emotion", *counts), rows),
            f"Validation is {held['share']:.0%} of each label of the training split, held out with seed {held['seed']}."
            if held
            else "",
        ]
    ).rstrip()


def _faces(splits: Splits, out: Path, rng: np.random.Generator) -> str:
    every = joined(splits)
    rows = [np.flatnonzero(every.labels == i) for i in range(len(LABELS))]
    there = [(label, own) for label, own in zip(LABELS, rows, strict=True) if len(own)]
    image_grid(
        [every.images[rng.permutation(own)[:SAMPLES]] for _, own in there],
        out / "samples.png",
        "Samples of each class",
        names=[label for label, _ in there],
    )
    means = np.stack([every.images[own].mean(axis=0) for _, own in there])
    means = np.rint(255 * (means - means.min()) / max(np.ptp(means), 1)).astype(np.uint8)  # raise the contrast
    captions = [[f"{label}\n{len(own)}" for label, own in there]]
    image_grid([means], out / "mean_faces.png", "The mean face of each class", captions=captions)
    return "\n\n".join(
        [
            "## Faces",
            _figure("samples.png", f"Up to {SAMPLES} faces of each class, one row per class"),
            _figure("mean_faces.png", "The mean image of each class"),
        ]
    )


def agreement(split: Split) -> np.ndarray:
    """Count each label by FER+ label, `(7, 8)`; the last column is for images without one."""
    found = np.zeros((len(LABELS), len(LABELS) + 1), np.int64)
    np.add.at(found, (split.labels, np.where(split.ferplus_labels >= 0, split.ferplus_labels, len(LABELS))), 1)
    return found


def _agreement(splits: Splits, out: Path) -> str:
    every = joined(splits)
    if not np.any(every.ferplus_labels >= 0):
        return "## FER+\n\nThis dataset has no FER+ votes."
    counts = agreement(every)
    plots.confusion(
        counts.tolist(), "The labels and FER+'s majority", out / "agreement.png",
        columns=(*LABELS, NO_MAJORITY), across="FER+'s majority, % of the row", down="label (images)",
    )  # fmt: skip
    rows = []
    for i, label in enumerate(LABELS):
        voted = counts[i, :-1].sum()
        others = np.where(np.arange(len(LABELS)) == i, -1, counts[i, :-1])
        rows.append(
            (
                label, counts[i].sum(), percent(counts[i, i] / voted if voted else None), LABELS[others.argmax()],
                percent(others.max() / voted if voted else None),
            )
        )  # fmt: skip
    voted = counts[:, :-1].sum()
    return "\n\n".join(
        [
            "## FER+",
            f"On {voted} of {counts.sum()} images, FER+ has a majority for one of the seven emotions. It agrees with "
            f"the label on {percent(np.trace(counts) / voted)}% of these.",
            _figure("agreement.png", "Heat map: FER+ majorities for each label"),
            table(("Label", "images", "FER+ agrees %", "most frequent other", "in %"), rows),
        ]
    )


def _near_duplicates(splits: Splits, out: Path, rng: np.random.Generator) -> str:
    rows = []
    shown: list[tuple[np.ndarray, np.ndarray, str, str]] = []
    for (name, other), twins in duplicates.between(splits).items():
        found = np.flatnonzero(twins >= 0)
        own, theirs = splits[name].take(found), splits[other].take(twins[found])
        differ = int(np.sum(own.labels != theirs.labels))
        share = percent(len(found) / max(len(twins), 1))
        rows.append((f"{name}, in {other}", len(twins), len(found), share, differ))
        for i in rng.permutation(len(found))[:PAIRS]:
            shown.append((own.images[i], theirs.images[i], LABELS[own.labels[i]], LABELS[theirs.labels[i]]))
    if not rows:
        return ""
    parts = [
        "## Near-duplicates between splits",
        table(("Split", "images", "near-duplicates", "%", "with another label"), rows),
    ]
    if shown:
        chosen = [shown[i] for i in rng.permutation(len(shown))[:PAIRS]]
        upper, lower, *captions = zip(*chosen, strict=True)
        image_grid(
            [np.stack(upper), np.stack(lower)], out / "near_duplicates.png",
            "Near-duplicates, one above the other, and their labels", captions=captions,
        )  # fmt: skip
        parts.insert(1, _figure("near_duplicates.png", "Pairs of images of the same photograph, one above the other"))
    return "\n\n".join(parts)


def _augmentation(splits: Splits, out: Path, rng: np.random.Generator) -> str:
    every = joined(splits)
    firsts = [np.flatnonzero(every.labels == i) for i in range(len(LABELS))]
    faces = every.images[[rng.choice(own) for own in firsts if len(own)]]
    augment = RECIPES["cnn"]["default"][-1].augmentation
    variants = [np.rint(augment(faces, rng)).astype(np.uint8) for _ in range(VARIANTS)]
    image_grid(
        list(np.stack([faces, *variants], axis=1)),
        out / "augmentation.png",
        f"The original, and {VARIANTS} variants from the CNN's augmentation",
    )
    return f"## Augmentation\n\n{_figure('augmentation.png', 'A face of each class, and augmented variants of it')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Explore from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.explore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    parser.add_argument("--out", type=Path, required=True, help="a folder under runs/ or outside of the checkout")
    args = parser.parse_args(argv)
    try:
        require_private(args.out)
        args.out.mkdir(parents=True, exist_ok=True)
        splits = load(args.dataset)
        if not sum(map(len, splits.values())):
            raise DataError(f"{args.dataset} has no images")
        (args.out / PAGE).write_text(explore(splits, name_of(args.dataset), args.out), encoding="utf-8")
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out / PAGE}: " + ", ".join(f"{name} {len(split)}" for name, split in splits.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
