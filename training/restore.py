r"""Restore: a served ResNet50V2 -> a Keras file that can be trained further.

    python -m training.restore --checkpoint deepfer/checkpoints/resnet50v2 --dataset MY_FACES --out runs/served.keras
    python -m training.train --model resnet50v2 --recipe finetune --init runs/served.keras --dataset MY_FACES \
        --out runs/mine

The Keras file of a ResNet50V2 is four times as large as what is served, so the latter may be all there is. (Our CNN's
Keras file is in `training/checkpoints`.) In it, weights are rounded to int8, and batch normalization has become part of
the convolutions before it: that is undone here, with the statistics of the dataset's training pictures.
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
from training.errors import DataError
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
BATCHES, BATCH = 8, 128  # of training pictures, for the statistics
# A kernel in front of batch normalization may have any size: this one, together with that of a new kernel, is what our
# three cycles of Adam gave the others (root mean square). Larger ones would learn more slowly, smaller ones forget.
LEARNT = 0.03

Weights = dict[tuple[str, str], np.ndarray]


def served_weights(path: Path) -> Weights:
    """The weights in a LiteRT file, as float32, by layer and kind: a value of `KINDS`, or "bias".

    Kernels come as Keras has them, `(h, w, in, out)` or `(in, out)`. A convolution's bias holds what a batch
    normalization after it shifted by, and its kernel what that scaled by.

    Raises:
        IndexError, ValueError: A tensor is not what its name says.
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
        if tensor.type == TensorType.INT8:  # a scale for each output, or one for all; zero is 0
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
    """The network of a checkpoint folder, which answers as the file does, and learns as the network it was made of.

    Args:
        folder: A checkpoint of `training.export`, of ResNet50V2.
        train: Pictures of the size it takes; augmented, they give batch normalization its statistics.
        seed: Of which pictures, and of their augmentation.

    Raises:
        CheckpointError: The folder is no checkpoint, or its file no model.
        DataError: It is none of ResNet50V2, or has not both heads.
    """
    checkpoint, config = read(folder), read_config(folder)
    EmotionClassifier(checkpoint)  # LiteRT checks the file, which is then read without any check
    share = config.get("fer2013_share")
    if config.get("model") != "resnet50v2" or not isinstance(share, int | float) or not 0 <= share < 1:
        raise DataError(f"{folder} is no ResNet50V2 of training.export that has both heads, as this needs")
    try:
        weights = served_weights(checkpoint.model_file)
        network = build_resnet50v2(checkpoint.input_size, int(weights["enlarge", "size"][0]), weights=None)
        _set_weights(network, weights, share)
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(f"{checkpoint.model_file} is no ResNet50V2 of training.export: {error}") from error
    _measure_statistics(network, train, np.random.default_rng(seed))
    return network


def _normalizations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _set_weights(network: keras.Model, weights: Weights, share: float) -> None:
    """Set all weights, batch normalization's so that it scales and shifts, and no more."""
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
            scale = np.maximum(norm, 1e-3 * norm.mean()) / np.hypot(np.sqrt(2 / fans), LEARNT)
            convolution.set_weights([kernel / scale])
        layer.set_weights([scale, shift, np.zeros_like(scale), np.full_like(scale, 1 - layer.epsilon)])
    fer2013, blended = ([weights[name, kind] for kind in ("kernel", "bias")] for name in ("fer2013_logits", "logits"))
    network.get_layer(HEADS[0]).set_weights(fer2013)
    ferplus = [(both - share * one) / (1 - share) for both, one in zip(blended, fer2013, strict=True)]
    network.get_layer(HEADS[1]).set_weights(ferplus)


def _measure_statistics(network: keras.Model, train: Split, rng: np.random.Generator) -> None:
    """Have batch normalization do what it does by the mean and variance of what comes in, as it does in training.

    Layer by layer, each fed by those before it as they answer in training, by a batch's own statistics: what the served
    network makes of a few pictures is so far out that they would rule the variance of its deepest layers.
    """
    augment = RECIPES["resnet50v2"]["default"][-1].augmentation
    batches = []
    for _ in range(BATCHES):
        rows = rng.choice(len(train), min(BATCH, len(train)), replace=False)
        batches.append(keras.ops.convert_to_tensor(augment(train.images[rows], rng)[..., None]))
    outputs = {id(network.input): batches}
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    last = {id(tensor): layer for layer in layers for tensor in _inputs(layer)}  # to need it
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
    """Set a layer's statistics by these batches, its own scale to 1 in the median; what it makes of each batch.

    A scale starts at 1 and moves little: what is measured far from that is the fault of a few pictures.
    """
    scale, shift, *_ = layer.get_weights()
    moments = [keras.ops.moments(batch, axes=(0, 1, 2)) for batch in batches]
    mean, variance = (
        np.mean([keras.ops.convert_to_numpy(m) for m in which], axis=0) for which in zip(*moments, strict=True)
    )
    gamma = scale * np.sqrt(variance + layer.epsilon)
    gamma /= np.median(gamma)
    beta = shift + scale * mean
    given = np.divide(gamma, scale, out=np.ones_like(scale), where=scale != 0)  # the deviation that makes it scale so
    layer.set_weights([gamma, beta, mean, np.maximum(given**2 - layer.epsilon, 0)])
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
    add("--checkpoint", type=Path, required=True, help="a folder of training.export, of ResNet50V2")
    add("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    add("--out", type=Path, required=True, help="the .keras file to write")
    args = parser.parse_args(argv)
    if args.out.suffix != ".keras":
        parser.error(f"--out {args.out}: the name must end in .keras")
    try:
        splits = load(args.dataset, read(args.checkpoint).input_size)
        if not len(splits.get("train", ())):
            raise DataError(f"{args.dataset} has no training pictures")
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
