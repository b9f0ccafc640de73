"""Average the predictions of trained networks (teachers) on a training split, as soft targets for distillation.

python -m training.teachers --teacher runs/a/best.keras --teacher b.npz --dataset PATH_OR_HUB_ID --out T.npz

A teacher is a network, or a file that this command made of one: networks need not be kept. It prints the accuracy of
each teacher and of their mean on the validation split.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.classifier import softmax
from training.data.loading import load
from training.data.split import Split, Splits, require_trainable
from training.exceptions import DataError, KerasFileError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.convert import keras_file
from training.convert.calibration import fit_temperature
from training.model.distillation import load_soft_targets, save_soft_targets
from training.model.models import HEADS

HELD_OUT = {head: f"validation_{head}" for head in HEADS}  # the names of the predictions for the validation split
Predictions = dict[str, np.ndarray]  # by head, and by the names of HELD_OUT


def truths(split: Split) -> dict[str, np.ndarray]:
    """The labels of each head, `(N,)`; -1 where they are unknown."""
    return {"fer2013": split.labels, "ferplus": split.ferplus_labels}


def predict(model: keras.Model, train: Split, validation: Split) -> Predictions:
    """Predict both splits with each trained head: float32 `(N, 7)`, calibrated, averaged over image and mirror image.

    A head whose accuracy on validation does not exceed the share of the most frequent label counts as untrained, and
    is left out.

    Raises:
        DataError: The model does not have the heads of `training.model.models`.
    """
    if sorted(model.output_names) != sorted(HEADS) or not isinstance(model.output, dict):
        raise DataError(f"{model.name} cannot be a teacher: it lacks the heads {' and '.join(HEADS)}")
    views = [
        [model.predict(images[..., None].astype(np.float32), batch_size=256, verbose=0) for images in (given, mirrored)]
        for given, mirrored in ((split.images, split.images[:, :, ::-1]) for split in (train, validation))
    ]
    found = {}
    for head, truth in truths(validation).items():
        known = truth >= 0
        held = views[1][0][head]
        most_frequent = np.bincount(truth[known], minlength=1).max()
        if known.any() and np.sum(held[known].argmax(axis=1) == truth[known]) <= most_frequent:
            continue
        temperature = fit_temperature(held[known], truth[known]) if known.any() else 1.0
        for name, (plain, mirrored) in zip((head, HELD_OUT[head]), views, strict=True):
            found[name] = (softmax(plain[head] / temperature) + softmax(mirrored[head] / temperature)) / 2
    return found


def read(path: Path, splits: Splits) -> Predictions:
    """The predictions of a teacher: those of a network, or those in a file that holds them.

    Raises:
        DataError, KerasFileError: The file is neither, or was made for other images.
    """
    if path.suffix == ".npz":
        found = load_soft_targets(path, splits["train"], (*HEADS, *HELD_OUT.values()))
        if any(len(found[name]) != len(splits["validation"]) for name in HELD_OUT.values()):
            raise DataError(f"{path} was made for another validation split")
        return found
    return predict(keras_file.load(path), splits["train"], splits["validation"])


def accuracies(predictions: Predictions, validation: Split) -> str:
    """The accuracy of each head's predictions for the validation split, in words."""
    shown = []
    for head, truth in truths(validation).items():
        known, found = truth >= 0, predictions.get(HELD_OUT[head])
        if found is not None and known.any():
            shown.append(f"{head} {np.mean(found[known].argmax(axis=1) == truth[known]):.1%}")
    return ", ".join(shown) or "nothing to compare with"


def main(argv: Sequence[str] | None = None) -> int:
    """Make soft targets from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.teachers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--teacher", type=Path, action="append", required=True, help="a .keras file of training.train, or an .npz")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    add("--out", type=Path, required=True, help="the .npz to write (float16)")
    args = parser.parse_args(argv)
    try:
        splits = load(args.dataset)
        require_trainable(splits)
        found = [read(path, splits) for path in args.teacher]
        by_name = {name: [f[name] for f in found if name in f] for name in (*HEADS, *HELD_OUT.values())}
        for head in HEADS:
            if not by_name[head]:
                raise DataError(f"no teacher beats always predicting the most frequent of the {head} labels")
        means = {name: np.mean(predictions, axis=0) for name, predictions in by_name.items()}
        save_soft_targets(args.out, splits["train"], means)
    except (DataError, KerasFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, predictions in zip(args.teacher, found, strict=True):
        print(f"{path}, validation: {accuracies(predictions, splits['validation'])}")
    print(f"mean of {len(found)}, validation: {accuracies(means, splits['validation'])}")
    for head, truth in truths(splits["train"]).items():
        known = truth >= 0
        agreed = np.mean(means[head].argmax(axis=1)[known] == truth[known])
        teachers = f"{len(by_name[head])} of {len(found)} teachers"
        print(f"{head}, {teachers}: {known.sum()} labelled images, {agreed:.1%} agree with the label")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
