"""Callbacks: the monitored metric, resumable callback state, and the remaining time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from training.model.run_folder import write_atomically

MONITOR = "val_mean_accuracy"


class MeanAccuracy(keras.callbacks.Callback):
    """Logs the mean validation accuracy of the trained heads, by which `best.keras` is chosen."""

    def __init__(self, ferplus_share: float) -> None:
        super().__init__()
        self.heads = [head for head, share in (("fer2013", 1 - ferplus_share), ("ferplus", ferplus_share)) if share]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs[MONITOR] = float(np.mean([logs[f"val_{head}_accuracy"] for head in self.heads]))


class CallbackState(keras.callbacks.Callback):
    """Saves the counters of other callbacks after each epoch, and restores them when a run is resumed.

    It must be the last in the list: the others reset their counters when training begins.
    """

    KEPT = ("wait", "best", "best_epoch", "cooldown_counter")

    def __init__(self, path: Path, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.path, self.callbacks = path, callbacks

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.path.exists():
            for callback, state in zip(self.callbacks, json.loads(self.path.read_text()), strict=True):
                vars(callback).update(state)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        states = [{name: vars(c)[name] for name in self.KEPT if name in vars(c)} for c in self.callbacks]
        write_atomically(self.path, json.dumps(states))


class TimeLeft(keras.callbacks.Callback):
    """Prints after each epoch of phase `name` how long the run needs until `last_epoch` if no phase ends early."""

    def __init__(self, name: str, last_epoch: int) -> None:
        super().__init__()
        self.name, self.last_epoch = name, last_epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        left = self.last_epoch - epoch - 1
        minutes = left * (time.monotonic() - self.start) / 60
        print(f"{self.name}, epoch {epoch + 1}: {left} left, about {minutes:.0f} minutes", file=sys.stderr, flush=True)
