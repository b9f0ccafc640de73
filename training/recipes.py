"""Recipe: every setting of a training run, and the named ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.augment import Augmentation


@dataclass(frozen=True)
class Recipe:
    """The settings of one run; `run.json` keeps a copy.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images per step.
        optimizer: "adam", "adamw" or "sgd" (Nesterov, momentum 0.9).
        learning_rate: Its peak.
        schedule: "cosine" (linear warm-up, then to zero; Loshchilov & Hutter 2017) or "plateau" (ReduceLROnPlateau).
        warmup: Epochs of warm-up, for "cosine".
        weight_decay: Decoupled, on kernels alone.
        ema: Momentum of the exponential moving average of the weights; 0 for none.
        label_smoothing: On the FER2013 label.
        ferplus_share: Share of the FER+ head in the loss, 0 to 1.
        mixed_precision: bfloat16 in the layers; the heads stay float32.
        patience: Epochs without a better validation before training stops; 0 never stops early.
        augmentation: How images are changed.
        network: Arguments of `training.models.build_*`.
    """

    epochs: int = 26
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 1.5e-3
    schedule: str = "cosine"
    warmup: float = 2.0
    weight_decay: float = 0.03
    ema: float = 0.998
    label_smoothing: float = 0.1
    ferplus_share: float = 0.5
    mixed_precision: bool = True
    patience: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    network: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    # The best found so far for the time that two cores have.
    "default": Recipe(augmentation=Augmentation(erase=0.25), network={"stem": 16, "dropout": 0.2}),
    # What the original project did: Adam, one label set, plateau and early stopping.
    "seed": Recipe(
        epochs=60,
        batch_size=64,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="plateau",
        weight_decay=0.0,
        ema=0.0,
        label_smoothing=0.0,
        ferplus_share=0.0,
        patience=10,
        augmentation=Augmentation(rotation=10, zoom=(0.9, 1.1), brightness=0, contrast=0, erase=0),
    ),
    # A minute on a laptop: shows that everything runs, learns little.
    "smoke": Recipe(
        epochs=2,
        batch_size=32,
        learning_rate=3e-3,
        warmup=0.2,
        ema=0.9,
        mixed_precision=False,
        network={"widths": (8, 16, 24), "blocks": 1, "stem": 8},
    ),
}
