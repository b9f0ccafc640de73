"""Fit a network and leave a run folder.

    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/cnn
    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/smoke --recipe smoke    # a minute

The run folder holds `run.json` (what was asked for, on what, with what), `log.csv` (an epoch a row), `best.keras` (the
epoch with the best validation), `last/` (everything that `--resume` needs) and `curve.png`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfer.face import LABELS
from training.data import DataError, Split, load
from training.recipes import RECIPES, Recipe

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.models import build_cnn

BUILDERS = {"cnn": build_cnn}
MONITOR = "val_mean_accuracy"


class Batches(keras.utils.PyDataset):
    """A split in shuffled, augmented batches; the same for the same seed and epoch, whether resumed or not."""

    def __init__(self, split: Split, recipe: Recipe, seed: int, first_epoch: int = 0) -> None:
        super().__init__(workers=1, max_queue_size=8)
        self.split, self.recipe, self.seed, self.epoch = split, recipe, seed, first_epoch

    def __len__(self) -> int:
        return len(self.split) // self.recipe.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.split))
        rows = order[index * self.recipe.batch_size :][: self.recipe.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images = self.recipe.augmentation(self.split.images[rows], rng)
        return images[..., None], *targets(self.split.take(rows), self.recipe.label_smoothing)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def targets(split: Split, smoothing: float = 0.0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What each head should say, `(N, 7)`, and how much each image counts for it, `(N,)`."""
    onehot = np.eye(len(LABELS), dtype=np.float32)[split.labels]
    voted = split.votes.sum(axis=1)
    return (
        {"fer2013": onehot * (1 - smoothing) + smoothing / len(LABELS), "ferplus": split.votes},
        {"fer2013": np.ones(len(split), np.float32), "ferplus": (voted > 0).astype(np.float32)},
    )


class MeanAccuracy(keras.callbacks.Callback):
    """Logs the mean validation accuracy of the heads that are trained: what `best.keras` is chosen by."""

    def __init__(self, ferplus_share: float) -> None:
        super().__init__()
        self.heads = [head for head, share in (("fer2013", 1 - ferplus_share), ("ferplus", ferplus_share)) if share]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs[MONITOR] = float(np.mean([logs[f"val_{head}_accuracy"] for head in self.heads]))


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule."""
    rate: object = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = max(1, round(recipe.warmup * steps_per_epoch))
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate / 100,
            max(1, recipe.epochs * steps_per_epoch - warmup),
            warmup_target=recipe.learning_rate,
            warmup_steps=warmup,
        )
    common = {"learning_rate": rate, "use_ema": recipe.ema > 0, "ema_momentum": recipe.ema or 0.99}
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None, **common
        )
    elif recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **common)
    else:
        optimizer = keras.optimizers.Adam(**common)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def fit(model_name: str, splits: dict[str, Split], recipe: Recipe, out: Path, seed: int, resume: bool) -> keras.Model:
    """Train, keeping the best epoch as `out/best.keras` and the last one, with its optimizer, under `out/last`."""
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    model = BUILDERS[model_name](**recipe.network)
    train, validation = splits["train"], splits["validation"]
    done = json.loads((out / "last" / "training_metadata.json").read_text())["epoch"] if resume else 0
    batches = Batches(train, recipe, seed, first_epoch=done)
    model.compile(
        optimizer=make_optimizer(recipe, len(batches)),
        loss={head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in ("fer2013", "ferplus")},
        loss_weights={"fer2013": 1 - recipe.ferplus_share, "ferplus": recipe.ferplus_share},
        weighted_metrics={
            head: [keras.metrics.CategoricalAccuracy(name="accuracy")] for head in ("fer2013", "ferplus")
        },
    )
    # Order matters: the resumable state holds the raw weights, validation and best.keras the averaged ones.
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.BackupAndRestore(out / "last", delete_checkpoint=False, double_checkpoint=True)
    ]
    if recipe.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks += [
        MeanAccuracy(recipe.ferplus_share),
        keras.callbacks.ModelCheckpoint(
            out / "best.keras",
            MONITOR,
            mode="max",
            save_best_only=True,
            initial_value_threshold=_best_so_far(out, resume),
        ),
        keras.callbacks.CSVLogger(out / "log.csv", append=resume),
    ]
    if recipe.schedule == "plateau":
        callbacks.append(keras.callbacks.ReduceLROnPlateau(MONITOR, mode="max", factor=0.5, patience=3, min_lr=1e-6))
    if recipe.patience:
        callbacks.append(keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=recipe.patience))
    model.fit(
        batches,
        validation_data=(validation.images[..., None], *targets(validation)),
        validation_batch_size=256,
        epochs=recipe.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stderr.isatty() else 2,
    )
    return model


def _best_so_far(out: Path, resume: bool) -> float | None:
    if not resume or not (out / "log.csv").exists():
        return None
    rows = np.genfromtxt(out / "log.csv", delimiter=",", names=True)
    return float(np.max(rows[MONITOR])) if rows.size else None


def fingerprint(splits: dict[str, Split]) -> str:
    """A sha256 over every image and label: the same data, the same string."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        for array in vars(splits[name]).values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def device() -> str:
    """The device that Keras trains on, and the processor's name."""
    found = keras.distribution.list_devices()
    return f"{', '.join(found) or 'cpu:0'} ({platform.processor() or platform.machine()}, {os.cpu_count()} cores)"


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or None


