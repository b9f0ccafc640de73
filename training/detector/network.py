"""The detector's network: predicts a score, a box and five landmarks for every cell of three grids over an image."""

from __future__ import annotations

import keras
from keras import layers

from deepfer.detector_network import CELL
from deepfer.grid_network import STRIDES

RARE = -4.6  # initial score logit of every cell: a probability of 1%


def build_detector(
    widths: tuple[int, ...] = (16, 32, 64, 96, 128),
    blocks: tuple[int, ...] = (1, 2, 3, 2),
    neck: int = 64,
) -> keras.Model:
    """Depthwise-separable blocks (Howard et al. 2017) with a top-down path (Lin et al. 2017), of any input size.

    Args:
        widths: Channels of the stem, at half the resolution, and of the stages, each of which halves it again.
        blocks: Residual blocks of each stage, after the one that halves the resolution.
        neck: Channels of the top-down path and the heads.

    Returns:
        Model that maps `(N, H, W, 3)` RGB 0 to 255, sides in multiples of 32, to three grids, finest first,
        `(N, H / stride, W / stride, 15)`. A cell's box centre and landmarks are in strides from the cell's centre; the
        box's sides are natural logarithms, in units of three strides.
    """
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = _activated(layers.Conv2D(widths[0], 3, 2, "same", use_bias=False, kernel_initializer="he_normal")(x))
    levels = []
    for width, count in zip(widths[1:], blocks, strict=True):
        x = _separable(x, width, stride=2)
        for _ in range(count):
            x = layers.Add()([x, _separable(x, width)])
        levels.append(x)
    above, grids = None, []
    for number, level in zip(range(len(STRIDES), 0, -1), levels[: -len(STRIDES) - 1 : -1], strict=True):
        x = layers.BatchNormalization(momentum=0.95)(layers.Conv2D(neck, 1, use_bias=False)(level))
        if above is not None:
            x = layers.Add()([x, layers.UpSampling2D()(above)])
        above = _separable(layers.ReLU()(x), neck)
        head = _separable(above, neck)
        grids.append(layers.Conv2D(CELL, 1, name=f"grid_{number}", dtype="float32")(head))
    model = keras.Model(inputs, grids[::-1], name="detector")
    for number in range(1, len(STRIDES) + 1):
        kernel, bias = model.get_layer(f"grid_{number}").get_weights()
        bias[0] = RARE  # otherwise empty cells dominate the first steps (Lin et al. 2017, RetinaNet)
        model.get_layer(f"grid_{number}").set_weights([kernel * 0.1, bias])
    return model


def _activated(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def _separable(x: keras.KerasTensor, width: int, stride: int = 1) -> keras.KerasTensor:
    x = _activated(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x))
    return _activated(layers.Conv2D(width, 1, use_bias=False, kernel_initializer="he_normal")(x))
