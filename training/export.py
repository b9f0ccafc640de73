r"""Export a run, or your own Keras file, as a checkpoint folder that `deepfer` serves, if it passes the parity check.

    python -m training.export --run runs/cnn --out deepfer/checkpoints/cnn
    python -m training.export --keras best_model.keras --labels angry,disgust,fear,happy,neutral,sad,surprise \
        --rescale 0-1 --out my-checkpoint [--dataset PATH_OR_HUB_ID]

Your own file is a `.keras` or `.h5` file of Keras 2 or 3 that takes one image and returns one probability per label.
`--labels` names its outputs in order. `--rescale` is how pixels were scaled in its training (write `--rescale=-1-1`).
No code in the file is executed: files with a Lambda layer or a custom class are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.alignment import resize_crop
from deepfer.checkpoint import MODEL, read_config
from deepfer.errors import DeepFERError
from deepfer.face import LABELS
from deepfer.image_io import read_image
from training.data.labels import label_index
from training.data.loading import load
from training.data.split import Split
from training.exceptions import DataError, KerasFileError, ParityError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.convert import keras_file
from training.convert.calibration import calibrate, rank_shares
from training.convert.checkpoint_folder import require_writable, write
from training.convert.litert import as_float32, predict_logits, served_model
from training.model.run_folder import RunFolder

MAX_TRIES = 3  # blends to convert until one passes the parity check
CARD = """# {name}

The classifier of `{model}`, converted by `python -m training.export --keras`. Its outputs are {labels}, in this order.
The file predicts the same label as Keras on at least 99.5% of {images} images ({converted[gate]}).
Measure its accuracy and calibration with `python -m training.evaluate`.

