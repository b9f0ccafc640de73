r"""Export: a run folder, or one's own Keras file -> a checkpoint folder that `deepfer` serves, if it passes the gate.

    python -m training.export --run runs/cnn --out deepfer/checkpoints/cnn
    python -m training.export --keras best_model.keras --labels angry,disgust,fear,happy,neutral,sad,surprise \
        --rescale 0-1 --out my-checkpoint [--dataset PATH_OR_HUB_ID]

One's own file is a `.keras` or `.h5` of Keras 2 or 3: one picture in, one probability per label out. `--labels` are its
outputs in their order, `--rescale` is what was done to the pixels before it saw them (write `--rescale=-1-1`). Nothing
in it is executed: a file with a Lambda layer or a class from elsewhere is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.alignment import CropGeometry
from deepfer.checkpoint import CONFIG, FORMAT_VERSION, MODEL, encode_config, read, read_config, sha256
from deepfer.classifier import EmotionClassifier
from deepfer.errors import DeepFERError
from deepfer.face import LABELS
from deepfer.image_io import read_image
from training.data.dataset import resize_to_square
from training.data.labels import label_index
from training.data.loading import load
from training.data.split import Split
from training.errors import DataError, KerasFileError, ParityError
from training.report.metrics import blend_score, fit_calibration, fit_temperature, held_out_accuracy

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.convert import keras_file
from training.model.models import FEATURES, HEADS

MIN_AGREEMENT = 0.995  # of labels between Keras and the exported file, on validation
MAX_ACCURACY_LOSS = 0.002
SHARE_RESAMPLES = 500  # of validation, for the standard error of the score by which both heads are blended
MAX_TRIES = 3  # shares that are converted, until one passes the gate
RECORDED_ROWS = 1000  # the first rows of validation, whose labels the config keeps

# Where a face sits in FER2013's pictures: the medians that `python -m training.template` prints, made symmetric because
# training mirrors every other picture.
GEOMETRY = CropGeometry(
    template=((0.3194, 0.38), (0.6806, 0.38), (0.5, 0.5934), (0.3532, 0.74), (0.6468, 0.74)),
    margin=1.038,
    center=(0.5, 0.492),
)


CARD = """# {name}

The classifier of `{model}`, converted by `python -m training.export --keras`; its outputs are {labels}, in this order.
The file answers as Keras does on at least 99.5 % of {images} pictures: {converted[gate]}.
How accurate it is, and how well calibrated, is measured with `python -m training.evaluate`.

