"""Recipes: the named training settings of each network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from training.model.augment import Augmentation


@dataclass(frozen=True)
class Phase:
    """The settings of one phase of training; `run.json` keeps a copy. A recipe is a tuple of phases.

    Each phase starts from the best epoch so far, with a new optimizer.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images per step.
        optimizer: "adam", "adamw" or "sgd" (Nesterov, momentum 0.9).
        learning_rate: Peak learning rate.
        schedule: "cosine" (linear warm-up, then to zero; Loshchilov & Hutter 2017) or "plateau" (ReduceLROnPlateau).
        warmup: Epochs of warm-up, for "cosine".
        weight_decay: Decoupled weight decay, of kernels only.
        ema: Momentum of the exponential moving average of the weights; 0 for none.
        label_smoothing: Label smoothing of the FER2013 label.
        ferplus_share: Weight of the FER+ head in the loss, 0 to 1.
        class_weight_power: Rare labels get a larger weight in the FER2013 loss: frequency to the power of minus this.
            0 weights all images equally, 1 all emotions.
        distill: Weight of the soft targets, 0 to 1 (Hinton et al. 2015).
        mixup: Parameter of the Beta distribution for mixup; 0 for none.
        cutmix: Parameter of the Beta distribution for CutMix; 0 for none.
        mixed_precision: Compute in bfloat16 if the processor supports it; the heads stay float32.
        patience: Epochs without improvement on validation before the phase ends; 0 never ends it early.
        trainable: "all", "heads", or a prefix of layer names such as "conv4": that layer and all above it, with batch
            normalization frozen (for transfer learning).
        augmentation: How images are augmented.
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
    class_weight_power: float = 0.0
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
_CNN_AGAIN = replace(_CNN, epochs=12, learning_rate=1e-3, warmup=1.0, distill=0.3)  # continues from the first phase
_CNN_LONG = replace(  # for dark, blurred or half-hidden faces, and for rare emotions
    _CNN_AGAIN,
    epochs=32,
    learning_rate=1.5e-3,
    ferplus_share=0.4,
    class_weight_power=0.5,
    mixup=0.2,
    augmentation=Augmentation(brightness=0.2, contrast=0.4, erase=0.3, erase_area=(0.02, 0.25), blur=0.2, noise=0.2),
)
_CNN_WIDE = replace(  # a wider network, initialized from the narrower one
    _CNN_LONG,
    epochs=50,
    mixup=0.0,
    augmentation=replace(_CNN_LONG.augmentation, rotation=20.0, zoom=(0.8, 1.25), shift=0.12),
    network={**_CNN.network, "widths": (48, 112, 224)},
)

# Teachers learn from the labels alone, so that each errs in its own way. Their mean is the student's soft target.
_TEACHER = replace(_CNN_WIDE, warmup=2.0, distill=0.0, augmentation=_CNN.augmentation)

# Without ImageNet weights, and within the time of two CPU cores: mostly soft targets, little augmentation.
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
_RESNET_AGAIN = replace(  # it is already trained, so it does not underfit with stronger augmentation
    _RESNET,
    epochs=16,
    learning_rate=8e-4,
    warmup=0.5,
    mixup=0.2,
    augmentation=_CNN.augmentation,
    network={**_RESNET.network, "dropout": 0.3},
)
_RESNET_THIRD = replace(  # with better teachers, and the augmentation that helped the CNN most
    _RESNET_AGAIN,
    epochs=24,
    learning_rate=1e-3,
    mixup=0.0,
    augmentation=_CNN_WIDE.augmentation,
)

# The original project's recipe: Adam, one label set, plateau and early stopping, on a small plain network.
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

# A minute on a laptop, to check that everything runs. It learns little.
_SMOKE = Phase(epochs=2, batch_size=32, learning_rate=3e-3, warmup=0.2, ema=0.9, mixed_precision=False)

# Transfer from ImageNet: first the heads on the frozen base, then the higher stages too.
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
        "teacher": (_TEACHER,),
    },
    "resnet50v2": {
        "default": (_RESNET, _RESNET_AGAIN, _RESNET_THIRD),
        "finetune": (replace(_TRANSFER[1], epochs=10, network={"enlarged": 64, "weights": None}),),
        "transfer": _TRANSFER,
        "seed": tuple(replace(_SEED, epochs=e, trainable=t, learning_rate=r, network=_IMAGENET)
                      for e, t, r in ((10, "heads", 1e-3), (30, "conv5", 1e-4))),
        "smoke": (replace(_SMOKE, epochs=1, network={"enlarged": 48, "weights": None}),),
    },
    "vgg": {
        "teacher": (replace(_TEACHER, epochs=45, network={"dropout": 0.3}),),
        "smoke": (replace(_SMOKE, network={"widths": (8, 16, 24), "blocks": (1, 1, 1)}),),
    },
}  # fmt: skip
