"""Figures: what the model tab shows of a checkpoint's `metrics.json`, which anyone may have written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepfer import LABELS
from deepfer.text import Message, printable
from ui.language import N_

# The first of these splits that was measured is shown.
SPLITS = {
    "test": N_("the test split of %(dataset)s"),
    "all": N_("the whole of %(dataset)s"),
    "validation": N_("the validation split of %(dataset)s"),
}
VOTES = N_("the emotion that most human raters chose; photos without a clear choice are left out")
OWN_LABELS = N_("the dataset's own label")
# What training.report.corruptions calls them. A model of one's own may have others, which stay as they are.
CORRUPTIONS = (
    N_("unchanged"),
    N_("blur"),
    N_("noise"),
    N_("dark"),
    N_("bright"),
    N_("low resolution"),
    N_("occlusion"),
    N_("rotation"),
    N_("shifted crop"),
    N_("loose crop"),
    N_("tight crop"),
)
MAX_CORRUPTIONS = 24  # shown on the page


@dataclass(frozen=True)
class Figures:
    """The served output's figures in a checkpoint's `metrics.json`, on the first of `SPLITS` that was measured.

    Attributes:
        images: The number of images.
        source: Where the images come from, in words that can be translated.
        truth: What the predictions are compared with, in words.
        accuracy: A share from 0 to 1, like all accuracies here.
        interval: The 95% confidence interval of the accuracy.
        deduplicated: Accuracy without images that have a near-duplicate in training; None if there are none.
        balanced: Mean recall of the emotions that occur.
        ece: Expected calibration error.
        precision: Precision of each emotion; None if it was never predicted.
        recall: Recall of each emotion; None if it does not occur.
        confusion: For each true emotion, how often each emotion was predicted, in the order of `LABELS`.
        corruptions: Accuracy on the validation split for each corruption at its strongest; empty if not measured.
        corrupted_images: Number of images that were corrupted.
    """

    images: int
    source: Message
    truth: str
    accuracy: float
    interval: tuple[float, float]
    deduplicated: float | None
    balanced: float
    ece: float
    precision: Mapping[str, float | None]
    recall: Mapping[str, float | None]
    confusion: Mapping[str, list[int]]
    corruptions: Mapping[str, float]
    corrupted_images: int

    @property
    def rarest(self) -> tuple[str, int]:
        """The emotion that the fewest images show, but at least one, and the number of these images."""
        counts = {label: sum(row) for label, row in self.confusion.items() if sum(row)}
        return min(counts.items(), key=lambda item: item[1], default=("", 0))


def read_figures(metrics: Mapping[str, Any]) -> Figures:
    """Take the figures out of untrusted metrics.

    Raises:
        ValueError: They are not in the format that `training.evaluate` writes.
    """
    try:
        split = next((name for name in SPLITS if name in metrics["splits"]), None)
        if split is None:
            raise ValueError(f"it has no split {', '.join(SPLITS)}")
        truths = metrics["splits"][split]
        by_votes = bool(truths["ferplus"])
        served = truths["ferplus" if by_votes else "fer2013"]["served"]
        low, high = served["accuracy_interval"]
        deduplicated = served.get("without_near_duplicates") or {"accuracy": None}
        robustness = metrics.get("robustness") or {"images": 0, "changes": {}, "accuracy": 0.0}
        return Figures(
            images=_count(served["n"]),
            source=Message(SPLITS[split], dataset=printable(_text(metrics["dataset"]))),
            truth=VOTES if by_votes else OWN_LABELS,
            accuracy=_share(served["accuracy"]),
            interval=(_share(low), _share(high)),
            deduplicated=_share_or_none(deduplicated["accuracy"]),
            balanced=_share(served["balanced_accuracy"]),
            ece=_share(served["ece"]),
            precision={label: _share_or_none(served["per_class"][label]["precision"]) for label in LABELS},
            recall={label: _share_or_none(served["per_class"][label]["recall"]) for label in LABELS},
            confusion=_confusion(served["confusion_matrix"]),
            corruptions=_corruptions(robustness),
            corrupted_images=_count(robustness["images"]),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a field is missing or malformed ({error})") from error


def _confusion(matrix: Any) -> dict[str, list[int]]:
    rows = [[_count(value) for value in row] for row in matrix]
    if [len(row) for row in rows] != [len(LABELS)] * len(LABELS):
        raise ValueError(f"the confusion matrix is not {len(LABELS)}x{len(LABELS)}")
    return dict(zip(LABELS, rows, strict=True))


def _corruptions(robustness: Mapping[str, Any]) -> dict[str, float]:
    """The accuracy for each corruption at its strongest; first comes the accuracy on unchanged images."""
    unchanged = _share(robustness["accuracy"])
    strongest = {
        printable(_text(name)): _share(change["strengths"][-1]["accuracy"])
        for name, change in list(robustness["changes"].items())[:MAX_CORRUPTIONS]
    }
    return {CORRUPTIONS[0]: unchanged, **strongest} if strongest else {}


def _share(value: Any) -> float:
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError("expected a share from 0 to 1")
    return float(value)


def _share_or_none(value: Any) -> float | None:
    return None if value is None else _share(value)


def _count(value: Any) -> int:
    if not (isinstance(value, int) and 0 <= value < 10**12):
        raise ValueError("expected a count")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a name")
    return value[:80]
