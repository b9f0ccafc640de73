r"""Restore a served ResNet50V2 to a Keras file that can be trained further.

    python -m training.restore --checkpoint deepfer/checkpoints/resnet50v2 --dataset MY_FACES --out runs/served.keras
    python -m training.train --model resnet50v2 --recipe finetune --init runs/served.keras --dataset MY_FACES \
        --out runs/mine

A ResNet50V2's Keras file is four times as large as the served file, so often only the served file is kept. (Our CNN's
Keras file is in `training/checkpoints`.) In the served file, weights are rounded to int8, and batch normalization is
folded into the preceding convolutions. This command unfolds it, using the statistics of the dataset's training images.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfer.checkpoint import read, read_config
from deepfer.classifier import EmotionClassifier
from deepfer.errors import CheckpointError
from training.data.loading import load
from training.data.split import Split
from training.exceptions import DataError
from training.model.recipes import RECIPES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from training.model.models import HEADS, build_resnet50v2

KINDS = {
    "convolution": "kernel",
    "MatMul": "kernel",
    "batchnorm/mul": "scale",
    "batchnorm/sub": "shift",
    "resize/size": "size",
}
CONSTANT = re.compile(rf"[^/]+/(?P<layer>\w+?)(_\d+)?/(?P<what>{'|'.join(KINDS)})")
BATCHES, BATCH = 8, 128  # number and size of the batches of training images for the statistics
# Batch normalization makes the scale of the kernel before it arbitrary. Our three cycles of Adam added this much to the
# initial values (root mean square). Larger kernels would learn more slowly, and smaller ones would forget.
LEARNED = 0.03

Weights = dict[tuple[str, str], np.ndarray]


def served_weights(path: Path) -> Weights:
    """Read the weights of a LiteRT file, as float32, by layer and kind: a value of `KINDS`, or "bias".

    Kernels have Keras's layout, `(h, w, in, out)` or `(in, out)`. A convolution's kernel and bias include the scale and
    shift of a following batch normalization.

    Raises:
        IndexError, ValueError: A tensor does not have the expected form.
    """
    from tensorflow.lite.python.schema_py_generated import TensorType
    from tensorflow.lite.tools import flatbuffer_utils

    kinds = {TensorType.FLOAT32: np.float32, TensorType.INT32: np.int32, TensorType.INT8: np.int8}
    file = flatbuffer_utils.read_model(str(path))
    graph = file.subgraphs[0]

    def value(index: int) -> np.ndarray | None:
        tensor = graph.tensors[index]
        data = file.buffers[tensor.buffer].data
        if data is None or tensor.type not in kinds:
            return None
        values = np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tensor.shape)
        if tensor.type == TensorType.INT8:  # one scale per output or one for all; the zero point is 0
            scale = np.asarray(tensor.quantization.scale, np.float32)
            values = values * scale.reshape(-1, *[1] * (values.ndim - 1))
        return values

    found: Weights = {}
    for operator in graph.operators:
        named = len(operator.inputs) > 1 and CONSTANT.fullmatch(graph.tensors[operator.inputs[1]].name.decode())
        constant = value(operator.inputs[1]) if named else None
        if not named or constant is None:
            continue
        layer, kind = named["layer"], KINDS[named["what"]]
        found[layer, kind] = np.moveaxis(constant, 0, -1) if kind == "kernel" else constant.ravel()
        bias = value(operator.inputs[2]) if kind == "kernel" else None
        if bias is not None:
            found[layer, "bias"] = bias
    return found


def restore(folder: Path, train: Split, seed: int = 0) -> keras.Model:
    """Rebuild the network of a checkpoint folder. It predicts what the file does, and can be trained.

    Args:
        folder: A ResNet50V2 checkpoint made by `training.export`.
        train: Images of its input size, for the statistics of batch normalization.
        seed: For choosing and augmenting images.

    Raises:
        CheckpointError: The folder is not a checkpoint, or its model file is damaged.
        DataError: The checkpoint is not a ResNet50V2, or lacks a head.
    """
    checkpoint, config = read(folder), read_config(folder)
    EmotionClassifier(checkpoint)  # LiteRT checks the file; reading it below does not
    share = config.get("fer2013_share")
    if config.get("model") != "resnet50v2" or not isinstance(share, int | float) or not 0 <= share < 1:
        raise DataError(f"{folder} is not a ResNet50V2 made by training.export with both heads")
    try:
        weights = served_weights(checkpoint.model_file)
        network = build_resnet50v2(checkpoint.input_size, int(weights["enlarge", "size"][0]), weights=None)
        _set_weights(network, weights, share)
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(f"{checkpoint.model_file} is not a ResNet50V2 made by training.export: {error}") from error
    _measure_statistics(network, train, np.random.default_rng(seed))
    return network


def _normalizations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _set_weights(network: keras.Model, weights: Weights, share: float) -> None:
    """Set all weights. Batch normalization only scales and shifts, until its statistics are measured."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            layer.set_weights([weights[layer.name, "kernel"], weights[layer.name, "bias"]])
    for layer in _normalizations(network):
        if (layer.name, "scale") in weights:
            scale, shift = weights[layer.name, "scale"], weights[layer.name, "shift"]
        else:
            convolution = layer.input._keras_history.operation
            kernel, shift = weights[convolution.name, "kernel"], weights[convolution.name, "bias"]
            norm = np.sqrt(np.mean(kernel**2, axis=(0, 1, 2)))
            fans = np.prod(kernel.shape[:2]) * (kernel.shape[2] + kernel.shape[3])
            scale = np.maximum(norm, 1e-3 * norm.mean()) / np.hypot(np.sqrt(2 / fans), LEARNED)
            convolution.set_weights([kernel / scale])
        layer.set_weights([scale, shift, np.zeros_like(scale), np.full_like(scale, 1 - layer.epsilon)])
    fer2013, blended = ([weights[name, kind] for kind in ("kernel", "bias")] for name in ("fer2013_logits", "logits"))
    network.get_layer(HEADS[0]).set_weights(fer2013)
    ferplus = [(both - share * one) / (1 - share) for both, one in zip(blended, fer2013, strict=True)]
    network.get_layer(HEADS[1]).set_weights(ferplus)