```python
from deepfer import EmotionRecognizer, read_image

recognizer = EmotionRecognizer.from_pretrained("{folder}")
for face in recognizer.recognize(read_image("photo.jpg")):
    print(face.box, face.emotion, f"{{face.confidence:.0%}}")
```
"""


def as_float32(model: keras.Model) -> keras.Model:
    """Copy a network and its weights, with every layer in float32 and without augmentation layers."""
    keras.mixed_precision.set_global_policy("float32")

    def copied(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.Layer):  # an operation, such as x + y: it has no weights
            casts_to_half = getattr(layer, "dtype", None) in ("float16", "bfloat16")
            return layer.from_config({**layer.get_config(), "dtype": "float32"}) if casts_to_half else layer
        if type(layer).__name__.startswith("Random"):  # exported, it would go on turning and shifting every face
            return keras.layers.Identity(name=layer.name)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def calibrate(model: keras.Model, logits: dict[str, np.ndarray], validation: Split) -> dict[str, dict]:
    """Calibrate each head on its own labels, in place: its scale and biases become part of its Dense layer.

    A blend of heads that say an emotion too seldom, or too often, would do so too.

    Args:
        model: A model of `training.models`.
        logits: Each of its heads' `(N, 7)` on `validation`; calibrated as the model is, in place.
        validation: What is fitted on.

    Returns:
        For each head that validation has labels for: `scale`, `biases` by label, and `held_out_accuracy`, 0 to 1.
    """
    found = {}
    for head, truth in (("fer2013", validation.labels), ("ferplus", validation.ferplus_labels)):
        rows = truth >= 0
        if not rows.any():
            continue
        scale, biases = fit_calibration(logits[head][rows], truth[rows])
        found[head] = {
            "scale": round(scale, 4),
            "biases": dict(zip(LABELS, biases.round(4).tolist(), strict=True)),
            "held_out_accuracy": held_out_accuracy(logits[head][rows], truth[rows]),
        }
        kernel, bias = model.get_layer(head).get_weights()
        model.get_layer(head).set_weights([scale * kernel, scale * bias + biases])
        logits[head] = scale * logits[head] + biases
    return found


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
    """Convert to a LiteRT file; with `quantize` its weights are int8 (dynamic range: activations on the fly).

    The first convolution's stay float32: they are few, and what is lost there goes through all that follows. Of
    ResNet50V2's labels, int8 changes half as many this way.

    Raises:
        KerasFileError: The model computes something that LiteRT cannot.
        OSError: There is no room for the copy that TensorFlow makes on the way.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator, TensorType
    from tensorflow.lite.tools import flatbuffer_utils

    def first_weights(file: Any) -> Any:
        graph = file.subgraphs[0]
        convolutions = (
            operator
            for operator in graph.operators
            if file.operatorCodes[operator.opcodeIndex].builtinCode == BuiltinOperator.CONV_2D
        )
        return next((graph.tensors[operator.inputs[1]] for operator in convolutions), None)

    room, needed = tempfile.gettempdir(), 3 * 4 * model.count_params() + 10_000_000
    if shutil.disk_usage(room).free < needed:  # TensorFlow itself would end in another error, about something else
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed / 1e6:.0f} MB are needed", room)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    tf.get_logger().setLevel("ERROR")
    with contextlib.redirect_stdout(io.StringIO()):  # Keras tells of a copy on the way, which nobody asked for
        try:
            whole = bytes(converter.convert())
        except ConverterError as error:
            unsupported = re.search(r"(?:TF Select|Custom) ops: (.+)", str(error))
            reason = f"LiteRT cannot compute {unsupported[1]}" if unsupported else " ".join(str(error).split())[:300]
            raise KerasFileError(f"the network cannot be converted: {reason}") from error
        if not quantize:
            return whole
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        small = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    first = first_weights(small)
    if first is not None and first.type == TensorType.INT8:
        file = flatbuffer_utils.read_model_from_bytearray(bytearray(whole))
        small.buffers[first.buffer].data = file.buffers[first_weights(file).buffer].data
        first.type, first.quantization = TensorType.FLOAT32, None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(small))


def rank_shares(logits: dict[str, np.ndarray], split: Split) -> list[float]:
    """Weights of the FER2013 head that serve best, the one to take first in front.

    The score is the mean over both label sets of (accuracy + balanced accuracy) / 2. It is flat around its peak, so all
    shares within a standard error of the best count as equal (Breiman et al. 1984), and the least is preferred: FER+'s
    labels are the better ones. The error is that of the best share's score, by a bootstrap over the pictures.

    Args:
        logits: Each head's `(N, 7)` on `split`.
        split: Validation.
    """
    if not np.any(split.ferplus_labels >= 0):
        return [1.0]
    scores = {float(share): blend_score(logits, float(share), split) for share in np.round(np.linspace(0, 1, 21), 2)}
    best = max(scores, key=lambda share: scores[share])
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(split), len(split)) for _ in range(SHARE_RESAMPLES))
    error = np.std([blend_score(logits, best, split, rows) for rows in drawn])
    return [share for share, score in scores.items() if score >= scores[best] - error]


