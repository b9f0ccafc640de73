"""Publish a checkpoint folder as a model repo on the Hugging Face Hub, with its card, in one tagged commit.

    python -m training.publish --checkpoint FOLDER --repo user/name [--private] [--pr] [--keras FILE] [--tag v1.0.0]
    python -m training.publish --checkpoint FOLDER --repo user/name --dry-run     # show card and files, send nothing

The folder is checked before anything is sent. What is sent becomes visible in one step, or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from deepfer import __version__
from deepfer.checkpoint import CONFIG, METRICS, MODEL, encode_config, read, read_config, read_metrics, sha256
from deepfer.classifier import EmotionClassifier
from deepfer.errors import CheckpointError
from training.exceptions import PublishError
from training.hub.command_line import parser, publish
from training.hub.push import CARD, Target
from training.report.model_card import accuracy, per_class, render

KERAS = "model.keras"
STALE = ("plots/", KERAS)  # deleted from the repo if the folder no longer has them
TASK = "image-classification"
USAGE = 'EmotionRecognizer.from_pretrained("{repo}", revision="{commit}")'


def check(folder: Path) -> dict[str, Any]:
    """Check that a folder is complete and measured, and return its metrics.

    Raises:
        CheckpointError: It is not a usable checkpoint, or its metrics are missing or belong to another model file.
        PublishError: The checkpoint did not pass a parity check, or its metrics are incomplete.
    """
    EmotionClassifier(read(folder))
    config = read_config(folder)
    parity = config.get("gate")
    if not (isinstance(parity, dict) and "label_agreement" in parity):
        raise PublishError(f"{folder / CONFIG} records no parity check: make the folder with training.export")
    if not config.get("recorded_labels"):
        raise PublishError(f"{folder / CONFIG} records no predicted labels: give training.export a --dataset")
    metrics = read_metrics(folder)
    splits = metrics.get("splits")
    if not isinstance(splits, dict):
        raise PublishError(f"{folder / METRICS} was not written by training.evaluate: it has no splits")
    if "validation" not in splits:
        raise PublishError(f"{folder / METRICS} lacks the validation split: measure it with training.evaluate")
    return metrics


def eval_results(metrics: Mapping[str, Any]) -> list[EvalResult]:
    """Convert the metrics to the Hub's `model-index`, by split and labels, as shares from 0 to 1."""
    found = []
    dataset, _, revision = metrics["dataset"].partition("@")
    for split, against in sorted(metrics["splits"].items()):
        fer2013 = against["fer2013"]
        measured = {"own labels": fer2013.get("head", fer2013["served"])}
        if against["ferplus"]:
            measured["FER+ majority"] = against["ferplus"]["served"]
        for labels, m in measured.items():
            for kind, name, key in (
                ("accuracy", "Accuracy", "accuracy"),
                ("f1", "Macro F1", "macro_f1"),
                ("expected_calibration_error", "Expected calibration error", "ece"),
            ):
                found.append(
                    EvalResult(
                        task_type=TASK, task_name="Facial emotion recognition",
                        dataset_type=dataset, dataset_name=f"{dataset} ({labels})", dataset_revision=revision or None,
                        dataset_config=labels, dataset_split=split,  # these two distinguish the results
                        metric_type=kind, metric_name=name, metric_value=round(m[key], 4),
                    )
                )  # fmt: skip
    return found


def model_card(folder: Path, metrics: Mapping[str, Any], repo: str) -> str:
    """Make the card for `repo`, with the results in its header.

    For a model from `training.train`, the card is rendered anew. A converted Keras file keeps the card that
    `training.export` began and its owner completed, with the owner's licence and words.
    """
    if "converted" in read_config(folder):
        own = (folder / CARD).read_text(encoding="utf-8").rstrip()
        own = own.replace(f'from_pretrained("{folder.name}")', f'from_pretrained("{repo}")')
        card = ModelCard(f"{own}\n\n## Results\n\n{accuracy(folder)}\n\n{per_class(folder)}")
    else:
        card = ModelCard(render(folder, source=repo))
    header: dict[str, Any] = {"library_name": "litert", "tags": ["facial-emotion-recognition", "litert"]}
    header |= {"datasets": [metrics["dataset"].partition("@")[0]], "metrics": ["accuracy", "f1"]}
    header |= card.data.to_dict()
    header |= {"pipeline_tag": TASK, "model_name": repo.split("/")[1], "eval_results": eval_results(metrics)}
    card.data = ModelCardData(**header)
    unused = [name for name in plots(folder) if name not in card.text]
    images = "\n".join(f"![{Path(name).stem.replace('-', ' ')}]({name})" for name in unused)
    return str(card).rstrip() + (f"\n\n## Plots\n\n{images}\n" if images else "\n")


def plots(folder: Path) -> list[str]:
    """List the plots of `training.evaluate`, as paths in the folder."""
    return sorted(f"plots/{path.name}" for path in (folder / "plots").glob("*.png"))


def model_files(folder: Path, repo: str, keras_file: Path | None = None) -> dict[str, bytes]:
    """Collect the files of a model repo, by name. Other files of the folder are not published.

    Raises:
        CheckpointError, PublishError: As `check` does.
        OSError: A file cannot be read.
    """
    metrics = check(folder)
    config = read_config(folder)
    files = {name: (folder / name).read_bytes() for name in (MODEL, METRICS, *plots(folder))}
    if keras_file:
        files[KERAS] = keras_file.read_bytes()
        if not files[KERAS].startswith(b"PK"):
            raise PublishError(f"{keras_file} is not a .keras file (a zip archive)")
        config["sha256"][KERAS] = sha256(keras_file)
    files[CONFIG] = encode_config(config)
    files[CARD] = model_card(folder, metrics, repo).encode()
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Publish a model from the command line."""
    command = parser("python -m training.publish", __doc__)
    command.add_argument("--checkpoint", type=Path, required=True, help="folder made by training.export and .evaluate")
    command.add_argument("--keras", type=Path, help=f"also publish this .keras file, as {KERAS}, for fine-tuning")
    command.add_argument("--tag", default=f"v{__version__}", help="name of the version (default: %(default)s)")
    args = command.parse_args(argv)
    try:
        files = model_files(args.checkpoint, args.repo, args.keras)
        publish(
            args, files, f"DeepFER {args.tag.removeprefix('v')}", Target(args.repo, stale=STALE, tag=args.tag), USAGE
        )
    except (CheckpointError, PublishError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
