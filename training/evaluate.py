"""Evaluate a checkpoint as it is served, and write `metrics.json` and plots.

    python -m training.evaluate --checkpoint cnn --dataset PATH_OR_HUB_ID --split validation --out DIR
    python -m training.evaluate … --split validation --robustness                    # corrupted images
    python -m training.evaluate … --split validation --pipeline [--detector haar]    # after detection and alignment

Use one --out per dataset; `--split all` takes all of its images. A second call adds to an existing `metrics.json`. If
the model file, the images or the labels have changed, the figures and plots that no longer apply are removed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfer.checkpoint import METRICS, resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from deepfer.recognizer import EmotionRecognizer
from training.data import duplicates
from training.data.dataset import open_dataset
from training.data.loading import load, name_of
from training.data.split import Split, Splits, joined
from training.exceptions import DataError
from training.report import metrics_file, pipeline, plots
from training.report.corruptions import evaluate_corruptions
from training.report.evaluation import SplitEvaluation, masking_effect
from training.report.image_grid import require_private
from training.report.metrics_file import PLOTS, ROBUSTNESS, SPLITS

ALL = SPLITS[-1]
EXPLAINED = 500  # images on which the activation map is tested


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="embedded name, folder, or user/name on the Hub")
    add("--revision", help="branch, tag or commit of a checkpoint on the Hub")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    add("--split", required=True, choices=SPLITS)
    add("--out", type=Path, required=True, help="folder for metrics.json and plots/")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--mistakes", type=Path, help="folder for images of the most confident mistakes (of people)")
    mode.add_argument("--robustness", action="store_true", help="measure accuracy on corrupted images instead")
    mode.add_argument("--pipeline", action="store_true", help="measure what detection and alignment cost instead")
    add("--detector", default="auto", help="for --pipeline: as for `python -m deepfer` (default: ours)")
    args = parser.parse_args(argv)
    if args.robustness and args.split != "validation":
        parser.error("--robustness is only for --split validation: the test split must not influence any choice")
    return args


def measure_asked(classifier: EmotionClassifier, args: argparse.Namespace, splits: Splits) -> dict[str, Any]:
    """Measure what the command line asks for.

    Returns:
        What to add to `metrics.json`.

    Raises:
        DataError: The split does not exist or is empty, or cannot be measured this way.
    """
    if args.split != ALL and args.split not in splits:
        raise DataError(f"{args.dataset} has no split {args.split}, only {', '.join(splits)} (and {ALL})")
    split = joined(splits) if args.split == ALL else splits[args.split]
    if not len(split):
        raise DataError(f"{args.dataset} has no images in {args.split}")
    if args.robustness:
        return {"robustness": evaluate_corruptions(classifier, split)}
    if args.pipeline:
        return _measure_pipeline(EmotionRecognizer(classifier, load_detector(args.detector)), args, split)
    dedup_mask = None
    if args.split != ALL and "train" in splits:
        dedup_mask = duplicates.find(split.images, splits["train"].images) < 0
    evaluation = SplitEvaluation(classifier, split, dedup_mask)
    measured = evaluation.metrics()
    evaluation.plot(measured, args.out / PLOTS, args.split)
    if args.mistakes:
        evaluation.draw_mistakes(args.mistakes / f"mistakes-{args.split}.png")
    add: dict[str, Any] = {"splits": {args.split: measured}}
    if args.split == "validation":
        if splits.held_out:
            measured["held_out"] = splits.held_out
        if "activation_map" in classifier.checkpoint.outputs:
            add["explanation"] = masking_effect(classifier, split.images[:EXPLAINED])
    return add


def _measure_pipeline(recognizer: EmotionRecognizer, args: argparse.Namespace, split: Split) -> dict[str, Any]:
    own = {} if args.dataset.endswith(".npz") else open_dataset(args.dataset)
    asked = [images for name, images in own.items() if args.split in (name, ALL)]
    if asked and (measured := pipeline.evaluate_photos(recognizer, asked)):
        return {"photographs": {recognizer.detector_name: measured}}
    if args.split != "validation":
        raise DataError("--pipeline on crops is only for validation: the test split must not influence any choice")
    return {"pipeline": {recognizer.detector_name: pipeline.evaluate_crops(recognizer, split)}}


def _summary(value: Any) -> Any:
    """Leave out the long tables."""
    if not isinstance(value, dict):
        return value
    return {k: _summary(v) for k, v in value.items() if k not in ("per_class", "confusion_matrix")}


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line asks for, and return what was added to `metrics.json`.

    Raises:
        DataError, DeepFERError, ValueError, OSError: The message says what to change.
    """
    if args.mistakes:
        require_private(args.mistakes)
        args.mistakes.mkdir(parents=True, exist_ok=True)
    classifier = EmotionClassifier(resolve(args.checkpoint, args.revision))
    name = name_of(args.dataset)
    metrics_file.read(args.out / METRICS, name)  # fails early if it cannot be updated
    splits = load(args.dataset, classifier.input_size)
    subject = metrics_file.describe(classifier.checkpoint, name, splits)
    add = measure_asked(classifier, args, splits)
    metrics = metrics_file.update(args.out / METRICS, subject, add)
    if args.robustness:
        plots.robustness(metrics["robustness"], args.out / PLOTS / ROBUSTNESS)
    return add


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate from the command line."""
    args = parse(argv)
    try:
        add = evaluate(args)
    except (DataError, DeepFERError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_summary(add), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