def predict_logits(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every output of a model for uint8 `(N, S, S)` images; one of colour gets them gray in all three channels."""
    repeat = (1, 1, 1, model.input_shape[3])
    parts = [
        model.predict_on_batch(np.tile(images[start : start + 128, ..., None], repeat).astype(np.float32))
        for start in range(0, len(images), 128)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def prepare(folder: Path) -> Path:
    """The new folder that `folder` is written as, empty, beside it.

    Raises:
        OSError: It cannot be made, or `folder` holds something else than a checkpoint.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).exists() or not any(folder.iterdir()))):
        raise FileExistsError(f"{folder} holds something else than a checkpoint: choose another folder")
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def write(
    served: keras.Model,
    images: np.ndarray,
    truth: dict[str, np.ndarray],
    folder: Path,
    about: dict,
    labels: Sequence[str] = LABELS,
    quantize: bool = True,
    card: str = "",
) -> dict:
    """Write a checkpoint folder: `model.tflite` and `config.json`. An old folder stays until the new one has passed.

    Args:
        served: Model of `(N, S, S, C)`, 0 to 255, to logits `(N, 7)`, and an activation map where there is one.
        images: uint8 `(N, S, S)`, on which the file must answer as the model does.
        truth: For each logits output, int `(N,)`, indices into `LABELS`, -1 where unknown: what its temperature is
            chosen on. An output that is not named gets temperature 1.
        folder: Where to.
        about: What else `config.json` should say (model, recipe, seed, ...).
        labels: The order of the model's own outputs.
        quantize: int8 weights; else float32.
        card: `README.md`, where there should be one.

    Returns:
        What the gate measured.

    Raises:
        ParityError: The file does not answer as the model does.
        OSError: The folder cannot be written, or holds something else than a checkpoint.
    """
    new = prepare(folder)
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
        answers = EmotionClassifier(read(new)).predict(images).argmax(axis=1)
        config["gate"] = gate(answers, reference["logits"].argmax(axis=1), truth.get("logits"))
        if truth:
            config["recorded_labels"] = "".join(map(str, answers[:RECORDED_ROWS]))
        (new / CONFIG).write_bytes(encode_config(config))
        if card:
            (new / "README.md").write_text(card, encoding="utf-8")
        _replace(folder.resolve(), new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return config["gate"]


def gate(answers: np.ndarray, expected: np.ndarray, truth: np.ndarray | None) -> dict:
    """How the file's labels compare with its model's, `(N,)` each; no loss of accuracy where the truth is unknown.

    Raises:
        ParityError: They differ too much.
    """
    agreement, loss = float(np.mean(answers == expected)), None
    if truth is not None:
        rows = truth >= 0
        loss = float(np.mean((expected == truth)[rows]) - np.mean((answers == truth)[rows]))
    measured = {"images": len(answers), "label_agreement": agreement, "accuracy_loss": loss}
    if agreement < MIN_AGREEMENT or (loss is not None and loss > MAX_ACCURACY_LOSS):
        raise ParityError(f"the exported file differs too much from its model: {measured}; try --float32")
    return measured


def _replace(folder: Path, new: Path) -> None:
    """Put `new` where `folder` is, in two renames, so that a checkpoint is never half written."""
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


def export(model: keras.Model, validation: Split, folder: Path, about: dict, quantize: bool = True) -> dict:
    """Export a model of `training.models`, trained: both heads calibrated, and blended as validation likes it best.

    Args:
        model: As `training.models` builds it, trained.
        validation: What calibration and blend are chosen on, and the gate is held against.
        folder: Where to.
        about: What else `config.json` should say (model, recipe, seed, ...).
        quantize: int8 weights; else float32.

    Returns:
        What the gate measured.

    Raises:
        ParityError: With none of the first shares does the file answer as the model does.
        OSError: The folder cannot be written, or holds something else than a checkpoint.
    """
    model = as_float32(model)
    logits = predict_logits(model, validation.images)
    about = {**about, "calibration": calibrate(model, logits, validation)}
    shares = rank_shares(logits, validation)[:MAX_TRIES]
    truth = {
        "logits": validation.ferplus_labels if np.any(validation.ferplus_labels >= 0) else validation.labels,
        "fer2013_logits": validation.labels,
    }
    for share in shares:
        try:
            fields = {**about, "fer2013_share": share}
            return write(
                served_model(model, share), validation.images, truth, folder, fields, quantize=quantize
            )  # fmt: skip
        except ParityError:
            if share == shares[-1]:
                raise
    raise AssertionError("there is always a share")


def export_file(
    path: Path,
    names: Sequence[str],
    rescale: str,
    folder: Path,
    validation: Callable[[int], Split] | None = None,
    pictures: Sequence[Path] = (),
    quantize: bool = True,
) -> dict:
    """Export a person's own `.keras` or `.h5` classifier.

    Args:
        path: The file.
        names: What its outputs stand for, in their order; synonyms of the seven labels are taken.
        rescale: What was done to the pixels in its training: a key of `training.keras_file.RESCALE`.
        folder: Where to.
        validation: The input's side in pixels -> faces with labels, to choose the temperature and hold the gate on.
            Without them the temperature is 1, and the gate is held on noise and `pictures`.
        pictures: Picture files of faces.
        quantize: int8 weights; else float32.

    Returns:
        What the gate measured.

    Raises:
        KerasFileError: It cannot be used, or its outputs are not the labels.
        DataError: Some names are none of the seven emotions.
        ImageError: One of `pictures` cannot be read.
        ParityError: The exported file does not answer as the model does.
        OSError: The file cannot be read or the folder not be written.
    """
    labels = [LABELS[index] for index in label_index(names)]
    if sorted(labels) != sorted(LABELS):
        raise DataError(f"--labels must name each of {', '.join(LABELS)} once, in the order of the outputs")
    served = keras_file.as_served(as_float32(keras_file.load(path)), rescale)
    size = served.input_shape[1]
    if validation:
        split = validation(size)
        images, truth, gate_on = split.images, {"logits": split.labels}, "validation"
    else:
        given = [resize_to_square(cv2.cvtColor(read_image(picture), cv2.COLOR_RGB2GRAY), size) for picture in pictures]
        images, truth = np.concatenate([noise(size), np.reshape(np.array(given, np.uint8), (-1, size, size))]), {}
        gate_on = f"noise and {len(given)} pictures; no temperature was fitted"
    about = {"model": path.name, "converted": {"rescale": rescale, "gate": gate_on}}
    card = CARD.format(name=path.stem, labels=", ".join(labels), folder=folder.name, images=len(images), **about)
    return write(served, images, truth, folder, about, labels, quantize, card)


def noise(size: int, count: int = 200) -> np.ndarray:
    """Random pictures from blurred to sharp, uint8 `(count, size, size)`, the same ones every time."""
    rng = np.random.default_rng(0)
    coarse = (rng.integers(0, 256, (side, side), np.uint8) for side in rng.integers(2, size + 1, count))
    return np.stack([cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR) for picture in coarse])


