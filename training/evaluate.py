"""Evaluate a checkpoint as it is served: `metrics.json` and plots.

    python -m training.evaluate --checkpoint cnn --dataset PATH_OR_HUB_ID --split validation --out DIR
    python -m training.evaluate … --split validation --robustness                    # pictures made worse
    python -m training.evaluate … --split validation --pipeline [--detector haar]    # through detection and alignment

Another dataset than the one trained on needs an --out of its own; `--split all` takes all of its pictures. A second
call adds to the `metrics.json` that is there. A call for another model file, or for other pictures or labels under the
same name, removes the figures and plots that it no longer describes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.checkpoint import METRICS, MODEL, read_config, resolve
from deepfer.classifier import HEADS, EmotionClassifier, softmax
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from deepfer.face import LABELS
from deepfer.recognizer import EmotionRecognizer
from training.data import duplicates
from training.data.dataset import LabelledImages, open_dataset
from training.data.loading import load, name_of
from training.data.split import Split, Splits, joined
from training.errors import DataError
from training.report import corruptions, plots
from training.report.image_grid import require_private, sheet
from training.report.metrics import ece, measure

ALL = "all"  # every split of a dataset as one
SPLITS = ("validation", "test", ALL)
PLOTS, ROBUSTNESS = "plots", "robustness.png"
EXPLAINED = 500  # images over which the activation map is put to the test
WORSENED = 1500  # images that are made worse
PIPELINE_IMAGES = 800
LOOKED_AT = 20  # pictures, to see whether a dataset holds photographs or crops
PIPELINE_ANGLES = (0, 15, 30, 45)  # degrees, either way
MISTAKES = (6, 10)  # rows and columns of them


def logits(classifier: EmotionClassifier, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every head's logits `(N, 7)`, on all cores: the interpreter lets go of Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(classifier.logits, np.array_split(images, 4 * (os.cpu_count() or 1))))
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def probabilities(classifier: EmotionClassifier, images: np.ndarray) -> np.ndarray:
    """What is served, `(N, 7)`, on all cores."""
    return softmax(logits(classifier, images)["served"] / classifier.checkpoint.temperature["logits"])


def evaluate(
    classifier: EmotionClassifier,
    split: Split,
    plot_folder: Path,
    name: str,
    alone: np.ndarray | None = None,
    mistakes_folder: Path | None = None,
) -> dict[str, Any]:
    """Both outputs against FER2013's labels, the served one against FER+'s majority; writes the plots of `split`.

    Args:
        classifier: What is measured.
        split: What it is measured on.
        plot_folder: Where the plots go.
        name: Of the split, for files and titles.
        alone: bool `(N,)`, the images without a near-duplicate in the training split; None where there is none.
        mistakes_folder: Where the most confident mistakes are drawn, if anywhere.
    """
    outputs = logits(classifier, split.images)
    mirrored = logits(classifier, np.ascontiguousarray(split.images[:, :, ::-1]))
    temperature = {head: classifier.checkpoint.temperature[HEADS[head]] for head in outputs}
    for old in plot_folder.glob(f"{name}-*.png"):
        old.unlink()

    def measured(head: str, truth: np.ndarray) -> dict[str, Any]:
        rows = truth >= 0
        truth = truth[rows]
        found, flipped = (softmax(of[head][rows] / temperature[head]) for of in (outputs, mirrored))
        m = {
            **measure(found, truth),
            "ece_untempered": ece(softmax(outputs[head][rows]), truth),
            "flip_tta": {"accuracy": float(np.mean((found + flipped).argmax(axis=1) == truth))},
            "without_near_duplicates": None,
        }
        if alone is not None:
            right = (found.argmax(axis=1) == truth)[alone[rows]]
            accuracy = float(right.mean()) if len(right) else None
            m["without_near_duplicates"] = {"n": len(right), "accuracy": accuracy}
        return m

    def draw(title: str, stem: str, head: str, truth: np.ndarray, m: dict[str, Any]) -> None:
        rows = truth >= 0
        plots.confusion(
            m["confusion_matrix"], f"{title}: {100 * m['accuracy']:.1f} %", plot_folder / f"{stem}-confusion.png"
        )
        found = softmax(outputs[head][rows] / temperature[head])
        plots.roc(found, truth[rows], m["per_class"], title, plot_folder / f"{stem}-roc.png")

    against_labels = {"head" if head == "fer2013" else head: measured(head, split.labels) for head in sorted(outputs)}
    found: dict[str, Any] = {"fer2013": against_labels, "ferplus": None}
    if "fer2013" in outputs:
        draw("FER2013 head, the labels", f"{name}-fer2013", "fer2013", split.labels, against_labels["head"])
    truth, truth_name = best_truth(split)
    if truth is split.ferplus_labels:
        found["ferplus"] = {"served": measured("served", truth)}
    m = (found["ferplus"] or found["fer2013"])["served"]
    draw(f"Served, {truth_name}", f"{name}-{'ferplus' if found['ferplus'] else 'served'}", "served", truth, m)
    rows = truth >= 0
    untempered, served = (softmax(outputs["served"][rows] / t) for t in (1, temperature["served"]))
    plots.calibration(
        {
            f"before: ECE {m['ece_untempered']:.3f}": (untempered, truth[rows]),
            f"as served, divided by {temperature['served']:g}: ECE {m['ece']:.3f}": (served, truth[rows]),
        },
        f"Calibration of the served output against {truth_name} ({name})",
        plot_folder / f"{name}-calibration.png",
    )
    if mistakes_folder:
        path = mistakes_folder / f"mistakes-{name}.png"
        mistakes(split.images[rows], served, truth[rows], truth_name, path)
    return found


def best_truth(split: Split) -> tuple[np.ndarray, str]:
    """What the served output is held against, `(N,)`, and its name: FER+'s majority, -1 where it is none; or labels."""
    if np.any(split.ferplus_labels >= 0):
        return split.ferplus_labels, "FER+'s majority"
    return split.labels, "the dataset's labels"


