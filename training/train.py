"""Fit a network and leave a run folder.

    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/cnn
    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/smoke --recipe smoke    # a minute
    python -m training.train --model cnn --dataset MY_FACES --out runs/mine --recipe finetune --init cnn

The run folder holds `run.json` (what was asked for, on what, with what), `log.csv` (an epoch a row), `best.keras` (the
epoch with the best validation), `last/` (everything that `--resume` needs, by phase) and `curve.png`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfer.arguments import bounded_int
from deepfer.checkpoint import sha256
from deepfer.errors import HubError
from deepfer.face import LABELS
from deepfer.hub import HUB_ID, download
from training.augment import mix
from training.data import DataError, Split, load, name_of, require_trainable
from training.plots import learning_curve
from training.recipes import RECIPES, Phase, Recipe

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On CPUs without AVX-512 TensorFlow leaves oneDNN out, without which ResNet50V2 takes several times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
import keras

from training import keras_file
from training.models import build_cnn, build_resnet50v2, fuse_normalization, set_trainable, start_from
from training.teachers import load_teachers

BUILDERS: dict[str, Callable[..., keras.Model]] = {"cnn": build_cnn, "resnet50v2": build_resnet50v2}
CHECKPOINTS = Path(__file__).parent / "checkpoints"  # of ours, for fine-tuning
MONITOR = "val_mean_accuracy"
Targets = dict[str, np.ndarray]


class Batches(keras.utils.PyDataset):
    """A split in shuffled, augmented batches; the same for the same seed and epoch, whether resumed or not."""

    def __init__(self, split: Split, phase: Phase, seed: int, first_epoch: int = 0, taught: Targets | None = None):
        """`taught`: the teachers' probabilities for each head, `(N, 7)`."""
        # With one worker Keras prefetches by tf.data, whose autotuner holds up each epoch's end, by a minute at times.
        super().__init__(workers=2, max_queue_size=8)
        self.split, self.phase, self.seed, self.epoch = split, phase, seed, first_epoch
        self.targets = targets(split, phase.label_smoothing, taught, phase.distill)
        self.by_label = label_weights(split.labels, phase.balance)

    def __len__(self) -> int:
        return max(1, len(self.split) // self.phase.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Targets, Targets]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.split))
        rows = order[index * self.phase.batch_size :][: self.phase.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images = self.phase.augmentation(self.split.images[rows], rng)
        wanted = {head: values[rows] for head, values in self.targets.items()}
        mix(images, list(wanted.values()), rng, self.phase.mixup, self.phase.cutmix)
        return images[..., None], wanted, weights(wanted, self.by_label)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def targets(split: Split, smoothing: float = 0.0, taught: Targets | None = None, distill: float = 0.0) -> Targets:
    """What each head should say, float32 `(N, 7)`; zeros where nothing is known.

    With `taught`, the teachers' probabilities have the share `distill` in it; where there are no votes, all of it.
    """
    onehot = np.eye(len(LABELS), dtype=np.float32)[split.labels]
    wanted = {"fer2013": onehot * (1 - smoothing) + smoothing / len(LABELS), "ferplus": split.votes}
    if taught is not None and distill:
        wanted = {head: (1 - distill) * values + distill * taught[head] for head, values in wanted.items()}
        voted = split.votes.any(axis=1, keepdims=True)
        wanted["ferplus"] = np.where(voted, wanted["ferplus"], taught["ferplus"])
    return wanted


def label_weights(labels: np.ndarray, balance: float) -> np.ndarray:
    """What an image of each label counts for, float32 `(7,)`: frequency to the power of `-balance`, 1 on average."""
    counts = np.maximum(np.bincount(labels, minlength=len(LABELS)), 1)
    weight = counts ** -float(balance)
    return (weight * counts.sum() / (weight @ counts)).astype(np.float32)


def weights(wanted: Targets, by_label: np.ndarray | None = None) -> Targets:
    """How much each image counts for each head, float32 `(N,)`: not at all where nothing is known.

    With `by_label`, float32 `(7,)`, an image counts for the FER2013 head as its wanted labels do.
    """
    found = {head: np.asarray(values.any(axis=1), np.float32) for head, values in wanted.items()}
    if by_label is not None:
        found["fer2013"] *= wanted["fer2013"] @ by_label
    return found


class MeanAccuracy(keras.callbacks.Callback):
    """Logs the mean validation accuracy of the heads that are trained: what `best.keras` is chosen by."""

    def __init__(self, ferplus_share: float) -> None:
        super().__init__()
        self.heads = [head for head, share in (("fer2013", 1 - ferplus_share), ("ferplus", ferplus_share)) if share]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs[MONITOR] = float(np.mean([logs[f"val_{head}_accuracy"] for head in self.heads]))


class Memory(keras.callbacks.Callback):
    """Keeps what other callbacks know (waiting since when, for what), so that a resumed run goes on as it would have.

    It comes last in the list: the others forget when training begins, and then this one reminds them.
    """

    KEPT = ("wait", "best", "best_epoch", "cooldown_counter")

    def __init__(self, path: Path, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.path, self.callbacks = path, callbacks

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.path.exists():
            for callback, known in zip(self.callbacks, json.loads(self.path.read_text()), strict=True):
                vars(callback).update(known)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        known = [{name: vars(c)[name] for name in self.KEPT if name in vars(c)} for c in self.callbacks]
        _write(self.path, json.dumps(known))


class TimeLeft(keras.callbacks.Callback):
    """Says after each epoch how long the rest of the run takes, if nothing ends it early."""

    def __init__(self, recipe: Recipe, index: int, first: int) -> None:
        """`first`: the epoch of the run that phase `index` starts at."""
        super().__init__()
        self.end = first + sum(phase.epochs for phase in recipe[index:])
        self.name = f"phase {index + 1} of {len(recipe)}"

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        left = self.end - epoch - 1
        minutes = left * (time.monotonic() - self.start) / 60
        print(f"{self.name}, epoch {epoch + 1}: {left} more, about {minutes:.0f} minutes", file=sys.stderr, flush=True)


def make_optimizer(phase: Phase, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The phase's optimizer with its schedule."""
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
    # An average over more than a tenth of the phase would still hold what it started from.
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


def _start_from(model: keras.Model, path: Path) -> None:
    try:
        start_from(model, keras_file.load(path))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot start {model.name} from {path}: {str(error).splitlines()[0]}") from error


def fit(
    model_name: str,
    splits: dict[str, Split],
    recipe: Recipe,
    out: Path,
    seed: int,
    init: Path | None = None,
    taught: Targets | None = None,
) -> None:
    """Train phase by phase, keeping the best epoch of all as `out/best.keras`; goes on where a run was cut off.

    Each phase keeps its last epoch, with its optimizer, under `out/last`.
    """
    keras.utils.set_random_seed(seed)
    first = 0
    for index, phase in enumerate(recipe):
        last = out / "last" / f"phase-{index + 1}"
        if not (last / "ended").exists():
            keras.mixed_precision.set_global_policy("mixed_bfloat16" if phase.mixed_precision else "float32")
            start = out / "best.keras" if index else init
            network = {**phase.network, "weights": None} if start and "weights" in phase.network else phase.network
            try:
                model = BUILDERS[model_name](**network)
            except ValueError as error:
                raise DataError(str(error)) from error
            if start:
                _start_from(model, start)
            _fit_phase(model, splits, recipe, index, out, last, first, seed, taught)
            _write(last / "ended", "")
        first = json.loads((last / "training_metadata.json").read_text())["epoch"]


def _fit_phase(
    model: keras.Model,
    splits: dict[str, Split],
    recipe: Recipe,
    index: int,
    out: Path,
    last: Path,
    first: int,
    seed: int,
    taught: Targets | None,
) -> None:
    phase = recipe[index]
    set_trainable(model, phase.trainable)
    fuse_normalization(model)
    done = epochs_done(last) or first
    batches = Batches(splits["train"], phase, seed, done, taught)
    model.compile(
        optimizer=make_optimizer(phase, len(batches)),
        loss={head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in ("fer2013", "ferplus")},
        loss_weights={"fer2013": 1 - phase.ferplus_share, "ferplus": phase.ferplus_share},
        weighted_metrics={
            head: [keras.metrics.CategoricalAccuracy(name="accuracy")] for head in ("fer2013", "ferplus")
        },
    )
    # Order matters: the resumable state holds the raw weights, validation and best.keras the averaged ones.
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.BackupAndRestore(last, delete_checkpoint=False, double_checkpoint=True)
    ]
    if phase.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    waiting: list[keras.callbacks.Callback] = []
    if phase.schedule == "plateau":
        waiting.append(keras.callbacks.ReduceLROnPlateau(MONITOR, mode="max", factor=0.5, patience=3, min_lr=1e-6))
    if phase.patience:
        waiting.append(keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=phase.patience))
    callbacks += [
        MeanAccuracy(phase.ferplus_share),
        keras.callbacks.ModelCheckpoint(
            out / "best.keras", MONITOR, mode="max", save_best_only=True, initial_value_threshold=_best_so_far(out)
        ),
        keras.callbacks.CSVLogger(out / "log.csv", append=done > 0),
        TimeLeft(recipe, index, first),
        *waiting,
        Memory(last / "memory.json", waiting),
    ]
    validation, known = splits["validation"], targets(splits["validation"])
    model.fit(
        batches,
        validation_data=(validation.images[..., None], known, weights(known)),
        validation_batch_size=256,
        initial_epoch=first,
        epochs=first + phase.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stderr.isatty() else 2,
    )


def epochs_done(last: Path) -> int:
    """How many epochs of the run were finished when the state in `last` was kept; 0 where there is none."""
    path = last / "training_metadata.json"
    return json.loads(path.read_text())["epoch"] if path.exists() else 0


def _write(path: Path, text: str) -> None:
    """Write aside, then rename: a kill leaves the old file or the new one."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _best_so_far(out: Path) -> float | None:
    if not (out / "log.csv").exists():
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


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether Keras trains on an accelerator, or on a CPU with instructions for bfloat16.

    Other CPUs make up for them, so slowly that float32 takes a fraction of the time.
    """
    if any(not name.startswith("cpu") for name in keras.distribution.list_devices()):
        return True
    try:
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(cpuinfo.read_text().split())
    except OSError:
        return False


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or None


def find_init(source: str) -> Path:
    """The `.keras` file that `--init` means: "cnn" (ours), a file, a run folder, or "user/name" on the Hub.

    Raises:
        DataError: It is none of these.
        HubError: The Hub cannot be reached, or the repo holds no `model.keras`.
    """
    path = Path(source)
    ours = CHECKPOINTS / f"{source}.keras"
    for file in (ours, path, path / "best.keras", path / "model.keras"):
        if file.is_file():
            return file
    if not path.exists() and HUB_ID.fullmatch(source):
        folder, _commit = download(source, ["model.keras"])
        return folder / "model.keras"
    names = ", ".join(repr(file.stem) for file in sorted(CHECKPOINTS.glob("*.keras")))
    raise DataError(
        f"nothing to start from at {source!r}: give {names}, a .keras file, a run folder, or a Hub repo that has one"
    )


def find_teachers(given: Path | None, train: Split) -> tuple[Path | None, Targets | None]:
    """The teachers' predictions: of the file that was given, or of ours where they were made for these images.

    Raises:
        DataError: The file that was given does not fit.
    """
    try:
        path = given or CHECKPOINTS / "teachers.npz"
        return path, load_teachers(path, train)
    except DataError:
        if given:
            raise
        return None, None


def require_same(before: dict[str, Any], run: dict[str, Any]) -> None:
    """Check that a run may go on as what is asked for now: with other epochs, rates or augmentation, but no other run.

    Raises:
        DataError: It is another network, recipe or seed, starts from something else, or learns from other data.
    """

    def what(about: dict[str, Any]) -> dict[str, Any]:
        networks = [{k: v for k, v in phase["network"].items() if k != "weights"} for phase in about["phases"]]
        kept = {key: about.get(key) for key in ("model", "recipe", "seed", "data_sha256")}
        files = {key: (about.get(key) or {}).get("sha256") for key in ("init", "teachers")}
        return kept | files | {"network": networks}

    asked = what(json.loads(json.dumps(run)))  # as it is kept
    for key, value in what(before).items():
        if value != asked[key]:
            raise DataError(f"--resume goes on with a run whose {key} is {value}, not {asked[key]}: give another --out")


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, choices=sorted(BUILDERS), help="the network")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    add("--out", type=Path, required=True, help="the run folder")
    add("--recipe", default="default", help="its phases and settings: " + "; ".join(
        f"{model}: {', '.join(recipes)}" for model, recipes in RECIPES.items()))  # fmt: skip
    add("--init", help='start from this: "cnn" (ours), a .keras file, a run folder, or user/name on the Hub')
    add("--weights", help='what ResNet50V2\'s base starts from: "imagenet", a weights file, or "none"')
    add("--teachers", type=Path, help="predictions of training.teachers; ours where they fit the dataset")
    add("--resume", action="store_true", help="go on after the last finished epoch in --out")
    add("--epochs", type=bounded_int(1), help="of each phase, instead of the recipe's")
    add("--batch-size", type=bounded_int(1), help="instead of the recipe's")
    add("--learning-rate", type=float, help="instead of the recipe's")
    add("--seed", type=bounded_int(0), default=0, help="of weights, order and augmentation")
    args = parser.parse_args(argv)
    if args.recipe not in RECIPES[args.model]:
        parser.error(f"{args.model} has the recipes {', '.join(RECIPES[args.model])}, not {args.recipe!r}")
    recipe = RECIPES[args.model][args.recipe]
    if args.learning_rate is not None and not 0 < args.learning_rate < math.inf:
        parser.error(f"--learning-rate must be a finite number above 0, not {args.learning_rate:g}")
    if args.weights and args.model != "resnet50v2":
        parser.error("--weights is for resnet50v2; --init starts any network from a checkpoint")
    changes = {
        name: value for name in ("epochs", "batch_size", "learning_rate") if (value := getattr(args, name)) is not None
    }
    recipe = tuple(dataclasses.replace(phase, **changes) for phase in recipe)
    if args.weights:
        start = None if args.weights == "none" else args.weights
        recipe = tuple(dataclasses.replace(phase, network={**phase.network, "weights": start}) for phase in recipe)
    distils = any(phase.distill for phase in recipe)
    if args.teachers and not distils:
        parser.error(f"--teachers: the recipe {args.recipe!r} of {args.model} does not distil")
    kept = sorted(args.out.glob("last/*/training_metadata.json"), key=lambda path: path.stat().st_mtime)
    if args.resume and not kept:
        parser.error(f"nothing to resume in {args.out}: no epoch was finished there")
    if kept and not args.resume:
        parser.error(f"{args.out} holds a run already: --resume goes on with it, another --out starts afresh")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        init = find_init(args.init) if args.init else None
        splits = load(args.dataset)
        require_trainable(splits)
        source, taught = None, None
        if distils:
            source, taught = find_teachers(args.teachers, splits["train"])
            if taught is None:
                print("no teachers' predictions for this dataset: training on its labels alone", file=sys.stderr)
        if any(phase.mixed_precision for phase in recipe) and not has_bfloat16():
            print("no bfloat16 in this processor: training in float32, which is faster here", file=sys.stderr)
            recipe = tuple(dataclasses.replace(phase, mixed_precision=False) for phase in recipe)
        if taught is None and not splits["train"].votes.any():
            recipe = tuple(dataclasses.replace(phase, ferplus_share=0.0) for phase in recipe)
        run: dict[str, Any] = {
            "model": args.model,
            "recipe": args.recipe,
            "phases": [dataclasses.asdict(phase) for phase in recipe],
            "init": init and {"source": args.init, "sha256": sha256(init)},
            "teachers": source and {"file": source.name, "sha256": sha256(source)},
            "dataset": name_of(args.dataset),
            "dataset_source": args.dataset,
            "data_sha256": fingerprint({name: splits[name] for name in ("train", "validation")}),
            "held_out": splits.held_out,
            "images": {name: len(split) for name, split in splits.items()},
            "seed": args.seed,
            "device": device(),
            "backend": keras.backend.backend(),
            "versions": {"python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__},
            "commit": _commit(),
            "seconds": 0.0,
            "resumed": [],
        }
        record = args.out / "run.json"
        if args.resume:
            before = json.loads(record.read_text())
            require_same(before, run)
            if all((args.out / "last" / f"phase-{i + 1}" / "ended").exists() for i in range(len(recipe))):
                print(f"{args.out} is finished: there is nothing to go on with", file=sys.stderr)
                return 0
            # A killed part never wrote how long it took: from its start, when run.json was written, to its last epoch.
            run["seconds"] = before["seconds"] + max(0.0, kept[-1].stat().st_mtime - record.stat().st_mtime)
            part = {"from_epoch": epochs_done(kept[-1].parent), "phases": before["phases"]}
            run["resumed"] = [*before["resumed"], part]
        epochs = " + ".join(str(phase.epochs) for phase in recipe)
        print(f"training {args.model} on {run['device']}, {epochs} epochs", file=sys.stderr)
        _write(record, json.dumps(run, indent=2) + "\n")
        began = time.monotonic()
        fit(args.model, splits, recipe, args.out, args.seed, init, taught)
        run["seconds"] = round(run["seconds"] + time.monotonic() - began, 1)
        _write(record, json.dumps(run, indent=2) + "\n")
        learning_curve(args.out / "log.csv", args.out / "curve.png")
    except (DataError, HubError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