def _measure_statistics(network: keras.Model, train: Split, rng: np.random.Generator) -> None:
    """Set the mean and variance of each batch normalization from data, without changing its output.

    Layers are measured in order, each on the outputs of those before it in training mode, which normalize by the
    batch's statistics. In inference mode, a few outlier images would dominate the variance of the deepest layers.
    """
    augment = RECIPES["resnet50v2"]["default"][-1].augmentation
    batches = []
    for _ in range(BATCHES):
        rows = rng.choice(len(train), min(BATCH, len(train)), replace=False)
        batches.append(keras.ops.convert_to_tensor(augment(train.images[rows], rng)[..., None]))
    outputs = {id(network.input): batches}
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    last = {id(tensor): layer for layer in layers for tensor in _inputs(layer)}  # the last to use each tensor
    for layer in layers:
        given = list(zip(*(outputs[id(tensor)] for tensor in _inputs(layer)), strict=True))
        if isinstance(layer, keras.layers.BatchNormalization):
            outputs[id(layer.output)] = _normalize(layer, [tensor for (tensor,) in given])
        else:
            outputs[id(layer.output)] = [
                layer(list(tensors) if len(tensors) > 1 else tensors[0], training=False) for tensors in given
            ]
        for tensor in _inputs(layer):
            if last[id(tensor)] is layer:
                outputs.pop(id(tensor), None)


def _inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    return layer.input if isinstance(layer.input, list) else [layer.input]


def _normalize(layer: keras.layers.BatchNormalization, batches: list[Any]) -> list[Any]:
    """Set a layer's statistics from batches, with a median scale of 1, and return its output for each batch.

    Scales start at 1 and change little in training; a measured scale far from 1 is due to a few images.
    """
    scale, shift, *_ = layer.get_weights()
    moments = [keras.ops.moments(batch, axes=(0, 1, 2)) for batch in batches]
    mean, variance = (
        np.mean([keras.ops.convert_to_numpy(m) for m in which], axis=0) for which in zip(*moments, strict=True)
    )
    gamma = scale * np.sqrt(variance + layer.epsilon)
    gamma /= np.median(gamma)
    beta = shift + scale * mean
    deviation = np.divide(gamma, scale, out=np.ones_like(scale), where=scale != 0)
    layer.set_weights([gamma, beta, mean, np.maximum(deviation**2 - layer.epsilon, 0)])
    return [
        (batch - center) * (gamma / keras.ops.sqrt(spread + layer.epsilon)) + beta
        for batch, (center, spread) in zip(batches, moments, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Restore from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.restore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="a ResNet50V2 checkpoint folder made by training.export")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz made by training.data")
    add("--out", type=Path, required=True, help="the .keras file to write")
    args = parser.parse_args(argv)
    if args.out.suffix != ".keras":
        parser.error(f"--out {args.out}: the name must end in .keras")
    try:
        splits = load(args.dataset, read(args.checkpoint).input_size)
        if not len(splits.get("train", ())):
            raise DataError(f"{args.dataset} has no training images")
        network = restore(args.checkpoint, splits["train"])
        args.out.parent.mkdir(parents=True, exist_ok=True)
        network.save(args.out)
    except (CheckpointError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {network.count_params():,} weights")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
