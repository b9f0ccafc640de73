"""Make the face detector that ships with deepfer, stage by stage.

    python -m training.detector label --photos FOLDER --crops FER2013 --yunet FILE.onnx    # once: the teacher's labels
    python -m training.detector train --photos FOLDER --crops FER2013 --out runs/detector [--resume]
    python -m training.detector export --photos FOLDER --crops FER2013 --run runs/detector --out CHECKPOINT
    python -m training.detector evaluate --detector CHECKPOINT --photos FOLDER --yunet FILE.onnx

FOLDER holds `people-`, `scenes-` and `varied-train.parquet` and `-validation.parquet`, each with a column `image`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.arguments import bounded_int
from deepfer.checkpoint import METRICS, MODEL, read_config, sha256
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from deepfer.grid_network import GridNetwork
from deepfer.yunet import load_yunet
from training.data.synthetic_heads import draw_head
from training.detector import evaluate, photos
from training.detector.card import render
from training.detector.compose import Composer
from training.detector.photos import COLUMNS, LANDMARKS, Photos
from training.exceptions import DataError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CROPS = {"train": 14000, "validation": 500}  # face crops that are used
HEADS = {"train": 400, "validation": 40}  # drawn heads
HEAD_SEED = 90_000  # this seed is used for nothing else, so no benchmark draws the same heads
# Chosen on the validation photos (`python -m training.detector evaluate`), and on made images and videos.
THRESHOLDS = {"photo": 0.6, "frame": 0.6}
SETTLING_BATCHES = 50  # for the statistics of batch normalization
PARITY_PHOTOS = 40


def drawn_heads(split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Drawn heads, float32 RGBA `(256, 256, 4)`, each with the row of its face."""
    heads = []
    for number in range(HEADS[split]):
        head, (x1, y1, x2, y2), landmarks = draw_head(np.random.default_rng([HEAD_SEED, len(split), number]))
        row = np.zeros(COLUMNS, np.float32)
        row[:4] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        row[LANDMARKS] = landmarks.ravel()
        row[photos.SCORE] = 1
        heads.append((head, row))
    return heads


