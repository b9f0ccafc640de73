"""Our own detector network: loads a checkpoint folder as a `GridNetwork`, and decodes its output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfer.checkpoint import CONFIG, DETECTOR, EMBEDDED, FORMAT_VERSION, MODEL, config_sha256, read_config, sha256
from deepfer.errors import CheckpointError, DetectorError
from deepfer.grid_network import STRIDES, GridNetwork
from deepfer.limits import MAX_MODEL_BYTES
from deepfer.model_probe import probe

UNIT = 3.0  # in strides: the network outputs the logarithm of a box's side divided by this
CELL = 15  # numbers per cell: score logit, box centre (2), logarithms of its sides (2), landmarks (10)
TRIAL_SIDE = 64  # pixels: side of the image on which a model is tried before it is used
LARGE_TRIAL_SIDE = 768  # the same for the trial in another process: as large as a tile of a photo


@dataclass(frozen=True)
class DetectorCheckpoint:
    """A validated detector folder.

    Attributes:
        folder: The folder.
        threshold: The score from which a candidate in a photo is a face, 0 to 1.
        frame_threshold: The same for a video frame, which is searched in less detail.
    """

    folder: Path
    threshold: float
    frame_threshold: float


def read_detector(folder: Path) -> DetectorCheckpoint:
    """Read and validate a detector's checkpoint folder.

    Raises:
        DetectorError: A file or field is missing, damaged or out of range; the message says which.
    """
    try:
        config = read_config(folder)
    except CheckpointError as error:
        raise DetectorError(str(error)) from error
    if config.get("kind") != DETECTOR:
        raise DetectorError(f"{folder} is not a face detector: its {CONFIG} has no kind {DETECTOR!r}")
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise DetectorError(
            f"{folder / CONFIG}: format_version {version!r}, but this version reads {FORMAT_VERSION}: update deepfer"
        )
    thresholds, hashes = config.get("thresholds"), config.get("sha256")
    scores = [thresholds.get(name) for name in ("photo", "frame")] if isinstance(thresholds, dict) else [None]
    if not all(isinstance(score, float) and 0 < score < 1 for score in scores):
        raise DetectorError(f"{folder / CONFIG}: thresholds need 'photo' and 'frame', each between 0 and 1")
    if not isinstance(hashes, dict) or hashes.get(CONFIG) != config_sha256(config):
        raise DetectorError(f"{folder / CONFIG} was changed after it was written: its sha256 differs; export it again")
    path = folder / MODEL
    if not path.is_file():
        raise DetectorError(f"{folder} holds no {MODEL}")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise DetectorError(f"{path} is larger than {MAX_MODEL_BYTES / 1e6:g} MB")
    if sha256(path) != hashes.get(MODEL):
        raise DetectorError(f"{path} is not the file that {CONFIG} names: its sha256 differs; export it again")
    return DetectorCheckpoint(folder, *scores)


def load_network(checkpoint: DetectorCheckpoint) -> GridNetwork:
    """Load a detector's model. If it is not embedded, try it in another process first.

    Raises:
        DetectorError: The file is not a LiteRT model of a detector, or does not run.
    """
    path = checkpoint.folder / MODEL
    content = path.read_bytes()
    try:
        if checkpoint.folder.parent != EMBEDDED:
            probe(_try, content, str(path), file=path)
        return _load(content, str(path))
    except CheckpointError as error:
        raise DetectorError(str(error)) from error


def _try(content: bytes, name: str) -> None:
    """Load a model and run it on a large image, which may crash where a small one does not.

    Raises:
        CheckpointError: It cannot be loaded or run, or its output has the wrong form.
    """
    network = _load(content, name)
    try:
        network.detect(np.zeros((LARGE_TRIAL_SIDE, LARGE_TRIAL_SIDE, 3), np.uint8), 0.5)
    except (MemoryError, DetectorError) as error:
        raise CheckpointError(f"{name} does not run on large images: {error}") from error


def _load(content: bytes, name: str) -> GridNetwork:
    """Load a model and run it once.

    Raises:
        CheckpointError: It cannot be loaded or run, or its output has the wrong form.
    """
    try:
        network = GridNetwork(content, decode)
        grids = network.grids(np.zeros((TRIAL_SIDE, TRIAL_SIDE, 3), np.uint8))
    except (ValueError, RuntimeError, TypeError, MemoryError) as error:  # LiteRT's, for a damaged or foreign file
        raise CheckpointError(f"{name} is not a LiteRT detector: {str(error).splitlines()[0]}") from error
    if [grid.shape for grid in grids] != [(TRIAL_SIDE // stride,) * 2 + (CELL,) for stride in STRIDES]:
        raise CheckpointError(f"{name} is not a LiteRT detector: its output has the wrong shape")
    if not all(np.isfinite(grid).all() for grid in grids):
        raise CheckpointError(f"{name} is damaged: its outputs are not finite")
    return network


def decode(grid: np.ndarray, stride: int, threshold: float) -> np.ndarray:
    """Turn the cells of a grid `(h, w, 15)` whose score is high enough into rows of `GridNetwork.detect`.

    A cell holds the logit of the score, the box centre in strides from the centre of the cell, the natural logarithms
    of its sides divided by three strides, and the landmarks in strides from the centre of the cell.

    Raises:
        DetectorError: The grid has the wrong form: a model may behave differently on a larger image than in its trial.
    """
    if grid.shape[2:] != (CELL,):
        raise DetectorError("the face detector's model is damaged: its output has the wrong form")
    y, x = np.nonzero(grid[..., 0] >= math.log(threshold / (1 - threshold)))
    cell, place = grid[y, x], np.stack([x, y], axis=1) + 0.5
    with np.errstate(over="ignore", invalid="ignore"):  # damaged weights overflow
        sides = UNIT * np.exp(cell[:, 3:5])
        corner = place + cell[:, 1:3] - sides / 2
        points = cell[:, 5:] + np.tile(place, 5)
        found = stride * np.concatenate([corner, sides, points], axis=1)
    return np.concatenate([found, 1 / (1 + np.exp(-cell[:, :1]))], axis=1, dtype=np.float32)