def withstand(classifier: EmotionClassifier, split: Split, seed: int = 0) -> dict[str, Any]:
    """The served output's accuracy on pictures made worse; the same pictures for each change."""
    truth, truth_name = best_truth(split)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(truth >= 0))[:WORSENED]
    images, truth = split.images[rows], truth[rows]

    def measured(images: np.ndarray) -> dict[str, float]:
        m = measure(probabilities(classifier, images), truth)
        return {key: m[key] for key in ("accuracy", "balanced_accuracy", "ece")}

    found: dict[str, Any] = {
        "images": len(rows),
        "labels": truth_name,
        **measured(images),
        "changes": {name: {"unit": c.unit, "strengths": []} for name, c in corruptions.CHANGES.items()},
    }
    for name, strength, worse in corruptions.worsened(images, seed):
        found["changes"][name]["strengths"].append({"strength": strength, **measured(worse)})
    return found


def mistakes(images: np.ndarray, served: np.ndarray, truth: np.ndarray, truth_name: str, path: Path) -> None:
    """Draw the most confident mistakes among the served probabilities `(N, 7)`."""
    said, confidence = served.argmax(axis=1), served.max(axis=1)
    wrong = np.flatnonzero(said != truth)
    wrong = wrong[np.argsort(-confidence[wrong])][: MISTAKES[0] * MISTAKES[1]]
    if not len(wrong):
        return
    lines = np.array_split(wrong, range(MISTAKES[1], len(wrong), MISTAKES[1]))
    sheet(
        [images[line] for line in lines],
        path,
        f"The most confident mistakes: answer and confidence; below, {truth_name}",
        captions=[
            [f"{LABELS[said[i]]} {100 * confidence[i]:.0f} %\n{LABELS[truth[i]]}" for i in line] for line in lines
        ],
    )


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
    truth, _ = best_truth(split)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(truth >= 0))[:PIPELINE_IMAGES]
    on_crop = probabilities(recognizer.classifier, split.images[rows]).argmax(axis=1) == truth[rows]
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
            "loss_where_detected": float(on_crop[detected].mean() - right[detected].mean()) if detected.any() else None,
        }
    return found