def main(argv: Sequence[str] | None = None) -> int:
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="the run folder of training.train")
    source.add_argument("--keras", type=Path, help="a .keras or .h5 file of one's own")
    parser.add_argument("--dataset", help="calibration and blend are chosen on its validation; a run's own by default")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")
    parser.add_argument("--float32", action="store_true", help="keep float32 weights instead of int8")
    parser.add_argument("--keep", type=Path, help="with --run: also save the float32 model here, for fine-tuning")
    parser.add_argument(
        "--labels", help="with --keras: what its outputs stand for, in their order, with commas between"
    )
    parser.add_argument("--rescale", choices=keras_file.RESCALE, help="with --keras: what it takes instead of 0 to 255")
    parser.add_argument(
        "--pictures", type=Path, nargs="*", default=[], help="with --keras: faces to compare on, where no dataset is"
    )
    args = parser.parse_args(argv)
    if args.keras and not (args.labels and args.rescale):
        parser.error("--keras needs --labels and --rescale")
    if args.keras and args.keep:
        parser.error("--keep goes with --run")
    if args.keep and args.keep.suffix != ".keras":
        parser.error(f"--keep {args.keep}: the name must end in .keras")

    def validation(size: int) -> Split:
        splits = load(args.dataset, size)
        if not len(splits.get("validation", ())):
            raise DataError(f"{args.dataset} has no validation pictures, only {', '.join(splits)}")
        return splits["validation"]

    try:
        shutil.rmtree(prepare(args.out))  # what cannot be written is told before the work
        if args.keras:
            measured = export_file(
                args.keras, args.labels.split(","), args.rescale, args.out,
                validation if args.dataset else None, args.pictures, not args.float32,
            )  # fmt: skip
        else:
            run = json.loads((args.run / "run.json").read_text())
            about = _about(run)
            args.dataset = args.dataset or run.get("dataset_source", "")
            model = keras_file.load(args.run / "best.keras")
            measured = export(model, validation(model.input_shape[1]), args.out, about, quantize=not args.float32)
            if args.keep:
                args.keep.parent.mkdir(parents=True, exist_ok=True)
                as_float32(model).save(args.keep)
    except (DataError, KerasFileError, ParityError, DeepFERError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for head, fitted in read_config(args.out).get("calibration", {}).items():
        print(f"{head}: {100 * fitted['held_out_accuracy']:.1f} % right where its calibration was not fitted")
    print(f"{args.out}: {(args.out / MODEL).stat().st_size / 1e6:.2f} MB, {measured}")
    if args.keras and not args.dataset:
        print("no --dataset: temperature 1, its probabilities are as calibrated as they were", file=sys.stderr)
    return 0


def _about(run: dict) -> dict:
    try:
        training = {
            "phases": [{"epochs": p["epochs"], "weights": p["network"].get("weights")} for p in run["phases"]],
            **{key: run[key] for key in ("seconds", "device", "backend")},
            **{key: run.get(key) for key in ("init", "teachers")},
            "resumed": run.get("resumed", []),
        }
        return {**{key: run[key] for key in ("model", "recipe", "seed")}, "training": training}
    except KeyError as error:
        raise DataError(f"run.json has no {error}: it is of an older training.train") from error


if __name__ == "__main__":
    raise SystemExit(main())
