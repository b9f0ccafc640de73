"""Export: a run folder -> a checkpoint folder that `deepfer` serves, if it passes the gate.

python -m training.export --run runs/cnn --dataset PATH_OR_HUB_ID --out deepfer/checkpoints/cnn
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.alignment import CropGeometry
from deepfer.checkpoint import CONFIG, FORMAT_VERSION, MODEL, read, sha256
from deepfer.classifier import EmotionClassifier
from deepfer.errors import CheckpointError
from deepfer.face import LABELS
from training.data import DataError, Split, load
from training.metrics import blend_score, fit_temperature

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.models import FEATURES, HEADS

MIN_AGREEMENT = 0.995  # of labels between Keras and the exported file, on validation
MAX_ACCURACY_LOSS = 0.002
RECORDED_ROWS = 1000  # the first rows of validation, whose labels the config keeps

# Where a face sits in FER2013's pictures: the medians that `python -m training.template` prints, made symmetric because
# training mirrors every other picture.
GEOMETRY = CropGeometry(
    template=((0.3194, 0.38), (0.6806, 0.38), (0.5, 0.5934), (0.3532, 0.74), (0.6468, 0.74)),
    margin=1.038,
    center=(0.5, 0.492),
)


class GateError(Exception):
    """The exported file answers differently from the model it was made of."""


def as_float32(model: keras.Model) -> keras.Model:
    """The same network and weights with every layer in float32, whatever it was trained in."""
    keras.mixed_precision.set_global_policy("float32")
    copy = keras.models.clone_model(
        model, clone_function=lambda layer: layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})
    )
    copy.set_weights(model.get_weights())
    return copy


def served_model(model: keras.Model, share: float) -> keras.Model:
    """The graph that is served: both heads folded into one Dense layer, and the map that it makes of the features.

    The geometric blend of two softmaxes is a softmax of the weighted sum of their logits, so it costs nothing.

    Args:
        model: A float32 model of `training.models`.
        share: Weight of the FER2013 head, 0 to 1; the FER+ head has the rest.

    Returns:
        Model of `(N, S, S, 1)` to `{"logits", "fer2013_logits": (N, 7), "activation_map": (N, h, w, 7)}`.
    """
    weights = {head: model.get_layer(head).get_weights() for head in HEADS}
    kernel, bias = (
        share * fer2013 + (1 - share) * ferplus
        for fer2013, ferplus in zip(weights["fer2013"], weights["ferplus"], strict=True)
    )
    features = model.get_layer(FEATURES).output
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
    logits = keras.layers.Dense(len(LABELS), name="logits")
    fer2013 = keras.layers.Dense(len(LABELS), name="fer2013_logits")
    mapped = keras.layers.Conv2D(len(LABELS), 1, name="activation_map")
    served = keras.Model(
        model.inputs,
        {"logits": logits(pooled), "fer2013_logits": fer2013(pooled), "activation_map": mapped(features)},
    )
    logits.set_weights([kernel, bias])
    fer2013.set_weights(weights["fer2013"])
    mapped.set_weights([kernel[None, None], bias])
    return served


def to_litert(model: keras.Model, quantize: bool) -> bytes:
    """Convert to a LiteRT file; with `quantize` its weights are int8 (dynamic range: activations on the fly)."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def choose_share(logits: dict[str, np.ndarray], split: Split) -> float:
    """The FER2013 head's weight in the served answer: best mean over both label sets of (accuracy + balanced) / 2.

    Args:
        logits: Each head's `(N, 7)` on `split`.
        split: Validation.
    """
    if not np.any(split.majority >= 0):
        return 1.0
    shares = np.round(np.linspace(0, 1, 21), 2)
    return float(max(shares, key=lambda share: blend_score(logits, float(share), split)))


def predict_logits(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every output of a model for uint8 `(N, S, S)` images."""
    return model.predict(images[..., None].astype(np.float32), batch_size=256, verbose=0)


def export(model: keras.Model, validation: Split, folder: Path, about: dict, quantize: bool = True) -> dict:
    """Write a checkpoint folder: `model.tflite` and `config.json`. An old folder stays until the new one has passed.

    Args:
        model: As `training.models` builds it, trained.
        validation: What blend and temperature are chosen on, and the gate is held against.
        folder: Where to.
        quantize: int8 weights; else float32.
        about: What else `config.json` should say (model, recipe, seed, ...).

    Returns:
        What the gate measured.

    Raises:
        GateError: The file does not answer as the model does.
    """
    model = as_float32(model)
    heads = predict_logits(model, validation.images)
    share = choose_share(heads, validation)
    served = served_model(model, share)
    reference = predict_logits(served, validation.images)
    voted = validation.majority >= 0
    truth, rows = (validation.majority, voted) if voted.any() else (validation.labels, np.ones(len(validation), bool))
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (new / MODEL).write_bytes(to_litert(served, quantize))
    config = {
        "format_version": FORMAT_VERSION,
        **about,
        "labels": list(LABELS),
        "input": {"size": model.input_shape[1], "channels": model.input_shape[3], "range": [0, 255]},
        "outputs": {name: name for name in ("logits", "fer2013_logits", "activation_map")},
        "temperature": {
            "logits": fit_temperature(reference["logits"][rows], truth[rows]),
            "fer2013_logits": fit_temperature(reference["fer2013_logits"], validation.labels),
        },
        "fer2013_share": share,
        "crop": {"template": GEOMETRY.template, "margin": GEOMETRY.margin, "center": GEOMETRY.center},
        "sha256": {MODEL: sha256(new / MODEL)},
    }
    (new / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    labels = EmotionClassifier(read(new)).predict(validation.images).argmax(axis=1)
    expected = reference["logits"].argmax(axis=1)
    gate = {
        "label_agreement": float(np.mean(labels == expected)),
        "accuracy_loss": float(np.mean(expected[rows] == truth[rows]) - np.mean(labels[rows] == truth[rows])),
    }
    if gate["label_agreement"] < MIN_AGREEMENT or gate["accuracy_loss"] > MAX_ACCURACY_LOSS:
        shutil.rmtree(new)
        raise GateError(f"the exported file differs too much from its model: {gate}")
    config["gate"] = gate
    config["recorded_labels"] = "".join(map(str, labels[:RECORDED_ROWS]))
    (new / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return gate


def main(argv: Sequence[str] | None = None) -> int:
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder of training.train")
    parser.add_argument("--dataset", required=True, help="its dataset: blend and temperature are chosen on validation")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")
    parser.add_argument("--keep", type=Path, help="also save the float32 model as this .keras, for fine-tuning")
    parser.add_argument("--float32", action="store_true", help="keep float32 weights instead of int8")
    args = parser.parse_args(argv)
    try:
        run = json.loads((args.run / "run.json").read_text())
        validation = load(args.dataset)["validation"]
        model = keras.models.load_model(args.run / "best.keras", compile=False)
        about = {
            **{key: run[key] for key in ("model", "recipe", "seed")},
            "training": {
                "phases": [{"epochs": phase["epochs"]} for phase in run["phases"]],
                **{key: run.get(key) for key in ("seconds", "device", "backend", "init", "teachers", "resumed")},
            },
        }
        gate = export(model, validation, args.out, about, quantize=not args.float32)
        if args.keep:
            args.keep.parent.mkdir(parents=True, exist_ok=True)
            as_float32(model).save(args.keep)
    except (DataError, GateError, CheckpointError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {(args.out / MODEL).stat().st_size / 1e6:.2f} MB, {gate}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
