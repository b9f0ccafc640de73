"""Teachers' predictions: what trained networks say of a training split, averaged, for others to be distilled from.

python -m training.teachers --teacher runs/a/best.keras --teacher runs/b/best.keras --dataset PATH_OR_HUB_ID --out T.npz
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.classifier import softmax
from training.data import DataError, Split, load, require_trainable
from training.metrics import fit_temperature

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training import keras_file
from training.models import HEADS


def rows_sha256(split: Split) -> str:
    """What ties predictions to the rows they were made for: a sha256 over the images."""
    return hashlib.sha256(np.ascontiguousarray(split.images).tobytes()).hexdigest()


def predict(model: keras.Model, train: Split, validation: Split) -> dict[str, np.ndarray]:
    """Each trained head's probabilities for `train`, float32 `(N, 7)`: mean of image and mirror, calibrated.

    Raises:
        DataError: The model has not the heads of `training.models`.
    """
    found = {}
    if sorted(model.output_names) != sorted(HEADS) or not isinstance(model.output, dict):
        raise DataError(f"{model.name} has not the heads {' and '.join(HEADS)}: it can be no teacher")
    logits, mirrored, held = (
        model.predict(images[..., None].astype(np.float32), batch_size=256, verbose=0)
        for images in (train.images, train.images[:, :, ::-1], validation.images)
    )
    for head, truth in (("fer2013", validation.labels), ("ferplus", validation.majority)):
        known = truth >= 0
        most = np.bincount(truth[known], minlength=1).max()
        if known.any() and np.sum(held[head][known].argmax(axis=1) == truth[known]) <= most:
            continue  # it was never trained: the most frequent label knows as much
        temperature = fit_temperature(held[head][known], truth[known]) if known.any() else 1.0
        found[head] = (softmax(logits[head] / temperature) + softmax(mirrored[head] / temperature)) / 2
    return found


def load_teachers(path: Path, train: Split) -> dict[str, np.ndarray]:
    """Each head's probabilities, float32 `(N, 7)`, a row for each of `train`.

    Raises:
        DataError: The file holds none, or those of other images.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            made_for = str(arrays["images_sha256"])
            found = {head: arrays[head].astype(np.float32) for head in HEADS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no teachers' predictions: {error}") from error
    if made_for != rows_sha256(train) or any(p.shape != (len(train), 7) for p in found.values()):
        raise DataError(f"{path} was made for other images than this training split: make it anew (training.teachers)")
    return {head: p / p.sum(axis=1, keepdims=True) for head, p in found.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.teachers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, action="append", required=True, help="a .keras of training.train")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write (float16)")
    args = parser.parse_args(argv)
    try:
        splits = load(args.dataset)
        require_trainable(splits)
        found = [predict(keras_file.load(path), splits["train"], splits["validation"]) for path in args.teacher]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        taught = {head: [f[head] for f in found if head in f] for head in HEADS}
        for head, given in taught.items():
            if not given:
                raise DataError(f"no teacher knows more of the {head} labels than which is the most frequent")
        means = {head: np.mean(given, axis=0).astype(np.float16) for head, given in taught.items()}
        np.savez_compressed(args.out, images_sha256=rows_sha256(splits["train"]), **means)
    except (DataError, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for head, truth in (("fer2013", splits["train"].labels), ("ferplus", splits["train"].majority)):
        known = truth >= 0
        agreed = np.mean(means[head].argmax(axis=1)[known] == truth[known])
        print(f"{head}, {len(taught[head])} of {len(found)} teachers: {known.sum()} rows, the label's in {agreed:.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