```python
from deepfer import EmotionRecognizer, read_image

recognizer = EmotionRecognizer.from_pretrained("{folder}")
for face in recognizer.recognize(read_image("photo.jpg")):
    print(face.box, face.emotion, f"{{face.confidence:.0%}}")
```
"""


def export(model: keras.Model, validation: Split, folder: Path, about: dict[str, Any], quantize: bool = True) -> dict:
    """Export a trained model of `training.model.models`: calibrate both heads on validation, and blend them.

    Args:
        model: The trained model.
        validation: The split for calibration, blend and parity check.
        folder: The folder to write.
        about: Further fields of `config.json` (model, recipe, seed, ...).
        quantize: Store int8 weights rather than float32.

    Returns:
        The measurements of the parity check.

    Raises:
        ParityError: None of the best blends passes the parity check.
        OSError: The folder cannot be written, or holds something other than a checkpoint.
    """
    model = as_float32(model)
    logits = predict_logits(model, validation.images)
    about = {**about, "calibration": calibrate(model, logits, validation)}
    truth = {
        "logits": validation.ferplus_labels if np.any(validation.ferplus_labels >= 0) else validation.labels,
        "fer2013_logits": validation.labels,
    }
    *first, last = rank_shares(logits, validation)[:MAX_TRIES]

    def attempt(share: float) -> dict:
        fields = {**about, "fer2013_share": share}
        return write(served_model(model, share), validation.images, truth, folder, fields, quantize=quantize)

    for share in first:
        try:
            return attempt(share)
        except ParityError:
            continue
    return attempt(last)


def export_file(
    path: Path,
    names: Sequence[str],
    rescale: str,
    folder: Path,
    validation: Callable[[int], Split] | None = None,
    images: Sequence[Path] = (),
    quantize: bool = True,
) -> dict:
    """Export your own `.keras` or `.h5` classifier.

    Args:
        path: The file.
        names: The labels of its outputs, in order; synonyms of the seven labels are accepted.
        rescale: How pixels were scaled in its training: a key of `training.convert.keras_file.RESCALE`.
        folder: The folder to write.
        validation: Maps the input's side in pixels to labelled faces, for the temperature and the parity check. If
            None, the temperature is 1, and parity is checked on noise and `images`.
        images: Image files of faces.
        quantize: Store int8 weights rather than float32.

    Returns:
        The measurements of the parity check.

    Raises:
        KerasFileError: The file cannot be used, or its outputs are not the labels.
        DataError: Some names are not among the seven emotions.
        ImageError: One of `images` cannot be decoded.
        ParityError: The exported file's predictions differ from the model's.
        OSError: The file cannot be read, or the folder cannot be written.
    """
    labels = [LABELS[index] for index in label_index(names)]
    if sorted(labels) != sorted(LABELS):
        raise DataError(f"--labels must name each of {', '.join(LABELS)} once, in the order of the outputs")
    served = keras_file.as_served(as_float32(keras_file.load(path)), rescale)
    size = served.input_shape[1]
    if validation:
        split = validation(size)
        compared, truth, compared_on = split.images, {"logits": split.labels}, "validation"
    else:
        faces = [resize_crop(cv2.cvtColor(read_image(image), cv2.COLOR_RGB2GRAY), size) for image in images]
        compared, truth = np.concatenate([noise(size), np.reshape(np.array(faces, np.uint8), (-1, size, size))]), {}
        compared_on = f"noise and {len(faces)} images; no temperature was fitted"
    about = {"model": path.name, "converted": {"rescale": rescale, "gate": compared_on}}
    card = CARD.format(name=path.stem, labels=", ".join(labels), folder=folder.name, images=len(compared), **about)
    return write(served, compared, truth, folder, about, labels, quantize, card)


def noise(size: int, count: int = 200) -> np.ndarray:
    """Make random images from blurred to sharp, uint8 `(count, size, size)`, always the same ones."""
    rng = np.random.default_rng(0)
    coarse = (rng.integers(0, 256, (side, side), np.uint8) for side in rng.integers(2, size + 1, count))
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR) for image in coarse])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="a run folder made by training.train")
    source.add_argument("--keras", type=Path, help="your own .keras or .h5 file")
    add = parser.add_argument
    add("--dataset", help="its validation split is used to calibrate and blend (default: the run's dataset)")
    add("--out", type=Path, required=True, help="the checkpoint folder to write")
    add("--float32", action="store_true", help="keep float32 weights instead of int8")
    add("--keep", type=Path, help="with --run: also save the float32 model here, for fine-tuning")
    add("--labels", help="with --keras: the labels of the file's outputs, in order, separated by commas")
    add("--rescale", choices=keras_file.RESCALE, help="with --keras: how pixels were scaled in its training")
    add("--images", type=Path, nargs="*", default=[], help="with --keras: images of faces to compare on if there is "
        "no --dataset")  # fmt: skip
    args = parser.parse_args(argv)
    if args.keras and not (args.labels and args.rescale):
        parser.error("--keras needs --labels and --rescale")
    if args.keras and args.keep:
        parser.error("--keep is only for --run")
    if args.keep and args.keep.suffix != ".keras":
        parser.error(f"--keep {args.keep}: the name must end in .keras")
    return args


def _validation(dataset: str, size: int) -> Split:
    splits = load(dataset, size)
    if not len(splits.get("validation", ())):
        raise DataError(f"{dataset} has no validation images, only {', '.join(splits)}")
    return splits["validation"]


def export_run(
    run: RunFolder, dataset: str | None, folder: Path, quantize: bool = True, keep: Path | None = None
) -> dict:
    """Export a run's best epoch.

    Args:
        run: The run folder of `training.train`.
        dataset: Its validation split is used; the run's own dataset if None.
        folder: The folder to write.
        quantize: Store int8 weights rather than float32.
        keep: Also save the float32 model here.

    Returns:
        The measurements of the parity check.

    Raises:
        DataError, KerasFileError, ParityError, OSError: The message says what to change.
    """
    record = run.read()
    about = _about(record)
    model = keras_file.load(run.best)
    validation = _validation(dataset or record.get("dataset_source", ""), model.input_shape[1])
    measured = export(model, validation, folder, about, quantize)
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        as_float32(model).save(keep)
    return measured


def _about(run: dict[str, Any]) -> dict[str, Any]:
    try:
        training = {
            "phases": [{"epochs": p["epochs"], "weights": p["network"].get("weights")} for p in run["phases"]],
            **{key: run[key] for key in ("seconds", "device", "backend")},
            **{key: run.get(key) for key in ("init", "teachers")},
            "resumed": run.get("resumed", []),
        }
        return {**{key: run[key] for key in ("model", "recipe", "seed")}, "training": training}
    except KeyError as error:
        raise DataError(f"run.json has no {error}: it was written by an older training.train") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Export from the command line."""
    args = parse(argv)
    try:
        require_writable(args.out)  # before the work
        if args.keras:
            validation = (lambda size: _validation(args.dataset, size)) if args.dataset else None
            measured = export_file(
                args.keras, args.labels.split(","), args.rescale, args.out, validation, args.images, not args.float32
            )
        else:
            measured = export_run(RunFolder(args.run), args.dataset, args.out, not args.float32, args.keep)
    except (DataError, KerasFileError, ParityError, DeepFERError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for head, fitted in read_config(args.out).get("calibration", {}).items():
        print(f"{head}: {fitted['held_out_accuracy']:.1%} cross-validated accuracy after calibration")
    print(f"{args.out}: {(args.out / MODEL).stat().st_size / 1e6:.2f} MB, {measured}")
    if args.keras and not args.dataset:
        print("no --dataset: the temperature is 1, so the probabilities are the original model's", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
