"""Recipe: the phases of a training run with all their settings, and the named ones of each network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from training.model.augment import Augmentation


@dataclass(frozen=True)
class Phase:
    """The settings of one stretch of training; `run.json` keeps a copy. A recipe is a tuple of them.

    Each phase starts from the best epoch so far, with an optimizer of its own.

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
        balance: How far the FER2013 labels' loss makes up for rare ones: their weights go with the frequency to the
            power of minus this; 0 counts every image the same, 1 every emotion.
        distill: Share of the teachers' predictions in the targets, 0 to 1 (Hinton et al. 2015).
        mixup: Parameter of the Beta distribution that images and targets are mixed by; 0 for none.
        cutmix: Likewise for rectangles taken from another image.
        mixed_precision: bfloat16 in the layers, where the processor has it; the heads stay float32.
        patience: Epochs without a better validation before the phase ends; 0 never ends it early.
        trainable: "all"; "heads" alone; or a prefix of layer names, as "conv4": that layer and all above it, with
            batch normalization left as it is (what transfer learning needs).
        augmentation: How images are changed.
        network: Arguments of the network's builder in `training.model.models`.
    """

    epochs: int
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 1.5e-3
    schedule: str = "cosine"
    warmup: float = 2.0
    weight_decay: float = 0.03
    ema: float = 0.998
    label_smoothing: float = 0.1
    ferplus_share: float = 0.5
    balance: float = 0.0
    distill: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed_precision: bool = True
    patience: int = 0
    trainable: str = "all"
    augmentation: Augmentation = field(default_factory=Augmentation)
    network: dict[str, Any] = field(default_factory=dict)


Recipe = tuple[Phase, ...]

_CNN = Phase(epochs=22, augmentation=Augmentation(erase=0.25), network={"stem": 16, "dropout": 0.2})
_CNN_AGAIN = replace(_CNN, epochs=12, learning_rate=1e-3, warmup=1.0, distill=0.3)  # from what was taught before
_CNN_LONG = replace(  # made for faces that are dark, blurred or half hidden, and for the rare emotions
    _CNN_AGAIN,
    epochs=32,
    learning_rate=1.5e-3,
    ferplus_share=0.4,
    balance=0.5,
    mixup=0.2,
    augmentation=Augmentation(brightness=0.2, contrast=0.4, erase=0.3, erase_area=(0.02, 0.25), blur=0.2, noise=0.2),
)
_CNN_WIDE = replace(  # a wider network, which starts with what the narrower one knows
    _CNN_LONG,
    epochs=50,
    mixup=0.0,
    augmentation=replace(_CNN_LONG.augmentation, rotation=20.0, zoom=(0.8, 1.25), shift=0.12),
    network={**_CNN.network, "widths": (48, 112, 224)},
)

# Without ImageNet's weights, and in the time that two cores have: the teachers' predictions lead, little augmentation.
_RESNET = Phase(
    epochs=15,
    learning_rate=1e-3,
    warmup=1.0,
    weight_decay=0.05,
    label_smoothing=0.0,
    distill=0.7,
    augmentation=Augmentation(rotation=12, zoom=(0.88, 1.15), shift=0.08, erase=0.15),
    network={"enlarged": 64, "weights": None, "dropout": 0.1},
)
_RESNET_AGAIN = replace(  # what it has learnt keeps it from underfitting where little is the same twice
    _RESNET,
    epochs=16,
    learning_rate=8e-4,
    warmup=0.5,
    mixup=0.2,
    augmentation=_CNN.augmentation,
    network={**_RESNET.network, "dropout": 0.3},
)
_RESNET_THIRD = replace(  # from better teachers, and with what brought the CNN most
    _RESNET_AGAIN,
    epochs=24,
    learning_rate=1e-3,
    mixup=0.0,
    augmentation=_CNN_WIDE.augmentation,
)

# What the original project did: Adam, one label set, plateau and early stopping, on a small plain network.
_SEED = Phase(
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
)

# A minute on a laptop: shows that everything runs, learns little.
_SMOKE = Phase(epochs=2, batch_size=32, learning_rate=3e-3, warmup=0.2, ema=0.9, mixed_precision=False)

# Transfer from ImageNet: the heads on the frozen base, then the higher stages too.
_IMAGENET = {"enlarged": 96, "weights": "imagenet"}
_TRANSFER = (
    Phase(epochs=5, learning_rate=1e-3, warmup=0.5, ema=0.0, trainable="heads", network=_IMAGENET),
    Phase(epochs=20, learning_rate=2e-4, warmup=1.0, trainable="conv3", network=_IMAGENET),
)

RECIPES: dict[str, dict[str, Recipe]] = {
    "cnn": {
        "default": (_CNN, _CNN_AGAIN, _CNN_LONG, _CNN_WIDE),
        "finetune": (
            replace(_CNN, epochs=10, learning_rate=3e-4, warmup=0.5, ema=0.99, patience=5, network=_CNN_WIDE.network),
        ),
        "seed": (replace(_SEED, network={"widths": (32, 64, 128), "blocks": 1, "stem": 16}),),
        "smoke": (replace(_SMOKE, network={"widths": (8, 16, 24), "blocks": 1, "stem": 8}),),
    },
    "resnet50v2": {
        "default": (_RESNET, _RESNET_AGAIN, _RESNET_THIRD),
        "finetune": (replace(_TRANSFER[1], epochs=10, network={"enlarged": 64, "weights": None}),),
        "transfer": _TRANSFER,
        "seed": tuple(replace(_SEED, epochs=e, trainable=t, learning_rate=r, network=_IMAGENET)
                      for e, t, r in ((10, "heads", 1e-3), (30, "conv5", 1e-4))),
        "smoke": (replace(_SMOKE, epochs=1, network={"enlarged": 48, "weights": None}),),
    },
}  # fmt: skip
