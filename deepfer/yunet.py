"""YuNet (Wu et al. 2023), converted from its ONNX file to LiteRT, which runs it faster than OpenCV does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as litert

from deepfer.grid_network import STRIDES, GridNetwork

Operations = litert.BuiltinOperator


def load_yunet(path: str | Path) -> GridNetwork:
    """Read YuNet's weights from its `.onnx` file.

    Raises:
        ValueError: The file is not YuNet in float32.
    """
    try:
        model = _litert(_weights(path))
    except cv2.error as error:
        raise ValueError(f"{path} cannot be read") from error
    return GridNetwork(model, decode, padding=1)  # the first convolution reads a pixel beyond the image


def decode(grid: np.ndarray, stride: int, threshold: float) -> np.ndarray:
    """The rows of `GridNetwork.detect` from the cells of a grid `(h, w, 16)` with a high enough score.

    A cell contains two logits (the score is the geometric mean of their probabilities), the box's centre in strides,
    the logarithms of its sides, and the landmarks.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # corrupt weights overflow
        score = 1 / np.sqrt((1 + np.exp(-grid[..., 0])) * (1 + np.exp(-grid[..., 1])))
        y, x = np.nonzero(score >= threshold)
        cell, place = grid[y, x], np.stack([x, y], axis=1)
        sides = np.exp(cell[:, 4:6])
        corner = place + cell[:, 2:4] - sides / 2
        points = cell[:, 6:] + np.tile(place, 5)
        found = stride * np.concatenate([corner, sides, points], axis=1)
    return np.concatenate([found, score[y, x, None]], axis=1, dtype=np.float32)


# --- the network ------------------------------------------------------------------------------------------------------

# A unit is a pointwise and a depthwise convolution; the pairs are input and output channels.
STEM = (3, 16)
BACKBONE = ((16, 16), (16, 16), (16, 32), (32, 32), (32, 64), *((64, 64),) * 6)
POOLED_BEFORE = (1, 5, 7, 9)  # units of the backbone, counted from 0
NECK = ((64, 64),) * 3  # from the coarsest stride to the finest
HEAD_CHANNELS = (1, 4, 1, 10)  # at each stride: a logit, a box, another logit, landmarks


