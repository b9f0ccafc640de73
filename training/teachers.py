"""Average the predictions of trained networks (teachers) on a training split, as soft targets for distillation.

python -m training.teachers --teacher runs/a/best.keras --teacher runs/b/best.keras --dataset PATH_OR_HUB_ID --out T.npz
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
from training.data.split import Split, require_trainable
from training.exceptions import DataError, KerasFileError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.convert import keras_file
from training.convert.calibration import fit_temperature
from training.model.distillation import save_soft_targets
from training.model.models import HEADS


def predict(model: keras.Model, train: Split, validation: Split) -> dict[str, np.ndarray]:
    """Predict `train` with each trained head: float32 `(N, 7)`, calibrated, averaged over image and mirror image.

    A head whose accuracy on validation does not exceed the share of the most frequent label counts as untrained, and
    is left out.

    Raises:
        DataError: The model does not have the heads of `training.model.models`.
    """
    if sorted(model.output_names) != sorted(HEADS) or not isinstance(model.output, dict):
        raise DataError(f"{model.name} cannot be a teacher: it lacks the heads {' and '.join(HEADS)}")
    logits, mirrored, held = (
        model.predict(images[..., None].astype(np.float32), batch_size=256, verbose=0)
        for images in (train.images, train.images[:, :, ::-1], validation.images)
    )
    found = {}
    for head, truth in (("fer2013", validation.labels), ("ferplus", validation.ferplus_labels)):
        known = truth >= 0
        most_frequent = np.bincount(truth[known], minlength=1).max()
        if known.any() and np.sum(held[head][known].argmax(axis=1) == truth[known]) <= most_frequent:
            continue
        temperature = fit_temperature(held[head][known], truth[known]) if known.any() else 1.0
        found[head] = (softmax(logits[head] / temperature) + softmax(mirrored[head] / temperature)) / 2
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make soft targets from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.teachers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, action="append", required=True, help="a .keras file of training.train")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write (float16)")
    args = parser.parse_args(argv)
    try:
        splits = load(args.dataset)
        require_trainable(splits)
        found = [predict(keras_file.load(path), splits["train"], splits["validation"]) for path in args.teacher]
        by_head = {head: [f[head] for f in found if head in f] for head in HEADS}
        for head, predictions in by_head.items():
            if not predictions:
                raise DataError(f"no teacher beats always predicting the most frequent of the {head} labels")
        means = {head: np.mean(predictions, axis=0) for head, predictions in by_head.items()}
        save_soft_targets(args.out, splits["train"], means)
    except (DataError, KerasFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for head, truth in (("fer2013", splits["train"].labels), ("ferplus", splits["train"].ferplus_labels)):
        known = truth >= 0
        agreed = np.mean(means[head].argmax(axis=1)[known] == truth[known])
        teachers = f"{len(by_head[head])} of {len(found)} teachers"
        print(f"{head}, {teachers}: {known.sum()} labelled images, {agreed:.1%} agree with the label")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
