"""The figures: learning curve, confusion matrix, ROC and reliability, in one style, without faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no display is needed, and none is opened

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_curve

from deepfer.drawing import STYLES
from deepfer.face import LABELS
from training.metrics import reliability

INK, MUTED, ACCENT = "#1f2933", "#7b8794", "#0072b2"

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


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})  # the same figure, the same bytes
    plt.close(figure)


def learning_curve(log: Path, path: Path) -> None:
    """Loss and accuracy per epoch, from a run's `log.csv`."""
    rows = np.atleast_1d(np.genfromtxt(log, delimiter=",", names=True))
    epochs = rows["epoch"] + 1
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    left.plot(epochs, rows["loss"], color=MUTED, label="training (augmented)")
    left.plot(epochs, rows["val_loss"], color=ACCENT, label="validation")
    left.set(title="Loss", xlabel="epoch")
    right.plot(epochs, 100 * rows["val_fer2013_accuracy"], color=ACCENT, label="FER2013 head")
    right.plot(epochs, 100 * rows["val_ferplus_accuracy"], color="#d55e00", label="FER+ head")
    right.set(title="Validation accuracy, %", xlabel="epoch")
    for axes in (left, right):
        axes.grid(axis="y")
        axes.legend()
    _save(figure, path)


def confusion(matrix: list[list[int]], title: str, path: Path) -> None:
    """A confusion matrix in percent of each true label, `(7, 7)` counts given."""
    counts = np.array(matrix)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(5.2, 4.6))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=45, ha="right")
    axes.set_yticks(range(len(LABELS)), [f"{label} ({n})" for label, n in zip(LABELS, counts.sum(axis=1), strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row in range(len(LABELS)):
        for column in range(len(LABELS)):
            value = share[row, column]
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", color="white" if value > 0.5 else INK
            )
    axes.set(title=title, xlabel="predicted, % of the row", ylabel="true (images)")
    _save(figure, path)


def roc(probabilities: np.ndarray, truth: np.ndarray, per_class: dict[str, Any], title: str, path: Path) -> None:
    """One-against-the-rest ROC curves, the area under each in the legend."""
    figure, axes = plt.subplots(figsize=(5.2, 4.6))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    for index, label in enumerate(LABELS):
        auc = per_class[label]["roc_auc"]
        if auc is not None:
            false_rate, true_rate, _ = roc_curve(truth == index, probabilities[:, index])
            axes.plot(false_rate, true_rate, color=STYLES[label].hex, linewidth=1.6, label=f"{label}  {auc:.3f}")
    axes.set(title=title, xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(title="area under the curve", loc="lower right")
    _save(figure, path)


def calibration(outputs: dict[str, tuple[np.ndarray, np.ndarray]], title: str, path: Path) -> None:
    """Reliability diagrams side by side: accuracy against confidence, each bar as strong as it has images.

    Args:
        title: Above them all.
        path: The file.
        outputs: Title of each diagram to its probabilities `(N, 7)` and truth `(N,)`.
    """
    figure, panels = plt.subplots(1, len(outputs), figsize=(4.6 * len(outputs), 4.2), squeeze=False)
    for axes, (name, (probabilities, truth)) in zip(panels[0], outputs.items(), strict=True):
        bins = reliability(probabilities, truth)
        largest = max(share for *_, share in bins)
        for index, (_, accuracy, share) in enumerate(bins):
            if share:
                alpha = 0.25 + 0.75 * share / largest
                axes.bar((index + 0.5) / len(bins), accuracy, 0.9 / len(bins), color=ACCENT, alpha=alpha)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
        axes.set(title=name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.suptitle(title, x=0.01, y=1.03, ha="left", fontsize=12, fontweight="bold")
    _save(figure, path)
