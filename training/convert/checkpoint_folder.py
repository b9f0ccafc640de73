"""Checkpoint folder: writes a Keras model as `model.tflite` and `config.json`, if it passes the parity check."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deepfer.alignment import CropGeometry
from deepfer.checkpoint import CONFIG, FORMAT_VERSION, MODEL, encode_config, read, sha256
from deepfer.classifier import EmotionClassifier
from deepfer.face import LABELS
from training.convert.calibration import fit_temperature
from training.convert.litert import predict_logits, to_litert
from training.exceptions import ParityError

MIN_AGREEMENT = 0.995  # of predicted labels, between Keras and the exported file
MAX_ACCURACY_LOSS = 0.002
RECORDED_ROWS = 1000  # images of validation whose predicted labels the config records
# Where a face lies in FER2013's images: medians of the detected boxes and landmarks, made left-right symmetric because
# training mirrors every other image.
GEOMETRY = CropGeometry(
    template=((0.3194, 0.38), (0.6806, 0.38), (0.5, 0.5934), (0.3532, 0.74), (0.6468, 0.74)),
    margin=1.038,
    center=(0.5, 0.492),
)


def require_writable(folder: Path) -> None:
    """Check that a checkpoint can be written to `folder`.

    Raises:
        OSError: The folder cannot be created, or holds something other than a checkpoint.
    """
    shutil.rmtree(_new_folder(folder))


def write(
    served: keras.Model,
    images: np.ndarray,
    truth: dict[str, np.ndarray],
    folder: Path,
    about: dict[str, Any],
    labels: Sequence[str] = LABELS,
    quantize: bool = True,
    card: str = "",
) -> dict[str, Any]:
    """Write a checkpoint folder. It replaces an existing checkpoint only after passing the parity check.

    Args:
        served: Model that maps `(N, S, S, C)`, 0 to 255, to logits `(N, 7)` and optionally an activation map.
        images: uint8 `(N, S, S)`, on which the file's predictions are compared with the model's.
        truth: For each logits output, int `(N,)`, indices into `LABELS`, -1 if unknown. The output's temperature is
            fitted on it; outputs that are not listed get temperature 1.
        folder: The folder to write.
        about: Further fields of `config.json` (model, recipe, seed, ...).
        labels: The order of the model's outputs.
        quantize: Store int8 weights rather than float32.
        card: Content of `README.md`; if empty, none is written.

    Returns:
        The measurements of the parity check.

    Raises:
        ParityError: The file's predictions differ from the model's.
        OSError: The folder cannot be written, or holds something other than a checkpoint.
    """
    new = _new_folder(folder)
    try:
        columns = [list(labels).index(label) for label in LABELS]
        reference = {name: values[..., columns] for name, values in predict_logits(served, images).items()}
        (new / MODEL).write_bytes(to_litert(served, quantize))
        config = {
            "format_version": FORMAT_VERSION,
            **about,
            "labels": list(labels),
            "input": {"size": served.input_shape[1], "channels": served.input_shape[3], "range": [0, 255]},
            "outputs": {name: name for name in reference},
            "temperature": {
                name: fit_temperature(values[truth[name] >= 0], truth[name][truth[name] >= 0]) if name in truth else 1.0
                for name, values in reference.items()
                if name.endswith("logits")
            },
            "crop": {"template": GEOMETRY.template, "margin": GEOMETRY.margin, "center": GEOMETRY.center},
            "sha256": {MODEL: sha256(new / MODEL)},
        }
        (new / CONFIG).write_bytes(encode_config(config))
        predicted = EmotionClassifier(read(new)).predict(images).argmax(axis=1)
        config["gate"] = check_parity(predicted, reference["logits"].argmax(axis=1), truth.get("logits"))
        if truth:
            config["recorded_labels"] = "".join(map(str, predicted[:RECORDED_ROWS]))
        (new / CONFIG).write_bytes(encode_config(config))
        if card:
            (new / "README.md").write_text(card, encoding="utf-8")
        _replace(folder.resolve(), new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return config["gate"]


def check_parity(predicted: np.ndarray, expected: np.ndarray, truth: np.ndarray | None) -> dict[str, Any]:
    """Compare the file's predicted labels with the model's, int `(N,)` each, and their accuracies if `truth` is given.

    Raises:
        ParityError: They differ too much.
    """
    agreement, loss = float(np.mean(predicted == expected)), None
    if truth is not None:
        rows = truth >= 0
        loss = float(np.mean((expected == truth)[rows]) - np.mean((predicted == truth)[rows]))
    measured = {"images": len(predicted), "label_agreement": agreement, "accuracy_loss": loss}
    if agreement < MIN_AGREEMENT or (loss is not None and loss > MAX_ACCURACY_LOSS):
        raise ParityError(f"the exported file differs too much from its model: {measured}; try --float32")
    return measured


def _new_folder(folder: Path) -> Path:
    """Create an empty folder beside `folder`, to be renamed to it."""
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).exists() or not any(folder.iterdir()))):
        raise FileExistsError(f"{folder} holds something other than a checkpoint: choose another folder")
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def _replace(folder: Path, new: Path) -> None:
    """Rename `new` to `folder`, and restore the old folder if that fails."""
    old = new.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
