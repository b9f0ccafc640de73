"""The model tab: which model answers here, how often it is right, what it takes for what, and what it is not for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from deepfer import LABELS, DeepFERError, EmotionRecognizer
from deepfer.checkpoint import METRICS, Checkpoint, measured
from deepfer.drawing import STYLES
from deepfer.text import format_percent, printable
from ui.image_tab import DETECTORS

PURPOSE = (
    '<div class="fer-note"><h2>What it is for, and what it is not</h2><p>It tells what a face shows, as strangers '
    "would label a picture of it; it does not tell what a person feels. Do not use it to judge, hire, grade, police or "
    "diagnose anybody. People disagree about faces, too.</p></div>"
)
SOURCE = f'<p class="fer-hint">All figures are those that came with the model, in its {METRICS}.</p>'
# Of the splits that were measured, the first of these is shown.
SPLITS = {"test": "{}'s test split", "all": "{}, all of it", "validation": "{}'s validation split"}
VOTES = "what more of the people asked saw than anything else; pictures without such an emotion are left out"
MOST_CHANGES = 24  # ways of making pictures worse, that the page shows


def model_tab(recognizer: EmotionRecognizer) -> None:
    """Add the tab to the `gr.Tabs` around it."""
    with gr.Tab("Model", id="model"):
        gr.HTML(model_html(recognizer.classifier.checkpoint, recognizer.detector_name), apply_default_css=False)


@dataclass(frozen=True)
class Figures:
    """What the page shows of a checkpoint's `metrics.json`: of the served output, on the first of `SPLITS` measured.

    Attributes:
        pictures: How many.
        source: Whose they are, in words.
        truth: What was taken for right, in words.
        accuracy: A share, as the next four.
        interval: Its 95 % bootstrap interval.
        apart: Without the pictures whose near-duplicate is in training; None where there are none.
        balanced: Mean over the emotions that occur.
        ece: Expected calibration error.
        precision: Of each emotion in the order of `LABELS`; None where no picture showed it.
        recall: Likewise.
        confusion: Counts: a row for each emotion that was right, a column for each that was said.
        changes: How pictures of the validation split were made worse, if that was tried, and the accuracy then.
        changed: How many pictures.
        unchanged: The accuracy on the same pictures as they were.
    """

    pictures: int
    source: str
    truth: str
    accuracy: float
    interval: tuple[float, float]
    apart: float | None
    balanced: float
    ece: float
    precision: Sequence[float | None]
    recall: Sequence[float | None]
    confusion: Sequence[Sequence[int]]
    changes: Mapping[str, float]
    changed: int
    unchanged: float


def figures(metrics: Mapping[str, Any]) -> Figures:
    """Take what is shown out of metrics that anyone may have written.

    Raises:
        ValueError: They have another form than `training.evaluate` gives them.
    """
    try:
        splits = metrics["splits"]
        split = next((name for name in SPLITS if name in splits), None)
        if split is None:
            raise ValueError("no split was measured")
        against = splits[split]
        by_votes = bool(against["ferplus"])
        served = against["ferplus" if by_votes else "fer2013"]["served"]
        each = [served["per_class"][label] for label in LABELS]
        low, high = served["accuracy_interval"]
        confusion = [[_count(n) for n in row] for row in served["confusion_matrix"]]
        if [len(row) for row in confusion] != [len(LABELS)] * len(LABELS):
            raise ValueError("a confusion matrix of another size")
        apart = served.get("without_near_duplicates") or {"accuracy": None}
        worse = metrics.get("robustness") or {"images": 0, "changes": {}, "accuracy": 0.0}
        changes = {
            printable(_text(name)): _share(change["strengths"][-1]["accuracy"])
            for name, change in list(worse["changes"].items())[:MOST_CHANGES]
        }
        return Figures(
            _count(served["n"]),
            SPLITS[split].format(printable(_text(metrics["dataset"]))),
            VOTES if by_votes else "the dataset's own label",
            _share(served["accuracy"]),
            (_share(low), _share(high)),
            _share_or_none(apart["accuracy"]),
            _share(served["balanced_accuracy"]),
            _share(served["ece"]),
            [_share_or_none(one["precision"]) for one in each],
            [_share_or_none(one["recall"]) for one in each],
            confusion,
            changes,
            _count(worse["images"]),
            _share(worse["accuracy"]),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a field is missing, or has another form: {error}") from error


def _share(value: Any) -> float:
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError("a share that is none")
    return float(value)


def _share_or_none(value: Any) -> float | None:
    return None if value is None else _share(value)


def _count(value: Any) -> int:
    if not (isinstance(value, int) and 0 <= value < 10**12):
        raise ValueError("a count that is none")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name that is none")
    return value[:80]


def model_html(checkpoint: Checkpoint, detector: str) -> str:
    """All that the tab shows."""
    try:
        found = figures(measured(checkpoint))
    except DeepFERError as error:
        shown = _unmeasured(str(error))
    except ValueError as error:
        shown = _unmeasured(f"its {METRICS} is not what training.evaluate writes: {error}")
    else:
        shown = headline_html(found) + emotions_html(found) + confusion_html(found) + changes_html(found) + SOURCE
    return f'<article class="fer-model">{facts_html(checkpoint, detector)}{shown}{PURPOSE}</article>'


def _unmeasured(why: str) -> str:
    return f'<p class="fer-note">How often this model is right is not known here: {escape(why)}.</p>'


def facts_html(checkpoint: Checkpoint, detector: str) -> str:
    """Which model it is."""
    size, colour = checkpoint.input_size, "gray" if checkpoint.channels == 1 else "colour"
    facts = {
        "File": f"{checkpoint.model_file.stat().st_size / 1e6:.1f} MB",
        "Input": f"{size} \N{MULTIPLICATION SIGN} {size} pixels, {colour}",
        "Detector": DETECTORS.get(detector, detector),
    }
    if checkpoint.revision:
        facts["Commit"] = checkpoint.revision[:8]
    told = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items())
    return (
        f'<section class="fer-overview"><div class="fer-bar"><h2>{escape(checkpoint.name)}</h2><dl>{told}</dl></div>'
        "</section>"
    )


def headline_html(found: Figures) -> str:
    """The three figures that tell most."""
    low, high = (f"{100 * bound:.1f}" for bound in found.interval)
    apart = "" if found.apart is None else f" Without those that training had nearly alike: {100 * found.apart:.1f} %."
    tiles = [
        (
            f"{100 * found.accuracy:.1f} %",
            f"right in {found.pictures:,} pictures of {found.source} (95 % interval: {low} to {high} %). Right is "
            f"{found.truth}.{apart}",
        ),
        (f"{100 * found.balanced:.1f} %", "right where every emotion counts the same, however rare it is."),
        (
            f"{100 * found.ece:.1f} points",
            "is how far, on average, its certainty lies from how often it is right when it is so certain.",
        ),
    ]
    shown = "".join(f"<li><strong>{figure}</strong> {escape(meaning)}</li>" for figure, meaning in tiles)
    return f'<ul class="fer-figures">{shown}</ul>'


def emotions_html(found: Figures) -> str:
    """How well each emotion is told."""
    rows = "".join(
        f'<tr style="--c: {STYLES[label].hex}"><th scope="row">{_emoji(label)} {label}</th><td>{sum(counts):,}</td>'
        f"{_bar(recall)}{_bar(precision)}</tr>"
        for label, counts, recall, precision in zip(LABELS, found.confusion, found.recall, found.precision, strict=True)
    )
    return (
        '<section><h2>Each emotion</h2><table class="fer-each" aria-label="How well each emotion is told"><thead><tr>'
        '<td></td><th scope="col">Pictures</th>'
        '<th scope="col" colspan="2">Found, of those that show it</th>'
        '<th scope="col" colspan="2">Right, of those that it calls so</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def confusion_html(found: Figures) -> str:
    """What it takes for what: each row in percent."""
    head = "".join(
        f'<th scope="col" aria-label="said {label}" title="{label}">{_emoji(label)}<span>{label}</span></th>'
        for label in LABELS
    )
    rows = ""
    for label, counts in zip(LABELS, found.confusion, strict=True):
        cells = "<td>–</td>" * len(LABELS)
        if total := sum(counts):
            cells = "".join(f'<td style="--p: {n / total:.3f}">{100 * n / total:.0f}</td>' for n in counts)
        rows += f'<tr style="--c: {STYLES[label].hex}"><th scope="row">{label}</th>{cells}</tr>'
    return (
        "<section><h2>What it takes for what</h2><p>Of the pictures that show the emotion on the left, how many "
        'percent it calls the one above.</p><table class="fer-confusion" aria-label="What it takes for what">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def changes_html(found: Figures) -> str:
    """How often it is right where pictures are worse."""
    if not found.changes:
        return ""
    rows = "".join(
        f'<tr style="--c: var(--body-text-color)"><th scope="row">{escape(name)}</th>{_bar(accuracy)}</tr>'
        for name, accuracy in {"as they are": found.unchanged, **found.changes}.items()
    )
    return (
        f"<section><h2>Worse pictures</h2><p>How often it is right when {found.changed:,} pictures of the validation "
        "split are blurred, darkened, covered, turned and so on, as strongly as was tried.</p>"
        '<table class="fer-each" aria-label="How often it is right in worse pictures">'
        '<thead><tr><td></td><th scope="col" colspan="2">Right</th></tr></thead><tbody>'
        f"{rows}</tbody></table></section>"
    )


def _emoji(label: str) -> str:
    return f'<span class="fer-emoji" aria-hidden="true">{STYLES[label].emoji}</span>'


def _bar(share: float | None) -> str:
    """Two cells: a bar and its figure; a dash where there is none."""
    if share is None:
        return '<td class="fer-track"></td><td>–</td>'
    return f'<td class="fer-track"><span style="--p: {share:.4f}"></span></td><td>{format_percent(share)}</td>'
