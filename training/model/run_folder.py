"""Run folder: the files of one training run, and what it takes to resume it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepfer.atomic import atomic_write
from training.data.split import Split
from training.exceptions import DataError
from training.model.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        path: The folder: `run.json` (settings, data and versions), `log.csv` (one row per epoch), `best.keras` (the
            epoch with the best validation accuracy), `last/phase-N` (resumable state of each phase), `curve.png`.
    """

    path: Path

    @property
    def best(self) -> Path:
        """The best epoch so far."""
        return self.path / "best.keras"

    @property
    def log(self) -> Path:
        """The metrics of each epoch."""
        return self.path / "log.csv"

    @property
    def record(self) -> Path:
        """The settings, data and versions of the run."""
        return self.path / "run.json"

    def state(self, phase: int) -> Path:
        """The folder with a phase's last epoch and optimizer; phases count from 0."""
        return self.path / "last" / f"phase-{phase + 1}"

    def saved_states(self) -> list[Path]:
        """The folders of all phases that finished an epoch, the latest last."""
        saved = self.path.glob("last/*/training_metadata.json")
        return [path.parent for path in sorted(saved, key=lambda path: path.stat().st_mtime)]

    def has_ended(self, phase: int) -> bool:
        """Whether a phase ran to its end."""
        return (self.state(phase) / "ended").exists()

    def mark_ended(self, phase: int) -> None:
        """Record that a phase ran to its end."""
        write_atomically(self.state(phase) / "ended", "")

    def best_accuracy(self, monitor: str) -> float | None:
        """The best value of a metric so far; None before the first epoch."""
        if not self.log.exists():
            return None
        rows = np.genfromtxt(self.log, delimiter=",", names=True)
        return float(np.max(rows[monitor])) if rows.size else None

    def read(self) -> dict[str, Any]:
        """Read `run.json`."""
        return json.loads(self.record.read_text())

    def write(self, run: dict[str, Any]) -> None:
        """Write `run.json`."""
        write_atomically(self.record, json.dumps(run, indent=2) + "\n")

    def resume(self, run: dict[str, Any]) -> None:
        """Carry the elapsed time and the history of an interrupted run over into `run`.

        Raises:
            DataError: The earlier run had other settings or data.
        """
        before, last = self.read(), self.saved_states()[-1]
        require_same(before, run)
        # A killed process did not record its time: it ran from its start, when run.json was written, to its last epoch.
        ran = (last / "training_metadata.json").stat().st_mtime - self.record.stat().st_mtime
        run["seconds"] = before["seconds"] + max(0.0, ran)
        run["resumed"] = [*before["resumed"], {"from_epoch": epochs_done(last), "phases": before["phases"]}]


def epochs_done(state: Path) -> int:
    """Return how many epochs of the run were finished when the state was saved; 0 if there is none."""
    path = state / "training_metadata.json"
    return json.loads(path.read_text())["epoch"] if path.exists() else 0


def require_same(before: dict[str, Any], run: dict[str, Any]) -> None:
    """Check that a run may be resumed with these settings. Epochs, rates and augmentation may differ.

    Raises:
        DataError: The network, recipe, seed, initial weights, soft targets or data differ.
    """

    def identity(about: dict[str, Any]) -> dict[str, Any]:
        networks = [{k: v for k, v in phase["network"].items() if k != "weights"} for phase in about["phases"]]
        kept = {key: about.get(key) for key in ("model", "recipe", "seed", "data_sha256")}
        files = {key: (about.get(key) or {}).get("sha256") for key in ("init", "teachers")}
        return kept | files | {"network": networks}

    asked = identity(json.loads(json.dumps(run)))  # as run.json would hold it
    for key, value in identity(before).items():
        if value != asked[key]:
            raise DataError(f"cannot resume: the run's {key} is {value}, not {asked[key]}; choose another --out")


def phase_records(recipe: Recipe) -> list[dict[str, Any]]:
    """Convert a recipe to what `run.json` holds."""
    records = [dataclasses.asdict(phase) for phase in recipe]
    return [{"balance" if key == "class_weight_power" else key: v for key, v in r.items()} for r in records]


def fingerprint(splits: dict[str, Split]) -> str:
    """Return a SHA-256 over all images and labels."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        for array in vars(splits[name]).values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a killed process leaves the old or the new content, never part of it."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
