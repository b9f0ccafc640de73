"""The tables and the chart of `peers.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.report.markdown import percent, table

CNN, FRAME = "DeepFER, CNN", "DeepFER, CNN, frame"
ONE = ("pictures", "640x480, 1 face", "ms")
RATIOS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (  # what, ours, theirs, path to the number
    ("frame, 640x480, 1 face", FRAME, "fer, Haar", ONE),
    ("frame, 640x480, 1 face", FRAME, "fer, MTCNN", ONE),
    ("photo, 640x480, 1 face", CNN, "fer, Haar", ONE),
    ("classifier, 1 crop", CNN, "fer, Haar, Keras", ("classifier_ms", "1")),
    ("cold start", CNN, "fer, Haar", ("cold_s",)),
    ("memory", CNN, "fer, Haar", ("memory_mb",)),
)
PANELS: tuple[tuple[str, tuple[str, ...], float, str], ...] = (  # title, path to the number, factor, format
    ("640x480 image with one face, ms", ONE, 1, ".1f"),
    ("cold start, s", ("cold_s",), 1, ".2f"),
    ("classifier, 1 crop on one core, ms", ("classifier_ms", "1"), 1, ".2f"),
    ("memory, MB", ("memory_mb",), 1, ".0f"),
    ("installed, MB", ("installed_mb",), 1, ".0f"),
    ("FER2013 test accuracy, %", ("fer2013", "first", "accuracy"), 100, ".1f"),
)


def figure(contender: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """A measurement of a contender; None if there is none. "first" in a path stands for the first key."""
    found: Any = contender
    for name in path:
        if not isinstance(found, dict):
            return None
        found = next(iter(found.values()), None) if name == "first" else found.get(name)
    return found


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def markdown(result: dict[str, Any]) -> str:
    """Tables: cost and accuracy of each library, its time for whole images, and its ratios to DeepFER."""
    return "\n\n".join(part for part in (costs(result), pipelines(result), ratios(result), notes(result)) if part)


def summary(result: dict[str, Any]) -> str:
    """A short table: DeepFER on photos with its CNN, and the other libraries measured."""
    named = {c["title"]: c for c in measured(result)}
    ours = next(c for title, c in named.items() if c["ours"] and "frame" not in title)
    rows = [
        (
            c["title"] if not c["ours"] else f"**DeepFER**, {c['detector'].split(',')[0]}",
            shown(c.get("installed_mb"), ".0f"), shown(c.get("cold_s"), ".2f"), shown(c.get("memory_mb"), ".0f"),
            shown(figure(c, ONE), ".0f"), percent(figure(c, ("fer2013", "first", "accuracy"))),
        )
        for c in (ours, *(c for c in named.values() if not c["ours"] and c["detector"]))
    ]  # fmt: skip
    head = (
        "Library, detector", "installed MB", "cold start s", "memory MB", "640x480 photo ms", "FER2013 test %",
    )  # fmt: skip
    older = "" if ours["detector"].startswith("its own") else " This run predates DeepFER's own detector."
    return f"{table(head, rows)}\n\n{result['processor']}; all in one run.{older}"


def measured(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The contenders that could be installed and loaded."""
    return [c for c in result["contenders"] if not c["why_not"]]


def classifier_ms(result: dict[str, Any]) -> dict[str, float]:
    """Milliseconds for one crop on one core, by the name of the embedded model."""
    ours = [c for c in measured(result) if c["ours"]]
    return {c["title"].split(", ")[1].lower(): c["classifier_ms"]["1"] for c in reversed(ours)}


def costs(result: dict[str, Any]) -> str:
    """A row for each contender measured."""
    rows = [
        (
            c["title"], shown(c.get("installed_mb"), ".0f"), shown(c.get("cold_s"), ".2f"),
            shown(c.get("memory_mb"), ".0f"), shown(figure(c, ("classifier_ms", "1")), ".2f"),
            shown(figure(c, ("classifier_ms", "32")), ".1f"),
            percent(figure(c, ("fer2013", "first", "accuracy"))),
            percent(figure(c, ("fer2013", "first", "balanced_accuracy"))),
            shown(figure(c, ("fer2013", "first", "ece")), ".3f"),
        )
        for c in measured(result)
    ]  # fmt: skip
    head = (
        "Library, setting", "installed MB", "cold start s", "memory MB", "classifier, 1 crop ms", "32 crops ms",
        "FER2013 accuracy %", "balanced %", "ECE",
    )  # fmt: skip
    return table(head, rows)


def pipelines(result: dict[str, Any]) -> str:
    """A row for each contender with a detector: milliseconds for whole images, faces per second over a folder."""
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
        rate = f"{folder['found'] / folder['seconds']:.1f} ({folder['found']} found)" if folder else "–"
        rows.append((f"{c['title']} ({c['detector']})", *cells, rate))
    return table(("Whole images, ms", *names, "folder, faces/s"), rows) if rows else ""


def ratios(result: dict[str, Any]) -> str:
    """How many times smaller or faster DeepFER is; "" if nothing can be compared."""
    by_title = {c["title"]: c for c in result["contenders"]}
    rows = []
    for what, ours, theirs, path in RATIOS:
        if ours not in by_title or theirs not in by_title:
            continue
        own, other = figure(by_title[ours], path), figure(by_title[theirs], path)
        if own and other:
            rows.append((what, ours, theirs, f"{other / own:.1f}x"))
    return table(("Ratio", "DeepFER", "other", "other / DeepFER"), rows, text_columns=3) if rows else ""


def notes(result: dict[str, Any]) -> str:
    """What the columns mean, and which libraries were not measured."""
    folder = next((c["folder"] for c in result["contenders"] if c.get("folder")), None)
    served = {
        c["title"]: c["fer2013"]["served"]
        for c in result["contenders"]
        if c["ours"] and "fer2013" in c.get("fer2013", {})
    }
    lines = [
        f"{result['processor']}; Python {result['python']}. Medians over {result['turns']} rounds, with small images "
        f"measured {result['in_a_row']} times in each. Cold start is the time from starting a process to its first "
        "answer; memory is its peak until then. The classifier runs on one core, everything else with each library's "
        "defaults."
    ]
    if versions := dict.fromkeys(c["version"] for c in result["contenders"] if "version" in c):
        lines.append(f"Versions: {', '.join(versions)}, each in its own environment.")
    if folder:
        lines.append(
            f"The folder holds {folder['pictures']} images of 1 MP with {folder['faces']} faces; DeepFER's time is "
            "that of its command, including start-up."
        )
    if served:
        lines.append("DeepFER's accuracy is that of its FER2013 head: the other libraries know only those labels.")
        for model, m in {title.split(", ")[1]: m for title, m in served.items()}.items():
            lines.append(
                f"{model}'s served output: {percent(m['accuracy'])}%, balanced {percent(m['balanced_accuracy'])}%, "
                f"ECE {m['ece']:.3f}."
            )
    if missing := ", ".join(c["title"] for c in result["contenders"] if c["why_not"]):
        lines.append(f"Not measured, because loading failed: {missing} (`benchmarks/peers.json` has the errors).")
    return " ".join(lines)


def chart(result: dict[str, Any], path: Path) -> None:
    """Bar charts, with DeepFER in one colour and the others in another."""
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
