"""The table, the ratios and the chart of `peers.json`."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Any

from training.results import percent, table

CNN, FRAME = "DeepFER, CNN", "DeepFER, CNN, frame"
ONE = ("pictures", "640x480, 1 face", "ms")
BARS: tuple[tuple[str, str, str, tuple[str, ...], int], ...] = (
    # what, ours, theirs, where the figure is, how many times ours is to go into theirs
    ("frame, 640x480, 1 face", FRAME, "fer, Haar", ONE, 8),
    ("frame, 640x480, 1 face", FRAME, "fer, MTCNN", ONE, 20),
    ("photo, 640x480, 1 face", CNN, "fer, Haar", ONE, 3),
    ("classifier, 1 crop", CNN, "fer, Haar, Keras", ("classifier_ms", "1"), 50),
    ("cold start", CNN, "fer, Haar", ("cold_s",), 8),
    ("memory", CNN, "fer, Haar", ("memory_mb",), 4),
)
PANELS: tuple[tuple[str, tuple[str, ...], float, str], ...] = (  # title, where the figure is, factor, format
    ("640x480 picture with a face, ms", ONE, 1, ".1f"),
    ("first answer of a new process, s", ("cold_s",), 1, ".2f"),
    ("classifier, a crop on one core, ms", ("classifier_ms", "1"), 1, ".2f"),
    ("memory, MB", ("memory_mb",), 1, ".0f"),
    ("installed, MB", ("installed_mb",), 1, ".0f"),
    ("FER2013 test accuracy, %", ("fer2013", "first", "accuracy"), 100, ".1f"),
)
REASON = 160  # letters of a reason that a table's cell holds


def figure(contender: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """A figure of a contender; None where it was not measured. "first" is the first of what there is."""
    found: Any = contender
    for name in path:
        if not isinstance(found, dict):
            return None
        found = next(iter(found.values()), None) if name == "first" else found.get(name)
    return found


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def markdown(result: dict[str, Any]) -> str:
    """What each contender costs and knows, how fast it is with whole pictures, and how far our aims are met."""
    return "\n\n".join(part for part in (costs(result), pipelines(result), bars(result), notes(result)) if part)


def costs(result: dict[str, Any]) -> str:
    """A row for each contender; of those that could not be measured, it says why not."""
    rows = []
    for c in result["contenders"]:
        title = c["title"]
        if c["why_not"]:
            title += f": not measured: {shorten(c['why_not'], REASON, placeholder=' …')}".replace("|", "/")
        rows.append(
            (
                title, shown(c.get("installed_mb"), ".0f"), shown(c.get("cold_s"), ".2f"),
                shown(c.get("memory_mb"), ".0f"), shown(figure(c, ("classifier_ms", "1")), ".2f"),
                shown(figure(c, ("classifier_ms", "32")), ".1f"),
                percent(figure(c, ("fer2013", "first", "accuracy"))),
                percent(figure(c, ("fer2013", "first", "balanced_accuracy"))),
                shown(figure(c, ("fer2013", "first", "ece")), ".3f"),
            )
        )  # fmt: skip
    head = (
        "Contender", "installed MB", "cold start s", "memory MB", "classifier, 1 crop ms", "32 crops ms",
        "FER2013 accuracy %", "balanced %", "ECE",
    )  # fmt: skip
    return table(head, rows)


def pipelines(result: dict[str, Any]) -> str:
    """A row for each contender with a detector: milliseconds for whole pictures, faces per second over a folder."""
    finders = [c for c in result["contenders"] if c.get("pictures")]
    names = list(dict.fromkeys(name for c in finders for name in c["pictures"]))
    rows = []
    for c in finders:
        cells = []
        for name in names:
            found = c["pictures"].get(name)
            missed = f" ({found['found']} found)" if found and found["found"] != found["faces"] else ""
            cells.append(shown(found and found["ms"], ".1f") + missed)
        folder = c.get("folder")
        said = f"{folder['found'] / folder['seconds']:.1f} ({folder['found']} found)" if folder else "–"
        rows.append((f"{c['title']} ({c['detector']})", *cells, said))
    return table(("Whole pictures, ms", *names, "folder, faces/s"), rows) if rows else ""


def notes(result: dict[str, Any]) -> str:
    """What the table's columns are."""
    folder = next((c["folder"] for c in result["contenders"] if c.get("folder")), None)
    served = {
        c["title"]: c["fer2013"]["served"]
        for c in result["contenders"]
        if c["ours"] and "fer2013" in c.get("fer2013", {})
    }
    told = [
        f"{result['processor']}; Python {result['python']}; medians over {result['turns']} turns, small "
        f"pictures {result['in_a_row']} times at each. Cold start: a new "
        "process up to its first answer, and the most memory until then. The classifier runs on one core, all else as "
        "each library is by default."
    ]
    if versions := dict.fromkeys(c["version"] for c in result["contenders"] if "version" in c):
        told.append(f"{', '.join(versions)}, each in an environment of its own.")
    if folder:
        told.append(
            f"The folder holds {folder['pictures']} pictures of 1 MP with {folder['faces']} faces; DeepFER's time is "
            "its command's, start included."
        )
    if served:
        told.append("DeepFER's accuracy is its FER2013 head's, as the others know FER2013's labels alone.")
        for model, m in {title.split(", ")[1]: m for title, m in served.items()}.items():
            told.append(
                f"{model}'s served output: {percent(m['accuracy'])} %, {percent(m['balanced_accuracy'])} %, "
                f"ECE {m['ece']:.3f}."
            )
    return " ".join(told)


def bars(result: dict[str, Any]) -> str:
    """What we aim at, and the ratios in this run; nothing where nothing can be compared."""
    by_title = {c["title"]: c for c in result["contenders"]}
    rows = []
    for what, ours, theirs, path, aim in BARS:
        if ours not in by_title or theirs not in by_title:
            continue
        own, other = figure(by_title[ours], path), figure(by_title[theirs], path)
        if own and other:
            rows.append((what, ours, theirs, f"{other / own:.1f}x", f"{aim}x"))
    return table(("Smaller or faster", "ours", "against", "by", "aim"), rows) if rows else ""


def chart(result: dict[str, Any], path: Path) -> None:
    """Bars side by side: ours in one colour, the others in another."""
    from training.report import plots
    from training.report.plots import plt

    there = [c for c in result["contenders"] if any(figure(c, place) is not None for _, place, *_ in PANELS)]
    drawn, axes_of = plt.subplots(2, 3, figsize=(11, 1.6 + 0.44 * len(there)), squeeze=False)
    for (title, place, factor, form), axes in zip(PANELS, axes_of.flat, strict=True):
        values = [figure(c, place) for c in there]
        lengths = [0.0 if value is None else factor * value for value in values]
        axes.barh(range(len(there)), lengths, 0.72, color=[plots.ACCENT if c["ours"] else plots.MUTED for c in there])
        for row, value in enumerate(values):
            words = "–" if value is None else f"{factor * value:{form}}"
            axes.text(lengths[row], row, f" {words}", va="center", fontsize=8, color=plots.INK)
        names = [c["title"] for c in there] if axes in axes_of[:, 0] else [""] * len(there)
        axes.set_yticks(range(len(there)), names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.18)
        axes.set_title(title, fontsize=10)
    drawn.tight_layout()
    plots.save(drawn, path)