def load_composer(folder: Path, crops: str, labels: Path, split: str, teacher: GridNetwork | None = None) -> Composer:
    """The composer for a split's images. If a teacher is given, it labels the photos that have no labels yet.

    Raises:
        DataError: A file is missing, or photos have no labels and there is no teacher.
    """
    people, varied = (
        photos.load(folder / f"{part}-{split}.parquet", labels / f"{part}-{split}.npz", teacher, sure)
        for part, sure in (("people", photos.SURE_OF_PEOPLE), ("varied", photos.SURE))
    )
    _, scenes = photos.decode(folder / f"scenes-{split}.parquet")
    kept = labels / f"crops-{split}.npz"
    if not kept.exists():
        if teacher is None:
            raise DataError(f"{kept} is missing: run `python -m training.detector label` first")
        from training.data.loading import load

        step = np.linspace(0, 1, CROPS[split], endpoint=False)
        images = load(crops)[split].images
        labelled = photos.label_crops(images[(step * len(images)).astype(int)], teacher)
        gray = np.stack([image[..., 0] for image in labelled.images])
        np.savez(kept, images=gray, faces=np.concatenate(labelled.faces))
    with np.load(kept) as found:
        tight = Photos(
            [cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in found["images"]], list(found["faces"][:, None])
        )
    nothing = np.empty((0, COLUMNS), np.float32)
    return Composer(people, varied, Photos(scenes, [nothing] * len(scenes)), tight, drawn_heads(split))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage from the command line."""
    args = parse(argv)
    cv2.setNumThreads(1)
    stage = {"label": label, "train": train, "export": export, "evaluate": measure}[args.stage]
    try:
        stage(args)
    except (DataError, DeepFERError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.detector", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    kept = Path("runs/detector/labels")
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--photos", type=Path, required=True, help="the folder of Parquet files")
    data = argparse.ArgumentParser(add_help=False, parents=[folder])
    data.add_argument("--crops", required=True, help="FER2013: folder, Hub id or .npz made by training.data")
    data.add_argument("--labels", type=Path, default=kept, help=f"the teacher's labels (default: {kept})")
    add = stages.add_parser("label", parents=[data], help="label the photos with YuNet, once").add_argument
    add("--yunet", type=Path, required=True, help="YuNet's .onnx file")
    add = stages.add_parser("train", parents=[data], help="fit the network").add_argument
    add("--out", type=Path, required=True, help="the run folder")
    add("--epochs", type=bounded_int(1), default=36, help="default: 36")
    add("--steps", type=bounded_int(1), default=250, help="batches per epoch (default: 250)")
    add("--batch-size", type=bounded_int(1), default=32, help="default: 32")
    add("--learning-rate", type=float, default=3e-3, help="peak learning rate (default: 0.003)")
    add("--seed", type=bounded_int(0), default=0, help="seed for weights and images")
    add("--init", type=Path, help="start from this .keras file; the .json beside it is its run.json")
    add("--resume", action="store_true", help="continue the run in --out after its last finished epoch")
    add = stages.add_parser("export", parents=[data], help="write a checkpoint folder").add_argument
    add("--run", type=Path, required=True, help="the run folder")
    add("--out", type=Path, required=True, help="the checkpoint folder")
    add = stages.add_parser("evaluate", parents=[folder], help="compare it with YuNet and Haar").add_argument
    add("--detector", default="deepfer", help='a checkpoint folder (default: "deepfer", the embedded one)')
    add("--yunet", type=Path, required=True, help="YuNet's .onnx file")
    add("--out", type=Path, help=f"the detector's folder, which gets {METRICS} and its card (default: only print)")
    args = parser.parse_args(argv)
    if args.stage == "train":
        begun = (args.out / "last" / "training_metadata.json").exists()
        if begun and not args.resume:
            parser.error(f"{args.out} already holds a run: add --resume to continue it, or choose another --out")
        if args.resume and not begun:
            parser.error(f"nothing to resume in {args.out}: no epoch was finished there")
    return args


def label(args: argparse.Namespace) -> None:
    """Label all photos and crops."""
    teacher = load_yunet(args.yunet)
    for split in ("validation", "train"):
        load_composer(args.photos, args.crops, args.labels, split, teacher)
        print(f"{args.labels}: {split} is labelled", file=sys.stderr)


def train(args: argparse.Namespace) -> None:
    """Fit the network, or continue a run."""
    from training.detector.fit import fit

    settings = {name: getattr(args, name) for name in ("epochs", "steps", "batch_size", "learning_rate", "seed")}
    args.out.mkdir(parents=True, exist_ok=True)
    record = args.out / "run.json"
    earlier: list[dict[str, Any]] = []
    init = json.loads(args.init.with_suffix(".json").read_text()) if args.init else None  # how its weights were trained
    if args.resume:  # earlier epochs may have had other settings
        before = json.loads(record.read_text())
        done = json.loads((args.out / "last" / "training_metadata.json").read_text())["epoch"]
        init = before.pop("init", None) or init
        earlier = [*before.pop("resumed", []), {**before, "until_epoch": done}]
    record.write_text(json.dumps({**settings, "resumed": earlier, "init": init}, indent=2) + "\n")
    composer = load_composer(args.photos, args.crops, args.labels, "train")
    validation = load_composer(args.photos, args.crops, args.labels, "validation")
    fit(composer, validation, args.out, settings, args.init)


def export(args: argparse.Namespace) -> None:
    """Write a checkpoint folder from a run's last epoch."""
    import keras

    from training.detector.export import write
    from training.detector.fit import ComposedBatches, settle
    from training.exceptions import ParityError

    run = json.loads((args.run / "run.json").read_text())
    detector = keras.models.load_model(args.run / "latest.keras", compile=False)
    composer = load_composer(args.photos, args.crops, args.labels, "train")
    settle(detector, ComposedBatches(composer, run["batch_size"], min(SETTLING_BATCHES, run["steps"]), seed=1))
    validation = {part: photos.decode(args.photos / f"{part}-validation.parquet")[1] for part in ("people", "varied")}
    about = {"model": "detector", "run": run, "thresholds": THRESHOLDS}
    try:
        apart = write(detector, args.out, validation["varied"][:PARITY_PHOTOS], about, validation)
    except ParityError as error:
        raise DataError(str(error)) from error
    print(f"{args.out}: differs from Keras by at most {apart:.4f} in any number", file=sys.stderr)


def measure(args: argparse.Namespace) -> None:
    """Measure a detector, YuNet and Haar on the validation photos."""
    teacher = load_yunet(args.yunet)
    detectors = {
        "deepfer": load_detector(args.detector),
        "yunet": load_detector(args.yunet),
        "haar": load_detector("haar"),
    }
    measured = {name: evaluate.evaluate(detector, teacher, args.photos) for name, detector in detectors.items()}
    print(evaluate.markdown(measured))
    if args.out:
        config, model = read_config(args.out), args.out / MODEL
        metrics = {"model_sha256": sha256(model), "photos": measured}
        (args.out / METRICS).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        (args.out / "README.md").write_text(render(config, metrics, model.stat().st_size), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