def _weights(path: str | Path) -> dict[str, Any]:
    """Kernels and biases of the convolutions, by part of the network."""
    net = cv2.dnn.readNetFromONNX(str(path))
    layers = [net.getLayer(net.getLayerId(name)) for name in net.getLayerNames()]
    convolutions = iter([layer.blobs for layer in layers if layer.type == "Convolution"])

    def take(*shape: int) -> tuple[np.ndarray, np.ndarray]:
        kernel, bias = next(convolutions, (np.empty(0), np.empty(0)))
        if kernel.shape != shape or bias.size != shape[0] or kernel.dtype != np.float32:
            raise ValueError(f"{path} is not YuNet")
        return kernel, bias.ravel()

    def unit(channels: int, out: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [take(out, channels, 1, 1), take(out, 1, 3, 3)]

    found = {
        "stem": take(STEM[1], STEM[0], 3, 3),
        "backbone": [unit(*channels) for channels in BACKBONE],
        "neck": [unit(*channels) for channels in NECK],
    }
    heads = [[unit(NECK[0][1], out) for _ in STRIDES] for out in HEAD_CHANNELS]
    if next(convolutions, None) is not None:
        raise ValueError(f"{path} is not YuNet")
    order = heads[0], heads[2], heads[1], heads[3]  # the logits first
    # All heads of a stride are joined into one unit: fewer and larger operations.
    found["heads"] = [
        [tuple(np.concatenate([head[i][layer][part] for head in order]) for part in range(2)) for layer in range(2)]
        for i in range(len(STRIDES))
    ]
    return found


def _litert(weights: dict[str, Any]) -> bytes:
    """The network as a LiteRT model that can be resized, because no operation contains the image's size.

    Its input is RGB float32 `(1, H + 1, W + 1, 3)`, 0 to 255, padded above and to the left. Its output for each stride
    is `(1, H / stride, W / stride, 16)`.
    """
    graph = _Graph()
    kernel, bias = weights["stem"]
    pixels = graph.tensor((1, 2 * STRIDES[-1] + 1, 2 * STRIDES[-1] + 1, STEM[0]))
    x = graph.convolution(pixels, kernel[:, ::-1], bias, stride=2, relu=True)  # the file is for BGR
    levels = []
    for number, unit in enumerate(weights["backbone"]):
        if number in POOLED_BEFORE:
            levels.append(x)
            x = graph.pool(x)
        x = graph.unit(x, unit)
    levels = [*levels[-2:], x]
    answers: list[int] = []
    for level, neck, heads in zip(levels[::-1], weights["neck"], weights["heads"][::-1], strict=True):
        x = graph.unit(level if not answers else graph.add(level, graph.enlarge(x)), neck)
        answers.append(graph.unit(x, heads, relu=False))
    return graph.pack(pixels, answers[::-1])


class _Graph:
    """A LiteRT model under construction."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers = [litert.BufferT()]  # the first one must be empty
        self._operators: list[Any] = []
        self._codes: list[int] = []

    def tensor(self, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
        made = litert.TensorT()
        made.shape, made.type, made.buffer = list(shape), litert.TensorType.FLOAT32, 0
        if data is not None:
            buffer = litert.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, "<f4").tobytes(), np.uint8)
            made.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(made)
        return len(self._tensors) - 1

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._tensors[tensor].shape)

    def operation(self, name: str, inputs: list[int], shape: tuple[int, ...], **options: int) -> int:
        """Add an operation; `name` is the prefix of its options class in LiteRT. Returns the output tensor."""
        code = {
            "Conv2D": Operations.CONV_2D,
            "DepthwiseConv2D": Operations.DEPTHWISE_CONV_2D,
            "Pool2D": Operations.MAX_POOL_2D,
            "Concatenation": Operations.CONCATENATION,
            "DepthToSpace": Operations.DEPTH_TO_SPACE,
            "Add": Operations.ADD,
        }[name]
        if code not in self._codes:
            self._codes.append(code)
        made = litert.OperatorT()
        made.opcodeIndex = self._codes.index(code)
        made.inputs, made.outputs = inputs, [self.tensor(shape)]
        made.builtinOptionsType = getattr(litert.BuiltinOptions, f"{name}Options")
        made.builtinOptions = getattr(litert, f"{name}OptionsT")()
        for option, value in options.items():
            setattr(made.builtinOptions, option, value)
        self._operators.append(made)
        return int(made.outputs[0])

    def convolution(self, x: int, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, relu: bool = False) -> int:
        """Pads to keep the size, unless there is a stride. Kernels are ordered as in ONNX: out, in, height, width."""
        _, height, width, channels = self.shape(x)
        depthwise = kernel.shape[1] == 1 < channels
        options = {
            "padding": litert.Padding.VALID if stride > 1 else litert.Padding.SAME,
            "strideW": stride,
            "strideH": stride,
            "fusedActivationFunction": getattr(litert.ActivationFunctionType, "RELU" if relu else "NONE"),
            **({"depthMultiplier": 1} if depthwise else {}),
            "dilationWFactor": 1,
            "dilationHFactor": 1,
        }
        kernel = kernel.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        inputs = [x, self.tensor(kernel.shape, kernel), self.tensor(bias.shape, bias)]
        name = "DepthwiseConv2D" if depthwise else "Conv2D"
        return self.operation(name, inputs, (1, height // stride, width // stride, len(bias)), **options)

    def unit(self, x: int, layers: list[tuple[np.ndarray, np.ndarray]], relu: bool = True) -> int:
        return self.convolution(self.convolution(x, *layers[0]), *layers[1], relu=relu)

    def pool(self, x: int) -> int:
        _, height, width, channels = self.shape(x)
        window = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2, "padding": litert.Padding.VALID}
        return self.operation("Pool2D", [x], (1, height // 2, width // 2, channels), **window)

    def enlarge(self, x: int) -> int:
        """Upscale by 2, without an operation that contains the size."""
        _, height, width, channels = self.shape(x)
        four = self.operation("Concatenation", [x] * 4, (1, height, width, 4 * channels), axis=3)
        return self.operation("DepthToSpace", [four], (1, 2 * height, 2 * width, channels), blockSize=2)

    def add(self, a: int, b: int) -> int:
        return self.operation("Add", [a, b], self.shape(a))

    def pack(self, pixels: int, answers: list[int]) -> bytes:
        """The model file with the given input and outputs."""
        graph = litert.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = [pixels], answers
        model = litert.ModelT()
        model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, self._buffers, [graph], []
        for code in self._codes:
            made = litert.OperatorCodeT()
            made.builtinCode, made.deprecatedBuiltinCode, made.version = code, code, 1
            model.operatorCodes.append(made)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
