"""Fits the detector into a run folder: `run.json`, `log.csv`, `latest.keras`, and `last/`, which `--resume` needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deepfer.detector_network import CELL
from training.detector.compose import Composer
from training.detector.network import build_detector
from training.detector.targets import cells, loss, targets
from training.model.models import fuse_normalization

VALIDATION_BATCHES = 12  # the same composed images in every epoch


class ComposedBatches(keras.utils.PyDataset):
    """Batches of composed images; seed, epoch and index determine a batch, so a resumed run continues exactly."""

    def __init__(self, composer: Composer, batch_size: int, steps: int, seed: int, first_epoch: int = 0) -> None:
        super().__init__(workers=2, max_queue_size=6)
        self.composer, self.batch_size, self.steps, self.seed, self.epoch = (
            composer,
            batch_size,
            steps,
            seed,
            first_epoch,
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        side = self.composer.side
        images = np.empty((self.batch_size, side, side, 3), np.uint8)
        wanted = np.empty((self.batch_size, cells(side), 18), np.float32)
        for item in range(self.batch_size):
            rng = np.random.default_rng((self.seed, self.epoch, index, item))
            images[item], rows = self.composer(rng)
            wanted[item] = targets(rows, side)
        return images, wanted

    def on_epoch_end(self) -> None:
        self.epoch += 1


def trainable(detector: keras.Model) -> keras.Model:
    """The detector with its grids concatenated to `(N, cells, 15)`, as `loss` expects."""
    flat = [keras.layers.Reshape((-1, CELL), dtype="float32")(grid) for grid in detector.outputs]
    return keras.Model(detector.input, keras.layers.Concatenate(axis=1, dtype="float32")(flat))


def fit(composer: Composer, validation: Composer, out: Path, args: dict[str, Any], init: Path | None = None) -> None:
    """Train, or continue an interrupted run; saves the averaged network after each epoch as `out/latest.keras`.

    Args:
        composer: Makes the training images.
        validation: Makes the validation images, from other photos.
        out: The run folder.
        init: A detector's `.keras` file to start from.
        args: `epochs`, `steps` (batches per epoch), `batch_size`, `learning_rate` and `seed`.
    """
    keras.mixed_precision.set_global_policy("float32")  # bfloat16 makes depthwise layers slower
    keras.utils.set_random_seed(args["seed"])
    last = out / "last"
    metadata = last / "training_metadata.json"
    done = json.loads(metadata.read_text())["epoch"] if metadata.exists() else 0
    detector = build_detector()
    if init and not done:
        detector.set_weights(keras.models.load_model(init, compile=False).get_weights())
    model = trainable(detector)
    fuse_normalization(model)
    steps = args["epochs"] * args["steps"]
    warmup = min(500, steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(
        args["learning_rate"] / 50, steps - warmup, alpha=0.02, warmup_target=args["learning_rate"], warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, use_ema=True, ema_momentum=0.998, global_clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer=optimizer, loss=loss)
    unseen = ComposedBatches(validation, args["batch_size"], min(VALIDATION_BATCHES, args["steps"]), seed=1)
    images, wanted = (np.concatenate(parts) for parts in zip(*(unseen[i] for i in range(len(unseen))), strict=True))
    callbacks = [
        keras.callbacks.BackupAndRestore(last, delete_checkpoint=False, double_checkpoint=True),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        _Keep(detector, out),
        keras.callbacks.CSVLogger(out / "log.csv", append=done > 0),
    ]
    model.fit(
        ComposedBatches(composer, args["batch_size"], args["steps"], args["seed"], done),
        validation_data=(images, wanted),
        validation_batch_size=args["batch_size"],
        epochs=args["epochs"],
        callbacks=callbacks,
        verbose=2,
    )


def settle(detector: keras.Model, batches: ComposedBatches) -> None:
    """Recompute batch normalization's statistics: those from training belong to the weights before averaging."""
    model = trainable(detector)
    for index in range(len(batches)):
        model(batches[index][0].astype(np.float32), training=True)


class _Keep(keras.callbacks.Callback):
    """Saves the detector with its averaged weights after every epoch."""

    def __init__(self, detector: keras.Model, out: Path) -> None:
        super().__init__()
        self.detector, self.out = detector, out

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.detector.save(self.out / "latest.keras")
