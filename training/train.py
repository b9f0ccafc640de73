"""Train a network into a run folder.

    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/cnn
    python -m training.train --model cnn --dataset PATH_OR_HUB_ID --out runs/smoke --recipe smoke    # takes a minute
    python -m training.train --model cnn --dataset MY_FACES --out runs/mine --recipe finetune --init cnn

The run folder holds `run.json` (settings, data and versions), `log.csv` (one row per epoch), `best.keras` (the epoch
with the best validation accuracy), `last/` (what `--resume` needs) and `curve.png`.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfer.arguments import bounded_int
from deepfer.checkpoint import sha256
from deepfer.errors import HubError
from deepfer.hub import HUB_ID, download
from deepfer.text import first_line
from training.data.loading import load, name_of
from training.data.split import Split, Splits, require_trainable
from training.exceptions import DataError
from training.model.recipes import RECIPES, Recipe

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On CPUs without AVX-512, TensorFlow disables oneDNN by default, which makes ResNet50V2 several times slower.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
import keras

from training.convert import keras_file
from training.model.batches import Targets
from training.model.device import device_name, has_bfloat16
from training.model.distillation import find_soft_targets
from training.model.fit import fit_phase
from training.model.models import BUILDERS, start_from
from training.model.run_folder import RunFolder, fingerprint, phase_records
from training.report.plots import learning_curve

CHECKPOINTS = Path(__file__).parent / "checkpoints"  # ours, for fine-tuning


def fit(
    model_name: str,
    splits: dict[str, Split],
    recipe: Recipe,
    run: RunFolder,
    seed: int,
    init: Path | None = None,
    soft_targets: Targets | None = None,
) -> None:
    """Train phase by phase, resuming an interrupted run. `run.best` is the best epoch of all phases.

    Raises:
        DataError: The network cannot be built, or cannot start from `init`.
    """
    keras.utils.set_random_seed(seed)
    for index, phase in enumerate(recipe):
        if run.has_ended(index):
            continue
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if phase.mixed_precision else "float32")
        start = run.best if index else init
        network = {**phase.network, "weights": None} if start and "weights" in phase.network else phase.network
        try:
            model = BUILDERS[model_name](**network)
        except ValueError as error:
            raise DataError(str(error)) from error
        if start:
            try:
                start_from(model, keras_file.load(start))
            except (OSError, ValueError) as error:
                raise DataError(f"cannot start {model.name} from {start}: {first_line(error)}") from error
        fit_phase(model, splits, recipe, index, run, seed, soft_targets)
        run.mark_ended(index)


def find_init(source: str) -> Path:
    """Find the `.keras` file for `--init`: "cnn" (ours), a file, a run folder, or "user/name" on the Hub.

    Raises:
        DataError: There is no such file.
        HubError: The Hub cannot be reached, or the repo has no `model.keras`.
    """
    path = Path(source)
    ours = CHECKPOINTS / f"{source}.keras"
    for file in (ours, path, path / "best.keras", path / "model.keras"):
        if file.is_file():
            return file
    if not path.exists() and HUB_ID.fullmatch(source):
        folder, _commit = download(source, ["model.keras"])
        return folder / "model.keras"
    raise DataError(
        f"nothing to start from at {source!r}: pass 'cnn' (ours), a .keras file, a run folder, or a Hub repo with a "
        "model.keras"
    )


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Parse and check the command line, and apply its options to the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, choices=sorted(BUILDERS), help="the network")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    add("--out", type=Path, required=True, help="the run folder")
    add("--recipe", default="default", help="phases and settings: " + "; ".join(
        f"{model}: {', '.join(recipes)}" for model, recipes in RECIPES.items()))  # fmt: skip
    add("--init", help='initial weights: "cnn" (ours), a .keras file, a run folder, or user/name on the Hub')
    add("--weights", help='initial weights of ResNet50V2\'s base: "imagenet", a weights file, or "none"')
    add("--teachers", type=Path, help="soft targets made by training.teachers (default: ours if they fit the dataset)")
    add("--resume", action="store_true", help="continue the run in --out after its last finished epoch")
    add("--epochs", type=bounded_int(1), help="epochs of each phase (default: the recipe's)")
    add("--batch-size", type=bounded_int(1), help="images per step (default: the recipe's)")
    add("--learning-rate", type=float, help="peak learning rate (default: the recipe's)")
    add("--seed", type=bounded_int(0), default=0, help="seed for initial weights, order of images and augmentation")
    args = parser.parse_args(argv)
    if args.recipe not in RECIPES[args.model]:
        parser.error(f"{args.model} has the recipes {', '.join(RECIPES[args.model])}, not {args.recipe!r}")
    if args.learning_rate is not None and not 0 < args.learning_rate < math.inf:
        parser.error(f"--learning-rate must be a finite number above 0, not {args.learning_rate:g}")
    if args.weights and args.model != "resnet50v2":
        parser.error("--weights is only for resnet50v2; --init starts any network from a checkpoint")
    recipe = RECIPES[args.model][args.recipe]
    if args.teachers and not any(phase.distill for phase in recipe):
        parser.error(f"--teachers: the recipe {args.recipe!r} of {args.model} does not distil")
    saved = RunFolder(args.out).saved_states()
    if args.resume and not saved:
        parser.error(f"nothing to resume in {args.out}: no epoch was finished there")
    if saved and not args.resume:
        parser.error(f"{args.out} already holds a run: add --resume to continue it, or choose another --out")
    return args, _changed(recipe, args)


def _changed(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    options = {name: getattr(args, name) for name in ("epochs", "batch_size", "learning_rate")}
    changes = {name: value for name, value in options.items() if value is not None}
    recipe = tuple(replace(phase, **changes) for phase in recipe)
    if not args.weights:
        return recipe
    weights = None if args.weights == "none" else args.weights
    return tuple(replace(phase, network={**phase.network, "weights": weights}) for phase in recipe)


def adapt(recipe: Recipe, train: Split, soft_targets: Targets | None) -> Recipe:
    """Turn off what this processor (bfloat16) or dataset (FER+ votes) does not have."""
    if any(phase.mixed_precision for phase in recipe) and not has_bfloat16():
        print("this processor has no bfloat16: training in float32", file=sys.stderr)
        recipe = tuple(replace(phase, mixed_precision=False) for phase in recipe)
    if soft_targets is None and not train.votes.any():
        recipe = tuple(replace(phase, ferplus_share=0.0) for phase in recipe)
    return recipe


def describe(
    args: argparse.Namespace, recipe: Recipe, splits: Splits, init: Path | None, teachers: Path | None
) -> dict[str, Any]:
    """Return what `run.json` holds before the first epoch."""
    return {
        "model": args.model,
        "recipe": args.recipe,
        "phases": phase_records(recipe),
        "init": init and {"source": args.init, "sha256": sha256(init)},
        "teachers": teachers and {"file": teachers.name, "sha256": sha256(teachers)},
        "dataset": name_of(args.dataset),
        "dataset_source": args.dataset,
        "data_sha256": fingerprint({name: splits[name] for name in ("train", "validation")}),
        "held_out": splits.held_out,
        "images": {name: len(split) for name, split in splits.items()},
        "seed": args.seed,
        "device": device_name(),
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__},
        "commit": _commit(),
        "seconds": 0.0,
        "resumed": [],
    }


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or None


def train(args: argparse.Namespace, recipe: Recipe) -> None:
    """Do what the command line asks for.

    Raises:
        DataError, HubError, OSError: The message says what to change.
    """
    run = RunFolder(args.out)
    run.path.mkdir(parents=True, exist_ok=True)
    init = find_init(args.init) if args.init else None
    splits = load(args.dataset)
    require_trainable(splits)
    teachers, soft_targets = None, None
    if any(phase.distill for phase in recipe):
        teachers, soft_targets = find_soft_targets(args.teachers, splits["train"])
        if soft_targets is None:
            print("no soft targets for this dataset: training on its labels alone", file=sys.stderr)
    recipe = adapt(recipe, splits["train"], soft_targets)
    record = describe(args, recipe, splits, init, teachers)
    if args.resume:
        run.resume(record)
        if all(run.has_ended(index) for index in range(len(recipe))):
            print(f"{args.out} is finished: nothing to resume", file=sys.stderr)
            return
    epochs = " + ".join(str(phase.epochs) for phase in recipe)
    print(f"training {args.model} on {record['device']}, {epochs} epochs", file=sys.stderr)
    run.write(record)
    began = time.monotonic()
    fit(args.model, splits, recipe, run, args.seed, init, soft_targets)
    record["seconds"] = round(record["seconds"] + time.monotonic() - began, 1)
    run.write(record)
    learning_curve(run.log, run.path / "curve.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line."""
    args, recipe = parse(argv)
    try:
        train(args, recipe)
    except (DataError, HubError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
