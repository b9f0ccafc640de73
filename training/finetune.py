"""Fine-tune our CNN on your own photos: from a folder with one subfolder per emotion to a checkpoint to serve.

    python -m training.finetune --dataset MY_PHOTOS --out runs/mine

About 50 images per emotion are enough to begin with. Faces are detected and cropped as in serving; images smaller than
96 pixels are used whole, as face crops. A fifth of the images is held out to choose the best epoch and to calibrate,
and another fifth to measure the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.arguments import bounded_int
from deepfer.checkpoint import resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from training import evaluate, train
from training.convert.checkpoint_folder import GEOMETRY
from training.data.folder import divide, load_faces
from training.data.loading import pack
from training.data.split import Split, Splits
from training.exceptions import DataError, KerasFileError, ParityError
from training.export import export_run
from training.model.run_folder import RunFolder
from training.report.image_grid import require_private

BASE = "cnn"
LARGE, MEDIUM = 4000, 1000  # training images


def training_options(images: int) -> list[str]:
    """Return the options of training.train that suit a number of training images: fewer images, smaller batches."""
    if images >= LARGE:
        return []
    batch, epochs = (64, 10) if images >= MEDIUM else (16, 20)
    return ["--batch-size", str(batch), "--epochs", str(epochs)]


def prepare(dataset: Path, out: Path) -> tuple[Path, Splits]:
    """Crop the faces of a folder of class folders, and pack them into the run folder.

    Raises:
        DataError: The folder lacks emotions or images, or the run folder is in use or not private.
    """
    require_private(out)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: choose another --out")
    size = EmotionClassifier(resolve(BASE)).input_size
    faces, left_out = load_faces(dataset, load_detector("auto").detect, GEOMETRY.crop, size)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    splits = divide(faces)
    packed = out / f"{dataset.resolve().name}.npz"
    pack(splits, packed)
    return packed, splits


def finetune(dataset: Path, out: Path, options: Sequence[str] = ()) -> Path:
    """Fine-tune on a folder of class folders; `options` are passed on to training.train.

    Returns:
        The checkpoint folder, evaluated on validation and test.

    Raises:
        DataError, DeepFERError, KerasFileError, ParityError, OSError: The message says what to change.
    """
    packed, splits = prepare(dataset, out)
    print(", ".join(f"{name} {len(split)}" for name, split in splits.items()) + " images", file=sys.stderr)
    run, checkpoint = RunFolder(out / "run"), out / "checkpoint"
    start = ["--model", BASE, "--recipe", "finetune", "--init", BASE, "--dataset", str(packed), "--out", str(run.path)]
    train.train(*train.parse([*start, *training_options(len(splits["train"])), *options]))
    try:
        export_run(run, str(packed), checkpoint)
    except ParityError:  # with few images, a single label that int8 changes is already too many
        print("int8 weights change too many labels: keeping float32", file=sys.stderr)
        export_run(run, str(packed), checkpoint, quantize=False)
    for split in ("validation", "test"):
        asked = ["--checkpoint", str(checkpoint), "--dataset", str(packed), "--split", split, "--out", str(checkpoint)]
        evaluate.evaluate(evaluate.parse(asked))
    before, after = (accuracy(source, splits["test"]) for source in (BASE, str(checkpoint)))
    print(f"accuracy on the {len(splits['test'])} test images: {before:.1%} before, {after:.1%} after")
    return checkpoint


def accuracy(source: str, split: Split) -> float:
    """Return the accuracy of a checkpoint on a split."""
    return float(np.mean(EmotionClassifier(resolve(source)).predict(split.images).argmax(axis=1) == split.labels))


def main(argv: Sequence[str] | None = None) -> int:
    """Fine-tune from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, required=True, help="folder with one subfolder of images per emotion")
    parser.add_argument(
        "--out", type=Path, required=True, help="new folder for the run and the checkpoint, such as runs/mine"
    )
    parser.add_argument(
        "--epochs", type=bounded_int(1), help="passes over the training images (default: depends on how many there are)"
    )
    args = parser.parse_args(argv)
    options = ["--epochs", str(args.epochs)] if args.epochs else []
    try:
        checkpoint = finetune(args.dataset, args.out, options)
    except (DataError, DeepFERError, KerasFileError, ParityError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f'from deepfer import EmotionRecognizer\nrecognizer = EmotionRecognizer.from_pretrained("{checkpoint}")')
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
