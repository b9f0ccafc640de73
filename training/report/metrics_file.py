"""Metrics file: `metrics.json`. All its figures belong to one model file and one dataset."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfer.atomic import atomic_write
from deepfer.checkpoint import MODEL, Checkpoint, read_config
from training.data.split import Split
from training.exceptions import DataError

PLOTS, ROBUSTNESS = "plots", "robustness.png"
SPLITS = ("validation", "test", "all")  # "all" is every split of a dataset joined


def describe(checkpoint: Checkpoint, dataset: str, splits: Mapping[str, Split]) -> dict[str, Any]:
    """Return the fields of `metrics.json` that identify the model and the data."""
    config = read_config(checkpoint.folder)
    return {
        "model": config.get("model", checkpoint.name),
        "recipe": config.get("recipe"),
        "dataset": dataset,
        "model_sha256": config["sha256"][MODEL],
        "split_sha256": {name: split.sha256() for name, split in splits.items()},
    }


def read(path: Path, dataset: str) -> dict[str, Any]:
    """Read `metrics.json`, or return an empty dict if there is none.

    Raises:
        DataError: The file is about a dataset with another name, or is not JSON.
        OSError: The folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
    try:
        metrics = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if metrics and metrics.get("dataset") != dataset:
        raise DataError(f"{path} is about {metrics.get('dataset')}: choose another --out for {dataset}")
    return metrics


def is_same(metrics: dict[str, Any], subject: dict[str, Any]) -> bool:
    """Return whether figures are about the same model file and data: they share splits, none of which differs."""
    before, now = metrics.get("split_sha256", {}), subject["split_sha256"]
    common = before.keys() & now.keys()
    same_data = bool(common) and all(before[name] == now[name] for name in common)
    return same_data and metrics.get("model_sha256") == subject["model_sha256"]


def update(path: Path, subject: dict[str, Any], add: dict[str, Any]) -> dict[str, Any]:
    """Merge `add` into `metrics.json`, one level deep, and remove figures and plots of another model or other data.

    Returns:
        The new content.
    """
    metrics = read(path, subject["dataset"])
    if is_same(metrics, subject):
        metrics = {**metrics, **subject, "split_sha256": {**metrics["split_sha256"], **subject["split_sha256"]}}
    else:
        metrics = {**subject, "splits": {}}
    for key, value in add.items():
        metrics[key] = {**metrics.get(key, {}), **value}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=1) + "\n")
    for plot in (path.parent / PLOTS).glob("*.png"):
        split = next((name for name in SPLITS if plot.name.startswith(f"{name}-")), None)
        if (split and split not in metrics["splits"]) or (plot.name == ROBUSTNESS and "robustness" not in metrics):
            plot.unlink()
    return metrics