def plot_curve(out: Path) -> None:
    """Draw `log.csv` as `curve.png`."""
    from training.plots import learning_curve

    learning_curve(out / "log.csv", out / "curve.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, choices=sorted(BUILDERS), help="the network")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--recipe", default="default", choices=sorted(RECIPES), help="a named set of settings")
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch in --out")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--learning-rate", type=float, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    args = parser.parse_args(argv)
    recipe = RECIPES[args.recipe]
    for name in ("epochs", "batch_size", "learning_rate"):
        if (value := getattr(args, name)) is not None:
            recipe = dataclasses.replace(recipe, **{name: value})
    started = args.out / "last" / "training_metadata.json"
    if args.resume and not started.exists():
        parser.error(f"nothing to resume in {args.out}: no epoch was finished there")
    if started.exists() and not args.resume:
        parser.error(f"{args.out} holds a run already: --resume goes on with it, another --out starts afresh")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        splits = load(args.dataset)
        if "train" not in splits:
            raise DataError(f"{args.dataset} has no training split, only {', '.join(splits)}")
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    run = {
        "model": args.model,
        "recipe": args.recipe,
        "settings": dataclasses.asdict(recipe),
        "dataset": Path(args.dataset).name,
        "data_sha256": fingerprint({name: splits[name] for name in ("train", "validation")}),
        "images": {name: len(split) for name, split in splits.items()},
        "seed": args.seed,
        "device": device(),
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__},
        "commit": _commit(),
        "seconds": 0.0,
    }
    if args.resume:
        before = json.loads((args.out / "run.json").read_text())
        # A killed part never wrote how long it took: from its start, when run.json was written, to its last epoch.
        run["seconds"] = before["seconds"] + max(0.0, started.stat().st_mtime - (args.out / "run.json").stat().st_mtime)
        part = {"from_epoch": json.loads(started.read_text())["epoch"], "before": before["settings"]}
        run["resumed"] = [*before.get("resumed", []), part]
    print(f"training {args.model} on {run['device']}, {recipe.epochs} epochs", file=sys.stderr)
    (args.out / "run.json").write_text(json.dumps(run, indent=2) + "\n")
    start = time.monotonic()
    fit(args.model, splits, recipe, args.out, args.seed, args.resume)
    run["seconds"] = round(run["seconds"] + time.monotonic() - start, 1)
    (args.out / "run.json").write_text(json.dumps(run, indent=2) + "\n")
    plot_curve(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