def photographs(
    recognizer: EmotionRecognizer, pictures: Sequence[LabelledImages], seed: int = 0
) -> dict[str, Any] | None:
    """The served output on a dataset's own pictures: as they are, and through detection and alignment.

    Of several faces the largest counts; a face that is not found counts as wrong. None where the pictures are too small
    to be searched: crops, that is.
    """
    every = [(of, row) for of in pictures for row in range(len(of))]
    chosen = [every[i] for i in np.random.default_rng(seed).permutation(len(every))[:PIPELINE_IMAGES]]
    classifier = recognizer.classifier
    truth = np.array([of.labels[row] for of, row in chosen])
    as_they_are, detected, right = (np.zeros(len(chosen), bool) for _ in range(3))
    if np.median([min(of.read(row).shape[:2]) for of, row in chosen[:LOOKED_AT]]) < 2 * classifier.input_size:
        return None
    for i, (of, row) in enumerate(chosen):  # one by one: photographs are large
        image = of.read(row)
        as_they_are[i] = classifier.predict(image[None])[0].argmax() == truth[i]
        faces = recognizer.recognize(image)
        detected[i] = bool(faces)
        right[i] = bool(faces) and faces[0].emotion == LABELS[truth[i]]
    return {
        "images": len(chosen),
        "accuracy_as_they_are": float(as_they_are.mean()),
        "detected": float(detected.mean()),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
        "accuracy_where_detected": float(right[detected].mean()) if detected.any() else None,
    }


def about(classifier: EmotionClassifier, dataset: str, splits: Mapping[str, Split]) -> dict[str, Any]:
    """What `metrics.json` says of the model and the data that its figures belong to."""
    config = read_config(classifier.checkpoint.folder)
    return {
        "model": config.get("model", classifier.checkpoint.name),
        "recipe": config.get("recipe"),
        "dataset": dataset,
        "model_sha256": config["sha256"][MODEL],
        "split_sha256": {name: split.sha256() for name, split in splits.items()},
    }


