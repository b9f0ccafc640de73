"""Fit: trains one phase of a recipe, resumable after any epoch."""

from __future__ import annotations

import sys

import keras

from training.data.split import Split
from training.model.batches import Batches, Targets, make_targets, sample_weights
from training.model.callbacks import MONITOR, CallbackState, MeanAccuracy, TimeLeft
from training.model.models import HEADS, fuse_normalization, set_trainable
from training.model.recipes import Phase, Recipe
from training.model.run_folder import RunFolder, epochs_done


def fit_phase(
    model: keras.Model,
    splits: dict[str, Split],
    recipe: Recipe,
    index: int,
    run: RunFolder,
    seed: int,
    soft_targets: Targets | None = None,
) -> None:
    """Train phase `index` of a recipe; if it was interrupted, continue after its last finished epoch."""
    phase = recipe[index]
    first = epochs_done(run.state(index - 1)) if index else 0
    done = epochs_done(run.state(index)) or first
    set_trainable(model, phase.trainable)
    fuse_normalization(model)
    batches = Batches(splits["train"], phase, seed, done, soft_targets)
    model.compile(
        optimizer=make_optimizer(phase, len(batches)),
        loss={head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in HEADS},
        loss_weights={"fer2013": 1 - phase.ferplus_share, "ferplus": phase.ferplus_share},
        weighted_metrics={head: [keras.metrics.CategoricalAccuracy(name="accuracy")] for head in HEADS},
    )
    time_left = TimeLeft(f"phase {index + 1} of {len(recipe)}", first + sum(phase.epochs for phase in recipe[index:]))
    validation, targets = splits["validation"], make_targets(splits["validation"])
    model.fit(
        batches,
        validation_data=(validation.images[..., None], targets, sample_weights(targets)),
        validation_batch_size=256,
        initial_epoch=first,
        epochs=first + phase.epochs,
        callbacks=[time_left, *_callbacks(phase, run, index, append=done > 0)],
        verbose=1 if sys.stderr.isatty() else 2,
    )


def _callbacks(phase: Phase, run: RunFolder, index: int, append: bool) -> list[keras.callbacks.Callback]:
    """Order matters: the resumable state holds the raw weights, validation and best.keras the averaged ones."""
    state = run.state(index)
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.BackupAndRestore(state, delete_checkpoint=False, double_checkpoint=True)
    ]
    if phase.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    waiting: list[keras.callbacks.Callback] = []
    if phase.schedule == "plateau":
        waiting.append(keras.callbacks.ReduceLROnPlateau(MONITOR, mode="max", factor=0.5, patience=3, min_lr=1e-6))
    if phase.patience:
        waiting.append(keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=phase.patience))
    best = run.best_accuracy(MONITOR)
    return [
        *callbacks,
        MeanAccuracy(phase.ferplus_share),
        keras.callbacks.ModelCheckpoint(
            run.best, MONITOR, mode="max", save_best_only=True, initial_value_threshold=best
        ),
        keras.callbacks.CSVLogger(run.log, append=append),
        *waiting,
        CallbackState(state / "memory.json", waiting),
    ]


def make_optimizer(phase: Phase, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Build the phase's optimizer with its learning-rate schedule."""
    rate: object = phase.learning_rate
    steps = phase.epochs * steps_per_epoch
    if phase.schedule == "cosine":
        warmup = min(max(1, round(phase.warmup * steps_per_epoch)), steps // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            phase.learning_rate / 100,
            max(1, steps - warmup),
            warmup_target=phase.learning_rate,
            warmup_steps=warmup,
        )
    # An average over more than a tenth of the phase would still contain the initial weights.
    momentum = min(phase.ema, 1 - 10 / max(steps, 20)) if phase.ema else 0.99
    common = {"learning_rate": rate, "use_ema": phase.ema > 0, "ema_momentum": momentum}
    if phase.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=phase.weight_decay or None, **common)
    elif phase.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(weight_decay=phase.weight_decay, **common)
    else:
        optimizer = keras.optimizers.Adam(**common)
    if phase.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
