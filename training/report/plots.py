"""Plots: learning curve, confusion matrix, ROC, reliability and robustness, in one style. They show no faces."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files and needs no display

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_curve

from deepfer.drawing import STYLES
from deepfer.face import LABELS
from training.report.metrics import reliability

INK, MUTED, ACCENT = "#1f2933", "#7b8794", "#0072b2"
SHADES = ("#9ecae1", "#4292c6", "#08519c")  # mild, strong, stronger

plt.rcParams.update(
    {
        "figure.dpi": 120,
        "font.size": 10,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": "#e4e7eb",
        "legend.frameon": False,
    }
)


def save(figure: Any, path: Path) -> None:
    """Write a figure and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})  # makes the bytes reproducible
    plt.close(figure)


def learning_curve(log: Path, path: Path) -> None:
    """Plot loss and accuracy per epoch, from a run's `log.csv`."""
    rows = np.atleast_1d(np.genfromtxt(log, delimiter=",", names=True))
    epochs = rows["epoch"] + 1
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    left.plot(epochs, rows["loss"], color=MUTED, label="training (augmented)")
    left.plot(epochs, rows["val_loss"], color=ACCENT, label="validation")
    left.set(title="Loss", xlabel="epoch")
    for head, name, color in (("fer2013", "FER2013 head", ACCENT), ("ferplus", "FER+ head", "#d55e00")):
        if rows[f"val_{head}_accuracy"].any():  # without votes, only one head is trained
            right.plot(epochs, 100 * rows[f"val_{head}_accuracy"], color=color, label=name)
    right.set(title="Validation accuracy, %", xlabel="epoch")
    for axes in (left, right):
        axes.grid(axis="y")
        axes.legend()
    save(figure, path)


def confusion(
    matrix: list[list[int]],
    title: str,
    path: Path,
    *,
    columns: Sequence[str] = LABELS,
    across: str = "predicted, % of the row",
    down: str = "true (images)",
) -> None:
    """Plot a confusion matrix in percent of each row, from counts `(7, len(columns))`."""
    counts = np.array(matrix)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(5.2 + 0.6 * (len(columns) - len(LABELS)), 4.6))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(LABELS)), [f"{label} ({n})" for label, n in zip(LABELS, counts.sum(axis=1), strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.5 else INK if value >= 0.005 else MUTED
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour)
    axes.set(title=title, xlabel=across, ylabel=down)
    save(figure, path)


def distribution(counts: dict[str, np.ndarray], path: Path) -> None:
    """Plot the share of each label in each split, from counts `(7,)` by split."""
    figure, panels = plt.subplots(1, len(counts), figsize=(1.2 + 2.6 * len(counts), 2.9), sharex=True, squeeze=False)
    for column, (axes, (name, own)) in enumerate(zip(panels[0], counts.items(), strict=True)):
        share = 100 * own / max(own.sum(), 1)
        axes.barh(range(len(LABELS)), share, 0.72, color=[STYLES[label].hex for label in LABELS])
        for row, (value, count) in enumerate(zip(share, own, strict=True)):
            axes.text(value, row, f" {count}", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(LABELS)), LABELS if column == 0 else [""] * len(LABELS))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.margins(x=0.2)
        axes.set(title=f"{name}: {own.sum()}", xlabel="%")
    save(figure, path)


def roc(probabilities: np.ndarray, truth: np.ndarray, per_class: dict[str, Any], title: str, path: Path) -> None:
    """Plot one-vs-rest ROC curves, with the area under each in the legend."""
    figure, axes = plt.subplots(figsize=(5.2, 4.6))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    for index, label in enumerate(LABELS):
        auc = per_class[label]["roc_auc"]
        if auc is not None:
            false_rate, true_rate, _ = roc_curve(truth == index, probabilities[:, index])
            axes.plot(false_rate, true_rate, color=STYLES[label].hex, linewidth=1.6, label=f"{label}  {auc:.3f}")
    axes.set(title=title, xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    if any(of["roc_auc"] is not None for of in per_class.values()):  # a single label has no curve
        axes.legend(title="area under the curve", loc="lower right")
    save(figure, path)


def calibration(outputs: dict[str, tuple[np.ndarray, np.ndarray]], title: str, path: Path) -> None:
    """Plot reliability diagrams side by side: accuracy by confidence, with darker bars for bins with more images.

    Args:
        outputs: Maps each diagram's title to its probabilities `(N, 7)` and truth `(N,)`.
        title: The title of the figure.
        path: The PNG to write.
    """
    figure, panels = plt.subplots(1, len(outputs), figsize=(4.6 * len(outputs), 4.2), squeeze=False)
    for axes, (name, (probabilities, truth)) in zip(panels[0], outputs.items(), strict=True):
        bins = reliability(probabilities, truth)
        largest = max(share for *_, share in bins)
        for index, (_, accuracy, share) in enumerate(bins):
            if share:
                alpha = 0.15 + 0.85 * share / largest
                axes.bar((index + 0.5) / len(bins), accuracy, 0.9 / len(bins), color=ACCENT, alpha=alpha)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
        axes.set(title=name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.suptitle(title, x=0.01, y=1.03, ha="left", fontsize=12, fontweight="bold")
    save(figure, path)


def robustness(measured: dict[str, Any], path: Path) -> None:
    """Plot the points of accuracy lost to each corruption, one bar per strength, darker if stronger."""
    bars = [
        (f"{name} {level['strength']:g}" if len(change["strengths"]) > 1 else name, place, level["accuracy"])
        for name, change in measured["changes"].items()
        for place, level in enumerate(change["strengths"])
    ]
    lost = [100 * (measured["accuracy"] - accuracy) for *_, accuracy in bars]
    figure, axes = plt.subplots(figsize=(6.4, 0.24 * len(bars) + 0.9))
    axes.barh(range(len(bars)), lost, 0.72, color=[SHADES[min(place, len(SHADES) - 1)] for _, place, _ in bars])
    for row, value in enumerate(lost):
        axes.text(max(value, 0), row, f" {value:.1f}", va="center", color=INK, fontsize=8)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars], fontsize=9)
    axes.invert_yaxis()
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(
        title=f"Robustness: points lost of {measured['accuracy']:.1%}",
        xlabel=f"points of accuracy lost (served, {measured['labels']}, {measured['images']} images)",
    )
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    save(figure, path)


def error_rates(groups: dict[str, list[tuple[float, float, int]]], units: dict[str, str], path: Path) -> None:
    """Plot the share of wrong answers under each condition, with standard errors.

    Args:
        groups: Condition to its groups of images: mean value, share of wrong answers, and number of images.
        units: What each condition's values mean.
        path: The PNG to write.
    """
    columns = 4
    lines = -(-len(groups) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(11, 2.9 * lines), sharey=True, squeeze=False)
    for axes in panels.flat[len(groups) :]:
        axes.set_visible(False)
    for axes, (name, rows) in zip(panels.flat, groups.items(), strict=False):
        values, wrong, counts = map(np.array, zip(*rows, strict=True))
        error = 100 * np.sqrt(wrong * (1 - wrong) / counts)
        axes.errorbar(values, 100 * wrong, error, color=ACCENT, marker="o", markersize=4, linewidth=1.4, capsize=2)
        axes.set_title(name)
        axes.set_xlabel(textwrap.fill(units[name], 34), fontsize=8)
        axes.grid(axis="y")
    for row in panels:
        row[0].set(ylabel="wrong, %", ylim=(0, None))  # the others of the figure share it
    figure.tight_layout()
    save(figure, path)
