"""Image grids: faces in rows, for inspecting data. They show people, so they are never committed or published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from training.exceptions import DataError
from training.report.plots import INK, MUTED, save

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs"  # git ignores it
GAP = 4  # pixels between faces


def require_private(folder: Path) -> None:
    """Check that a folder's content cannot be committed or published with the project.

    Raises:
        DataError: The folder is in the checkout, but not under `runs/`.
    """
    path = folder.resolve()
    if path.is_relative_to(ROOT) and not path.is_relative_to(RUNS):
        raise DataError(f"{folder} would hold images of people: choose a folder under runs/, or outside of {ROOT}")


def image_grid(
    rows: Sequence[np.ndarray],
    path: Path,
    title: str,
    names: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> None:
    """Draw faces in rows.

    Args:
        rows: uint8 `(N, S, S)` each; N may differ.
        path: The PNG to write.
        title: The title.
        names: A label for each row.
        captions: A caption for each face, row by row.
    """
    side = rows[0].shape[1]
    below = side // 3 if captions else 0
    columns = max(len(row) for row in rows)
    height, width = side + below + GAP, side + GAP
    canvas = np.full((len(rows) * height, columns * width), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, face in enumerate(row):
            canvas[r * height : r * height + side, c * width : c * width + side] = face
    inch = 0.85 / side
    figure, axes = plt.subplots(figsize=(canvas.shape[1] * inch, canvas.shape[0] * inch))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    axes.set_axis_off()
    figure.suptitle(title, x=0, y=1, ha="left", va="bottom", fontsize=11, fontweight="bold", color=INK)
    figure.subplots_adjust(0, 0, 1, 1)
    for r, name in enumerate(names):
        axes.text(-GAP, r * height + side / 2, name, ha="right", va="center", color=INK)
    for r, texts in enumerate(captions):
        for c, text in enumerate(texts):
            axes.text(c * width + side / 2, r * height + side + 1, text, ha="center", va="top", fontsize=7, color=MUTED)
    save(figure, path)
