"""The networks: map grayscale faces, 0 to 255, to seven logits from each of two heads, on any Keras 3 backend."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from deepfer.face import LABELS

FEATURES = "features"  # the layer before pooling; the activation map is the Dense layer applied to it
HEADS = ("fer2013", "ferplus")


def build_cnn(
    size: int = 48,
    widths: tuple[int, ...] = (48, 96, 192),
    blocks: int = 2,
    stem: int = 32,
    dropout: float = 0.3,
) -> keras.Model:
    """A residual network with squeeze-and-excitation (He et al. 2016; Hu et al. 2018), for 48-pixel faces.

    Args:
        size: Side of the input, pixels.
        widths: Channels of the stages; each halves the resolution.
        blocks: Residual blocks per stage.
        stem: Channels at full resolution.
        dropout: Share of pooled features dropped in training.

    Returns:
        Model of `(N, size, size, 1)` gray 0 to 255 to `{"fer2013": (N, 7), "ferplus": (N, 7)}` logits.
    """
    inputs = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = _convolution(x, stem)
    x = _convolution(x, stem)
    for width in widths:
        for block in range(blocks):
            x = _residual(x, width, stride=2 if block == 0 else 1)
    return keras.Model(inputs, _heads(layers.Activation("linear", name=FEATURES)(x), dropout), name="cnn")


def build_vgg(
    size: int = 48,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    blocks: tuple[int, ...] = (1, 2, 2, 2),
    dropout: float = 0.3,
) -> keras.Model:
    """A plain network (Simonyan & Zisserman 2015) with batch normalization: as a teacher, it errs differently.

    Args:
        size: Side of the input, pixels.
        widths: Channels of the stages; pooling halves the resolution between them.
        blocks: Convolutions of each stage.
        dropout: Share of pooled features dropped in training.

    Returns:
        Model of `(N, size, size, 1)` gray 0 to 255 to `{"fer2013": (N, 7), "ferplus": (N, 7)}` logits.
    """
    inputs = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        x = layers.MaxPooling2D()(x) if stage else x
        for _ in range(count):
            x = _convolution(x, width)
    return keras.Model(inputs, _heads(layers.Activation("linear", name=FEATURES)(x), dropout), name="vgg")


def build_resnet50v2(
    size: int = 48, enlarged: int = 64, weights: str | None = "imagenet", dropout: float = 0.2
) -> keras.Model:
    """ResNet50V2 (He et al. 2016) on faces that the model enlarges.

    Args:
        size: Side of the input, pixels.
        enlarged: Side of the base's input, pixels.
        weights: Initial weights of the base: "imagenet" (Keras downloads it), the path of a weights file for the base
            without its top, or None for random ones.
        dropout: Share of pooled features dropped in training.

    Returns:
        Model of `(N, size, size, 1)` gray 0 to 255 to `{"fer2013": (N, 7), "ferplus": (N, 7)}` logits.

    Raises:
        ValueError: The weights are missing, or belong to another network.
    """
    inputs = keras.Input((size, size, 1), name="image")
    x = layers.Resizing(enlarged, enlarged, interpolation="bilinear", name="enlarge")(inputs)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(x)  # as for `keras.applications.resnet_v2`
    x = layers.Concatenate(name="rgb")([x, x, x])
    try:
        base = keras.applications.ResNet50V2(include_top=False, weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a bare Exception if a download fails
        raise ValueError(f"cannot start ResNet50V2 from {weights!r}: {error}") from error
    x = layers.Activation("linear", name=FEATURES)(base.output)
    return keras.Model(inputs, _heads(x, dropout), name="resnet50v2")


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "cnn": build_cnn,
    "resnet50v2": build_resnet50v2,
    "vgg": build_vgg,
}


def set_trainable(model: keras.Model, which: str) -> None:
    """Choose what is trained: "all", "heads", or a prefix of layer names, for that layer and all above it.

    Unless it is "all", batch normalization is frozen: with few images per batch, its statistics would drift from those
    of the network's original training.

    Raises:
        ValueError: No layer's name starts with the prefix.
    """
    reached = which == "all"
    for layer in model.layers:
        reached = reached or layer.name.startswith(which)
        normalizes = isinstance(layer, layers.BatchNormalization)
        layer.trainable = layer.name in HEADS or which == "all" or (reached and not normalizes)
    if not reached and which != "heads":
        raise ValueError(f"no layer of {model.name} has a name starting with {which!r}")


def start_from(model: keras.Model, other: keras.Model) -> None:
    """Copy the weights of the same or a narrower model, whose outputs are preserved (Net2Net; Chen et al. 2016).

    In a wider model, new weights keep their random initial values, except those from new channels to old ones, which
    are set to zero.

    Raises:
        ValueError: The other model has a different depth, or is wider.
    """
    own, given = model.get_weights(), other.get_weights()
    if len(own) != len(given) or any(
        wide.ndim != narrow.ndim or np.any(np.less(wide.shape, narrow.shape))
        for wide, narrow in zip(own, given, strict=True)
    ):
        raise ValueError(f"it is not a {model.name} of this depth, or is wider")
    for wide, narrow in zip(own, given, strict=True):
        if wide.ndim > 1:
            wide[..., : narrow.shape[-1]] = 0
        wide[tuple(slice(side) for side in narrow.shape)] = narrow
    model.set_weights(own)


def fuse_normalization(model: keras.Model) -> None:
    """Train batch normalization with TensorFlow's fused kernel, if that is the backend: steps take a third less time.

    Keras itself computes a bfloat16 layer's moments in float32, in many passes. A saved model holds ordinary Keras
    layers.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization) and layer.axis in (-1, 3):
            layer.call = functools.partial(_normalize, layer)


def _normalize(
    layer: layers.BatchNormalization, inputs: keras.KerasTensor, training: bool | None = None, mask: None = None
) -> keras.KerasTensor:
    if not training or not layer.trainable:
        return layers.BatchNormalization.call(layer, inputs, training, mask)
    import tensorflow as tf  # only this function depends on the backend

    unused = tf.zeros([0])  # the running mean and variance are not used in training
    scale, offset = (keras.ops.convert_to_tensor(weight, "float32") for weight in (layer.gamma, layer.beta))
    out, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=unused, variance=unused, epsilon=layer.epsilon, is_training=True
    )
    for running, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        running.assign(running * layer.momentum + batch * (1 - layer.momentum))
    return out


def _heads(x: keras.KerasTensor, dropout: float) -> dict[str, keras.KerasTensor]:
    """Global average pooling and one Dense layer per label set, so that the activation map is exact (Zhou 2016)."""
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return {head: layers.Dense(len(LABELS), name=head, dtype="float32")(x) for head in HEADS}


def _convolution(x: keras.KerasTensor, width: int, stride: int = 1, activate: bool = True) -> keras.KerasTensor:
    x = layers.Conv2D(width, 3, stride, "same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if activate else x


def _residual(x: keras.KerasTensor, width: int, stride: int) -> keras.KerasTensor:
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride)(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = layers.Conv2D(width, 1, use_bias=False, kernel_initializer="he_normal")(shortcut)
        shortcut = layers.BatchNormalization(momentum=0.9)(shortcut)
    x = _convolution(x, width, stride)
    x = _convolution(x, width, activate=False)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(max(8, width // 8), 1, activation="relu")(gate)
    gate = layers.Conv2D(width, 1, activation="sigmoid")(gate)
    return layers.ReLU()(layers.Add()([layers.Multiply()([x, gate]), shortcut]))