def held(path: Path, dataset: str) -> dict[str, Any]:
    """The `metrics.json` that is there; empty where there is none.

    Raises:
        DataError: It holds figures of a dataset of another name, or is no JSON.
        OSError: Nothing can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
    try:
        old = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if old and old.get("dataset") != dataset:
        raise DataError(f"{path} holds figures of {old.get('dataset')}: give another --out for {dataset}")
    return old


def is_of(metrics: dict[str, Any], head: dict[str, Any]) -> bool:
    """Whether figures are of the same model file and data: one split in common, and no fingerprint that differs."""
    before, now = metrics.get("split_sha256", {}), head["split_sha256"]
    common = before.keys() & now.keys()
    same_data = bool(common) and all(before[name] == now[name] for name in common)
    return same_data and metrics.get("model_sha256") == head["model_sha256"]


def update(path: Path, head: dict[str, Any], add: dict[str, Any]) -> dict[str, Any]:
    """Put `add` into `metrics.json`, one level deep; figures and plots of another model or other data are removed.

    Returns:
        What it holds then.
    """
    metrics = held(path, head["dataset"])
    if is_of(metrics, head):
        metrics = {**metrics, **head, "split_sha256": {**metrics["split_sha256"], **head["split_sha256"]}}
    else:
        metrics = {**head, "splits": {}}
    for key, value in add.items():
        metrics[key] = {**metrics.get(key, {}), **value}
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(metrics, indent=1) + "\n")
    aside.replace(path)
    for plot in (path.parent / PLOTS).glob("*.png"):
        split = next((name for name in SPLITS if plot.name.startswith(f"{name}-")), None)
        if (split and split not in metrics["splits"]) or (plot.name == ROBUSTNESS and "robustness" not in metrics):
            plot.unlink()
    return metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="embedded name, folder, or user/name on the Hub")
    parser.add_argument("--revision", help="of a checkpoint on the Hub")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--out", type=Path, required=True, help="where metrics.json and plots/ go")
    instead = parser.add_mutually_exclusive_group()  # the mistakes are of the plain evaluation
    instead.add_argument("--mistakes", type=Path, help="a folder for the most confident mistakes (they show people)")
    instead.add_argument("--robustness", action="store_true", help="measure what worse pictures cost instead")
    instead.add_argument("--pipeline", action="store_true", help="measure what detection and alignment lose instead")
    parser.add_argument(
        "--detector", default="auto", help="for --pipeline: as for `python -m deepfer` (default: our own)"
    )
    args = parser.parse_args(argv)
    if args.robustness and args.split != "validation":
        parser.error("--robustness is measured on validation: it is for choosing, and test is for none of that")
    try:
        if args.mistakes:
            require_private(args.mistakes)
            args.mistakes.mkdir(parents=True, exist_ok=True)
        checkpoint = resolve(args.checkpoint, args.revision)
        classifier = EmotionClassifier(checkpoint)
        name = name_of(args.dataset)
        held(args.out / METRICS, name)  # to refuse before the minutes are spent
        splits = load(args.dataset, classifier.input_size)
        head = about(classifier, name, splits)
        add = measure_asked(classifier, args, splits)
        metrics = update(args.out / METRICS, head, add)
        if args.robustness:
            plots.robustness(metrics["robustness"], args.out / PLOTS / ROBUSTNESS)
    except (DataError, DeepFERError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_brief(add), indent=1))
    return 0


def measure_asked(classifier: EmotionClassifier, args: argparse.Namespace, splits: Splits) -> dict[str, Any]:
    """What the command line asks for, as `update` adds it."""
    if args.split != ALL and args.split not in splits:
        raise DataError(f"{args.dataset} has no split {args.split}, only {', '.join(splits)} (and {ALL})")
    split = joined(splits) if args.split == ALL else splits[args.split]
    if not len(split):
        raise DataError(f"{args.dataset} holds no images in {args.split}")
    if args.robustness:
        return {"robustness": withstand(classifier, split)}
    if args.pipeline:
        recognizer = EmotionRecognizer(classifier, load_detector(args.detector))
        own = {} if args.dataset.endswith(".npz") else open_dataset(args.dataset)
        asked = [pictures for name, pictures in own.items() if args.split in (name, ALL)]
        if asked and (own_pictures := photographs(recognizer, asked)):
            return {"photographs": {recognizer.detector_name: own_pictures}}
        if args.split != "validation":
            raise DataError("what --pipeline loses on crops is measured on validation: it is for choosing")
        return {"pipeline": {recognizer.detector_name: pipeline(recognizer, split)}}
    alone = None
    if args.split != ALL and "train" in splits:
        alone = duplicates.find(split.images, splits["train"].images) < 0
    found = evaluate(classifier, split, args.out / PLOTS, args.split, alone, args.mistakes)
    if args.split == "validation" and splits.held_out:
        found["held_out"] = splits.held_out
    add: dict[str, Any] = {"splits": {args.split: found}}
    if args.split == "validation" and "activation_map" in classifier.checkpoint.outputs:
        add["explanation"] = explanation(classifier, split.images[:EXPLAINED])
    return add


def _brief(value: Any) -> Any:
    """Without the long tables, for the eye."""
    if not isinstance(value, dict):
        return value
    return {k: _brief(v) for k, v in value.items() if k not in ("per_class", "confusion_matrix")}


if __name__ == "__main__":
    raise SystemExit(main())
