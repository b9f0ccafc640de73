"""Evaluate a checkpoint as it is served: `metrics.json` and plots.

    python -m training.evaluate --checkpoint cnn --dataset PATH_OR_HUB_ID --split validation --out DIR
    python -m training.evaluate … --split validation --pipeline --detector yunet     # through detection and alignment

A second call adds its split to the `metrics.json` that is there; a call for another model file starts it afresh.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.checkpoint import MODEL, read_config, resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from deepfer.recognizer import EmotionRecognizer
from training import plots
from training.data import DataError, Split, load
from training.metrics import measure

EXPLAINED = 500  # images over which the activation map is put to the test
PIPELINE_IMAGES = 800
PIPELINE_ANGLES = (0, 15, 30, 45)  # degrees, either way


def evaluate(classifier: EmotionClassifier, split: Split, plot_folder: Path, name: str) -> dict[str, Any]:
    """Both outputs against FER2013's labels, the served one against FER+'s majority; writes the plots of `split`."""
    served = classifier.predict(split.images)
    mirrored = classifier.predict(np.ascontiguousarray(split.images[:, :, ::-1]))
    voted = split.majority >= 0
    found: dict[str, Any] = {"fer2013": {"served": _measure(served, mirrored, split.labels)}, "ferplus": None}
    if "fer2013_logits" in classifier.checkpoint.outputs:
        head = classifier.predict(split.images, head="fer2013")
        head_mirrored = classifier.predict(np.ascontiguousarray(split.images[:, :, ::-1]), head="fer2013")
        found["fer2013"] = {"head": _measure(head, head_mirrored, split.labels), **found["fer2013"]}
        _plot(
            "FER2013 head, FER2013's labels",
            f"{name}-fer2013",
            head,
            split.labels,
            found["fer2013"]["head"],
            plot_folder,
        )
    if voted.any():
        found["ferplus"] = {"served": _measure(served[voted], mirrored[voted], split.majority[voted])}
        _plot(
            "Served, FER+'s majority", f"{name}-ferplus", served[voted], split.majority[voted],
            found["ferplus"]["served"], plot_folder,
        )  # fmt: skip
        untempered = _untempered(served[voted], classifier.checkpoint.temperature["logits"])
        plots.calibration(
            {
                f"before: temperature 1, ECE {measure(untempered, split.majority[voted])['ece']:.3f}": (
                    untempered,
                    split.majority[voted],
                ),
                f"as served, ECE {found['ferplus']['served']['ece']:.3f}": (served[voted], split.majority[voted]),
            },
            f"Calibration of the served output against FER+'s majority ({name})",
            plot_folder / f"{name}-calibration.png",
        )
    return found


def _measure(probabilities: np.ndarray, mirrored: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    both = (probabilities + mirrored).argmax(axis=1)
    return {**measure(probabilities, truth), "flip_tta": {"accuracy": float(np.mean(both == truth))}}


def _untempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    raised = np.power(probabilities.astype(np.float64), temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def _plot(title: str, stem: str, probabilities: np.ndarray, truth: np.ndarray, measured: dict, folder: Path) -> None:
    plots.confusion(
        measured["confusion_matrix"], f"{title}: {100 * measured['accuracy']:.1f} %", folder / f"{stem}-confusion.png"
    )
    plots.roc(probabilities, truth, measured["per_class"], title, folder / f"{stem}-roc.png")


def explanation(classifier: EmotionClassifier, images: np.ndarray) -> dict[str, float]:
    """Whether the activation map means something: the mean fall of the label's probability when parts are masked.

    The hottest and the coldest quarter of each uint8 `(N, S, S)` image are painted over with its mean, each in turn.
    """
    probabilities, maps = classifier.explain(images)
    label = probabilities.argmax(axis=1)
    size = images.shape[1]
    masked = {"hottest_quarter": images.copy(), "coldest_quarter": images.copy()}
    for i, image in enumerate(images):
        heat = cv2.resize(maps[i, :, :, label[i]], (size, size), interpolation=cv2.INTER_CUBIC)
        order = heat.ravel().argsort()
        quarter = len(order) // 4
        masked["coldest_quarter"][i].ravel()[order[:quarter]] = image.mean()
        masked["hottest_quarter"][i].ravel()[order[-quarter:]] = image.mean()
    rows = np.arange(len(images))
    before = probabilities[rows, label]
    return {
        "images": len(images),
        **{part: float(np.mean(before - classifier.predict(m)[rows, label])) for part, m in masked.items()},
    }


def placed(image: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """A gray `(S, S)` face in a 640x480 RGB picture: anywhere, 80 to 240 pixels wide, turned by `angle` degrees."""
    width, height = 640, 480
    coarse = rng.integers(40, 216, (6, 8)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, (height, width))
    side = float(np.exp(rng.uniform(np.log(80), np.log(240))))
    reach = side * 0.75
    centre = rng.uniform([reach, reach], [width - reach, height - reach])
    middle = (np.array(image.shape[::-1]) - 1) / 2
    matrix = cv2.getRotationMatrix2D(tuple(middle), angle, side / image.shape[0])
    matrix[:, 2] = matrix[:, 2] + centre - middle
    pasted = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.ones_like(image, np.float32), matrix, (width, height), flags=cv2.INTER_LINEAR)
    picture = picture + mask * (pasted - picture)
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def pipeline(recognizer: EmotionRecognizer, split: Split, seed: int = 0) -> dict[str, Any]:
    """What detection and alignment lose: the served output's accuracy on the original crops, and through the pipeline.

    Each image with a FER+ majority (FER2013's label where there is none) is placed into a larger picture. A face that
    is not found counts as wrong. Accuracies and losses are shares, per angle in degrees.
    """
    truth = split.majority if np.any(split.majority >= 0) else split.labels
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(truth >= 0))[:PIPELINE_IMAGES]
    on_crop = recognizer.classifier.predict(split.images[rows]).argmax(axis=1) == truth[rows]
    found: dict[str, Any] = {"images": len(rows), "accuracy_on_crop": float(on_crop.mean()), "angles": {}}
    for angle in PIPELINE_ANGLES:
        rng = np.random.default_rng((seed, angle))
        right, detected = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        for i, row in enumerate(rows):
            turn = angle * (1 if rng.random() < 0.5 else -1)
            faces = recognizer.recognize(placed(split.images[row], turn, rng))
            detected[i] = bool(faces)
            right[i] = bool(faces) and faces[0].emotion == recognizer.classifier.labels[truth[row]]
        found["angles"][str(angle)] = {
            "detected": float(detected.mean()),
            "accuracy": float(right.mean()),
            "loss": float(on_crop.mean() - right.mean()),
            "loss_where_detected": float(on_crop[detected].mean() - right[detected].mean()),
        }
    return found


def update(path: Path, classifier: EmotionClassifier, dataset: str, add: dict[str, Any]) -> None:
    """Put `add` into `metrics.json`, one level deep; figures of another model file or dataset are dropped first."""
    config = read_config(classifier.checkpoint.folder)
    head = {
        "model": config.get("model", classifier.checkpoint.name),
        "recipe": config.get("recipe"),
        "dataset": dataset,
        "model_sha256": config["sha256"][MODEL],
    }
    old = json.loads(path.read_text()) if path.exists() else {}
    metrics = {**head, "splits": {}}
    if all(old.get(key) == value for key, value in head.items()):
        metrics = old
    for key, value in add.items():
        metrics[key] = {**metrics.get(key, {}), **value}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="embedded name, folder, or user/name on the Hub")
    parser.add_argument("--revision", help="of a checkpoint on the Hub")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--split", required=True, choices=("validation", "test"))
    parser.add_argument("--out", type=Path, required=True, help="where metrics.json and plots/ go")
    parser.add_argument("--pipeline", action="store_true", help="measure what detection and alignment lose instead")
    parser.add_argument("--detector", default="auto", help="auto, yunet, haar or a YuNet .onnx file, for --pipeline")
    args = parser.parse_args(argv)
    try:
        checkpoint = resolve(args.checkpoint, args.revision)
        classifier = EmotionClassifier(checkpoint)
        splits = load(args.dataset, checkpoint.input_size)
        if args.split not in splits:
            raise DataError(f"{args.dataset} has no split {args.split}, only {', '.join(splits)}")
        split = splits[args.split]
        add: dict[str, Any]
        if args.pipeline:
            detector = load_detector(args.detector)
            add = {"pipeline": {detector.name: pipeline(EmotionRecognizer(classifier, detector), split)}}
        else:
            add = {"splits": {args.split: evaluate(classifier, split, args.out / "plots", args.split)}}
            if args.split == "validation" and "activation_map" in checkpoint.outputs:
                add["explanation"] = explanation(classifier, split.images[:EXPLAINED])
        update(args.out / "metrics.json", classifier, Path(args.dataset).stem, add)
    except (DataError, DeepFERError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_brief(add), indent=1))
    return 0


def _brief(value: Any) -> Any:
    """Without the long tables, for the eye."""
    if not isinstance(value, dict):
        return value
    return {k: _brief(v) for k, v in value.items() if k not in ("per_class", "confusion_matrix")}


if __name__ == "__main__":
    raise SystemExit(main())
