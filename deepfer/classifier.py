"""EmotionClassifier: turns face crops into calibrated probabilities with a checkpoint's LiteRT model."""

from __future__ import annotations

import math
from queue import Empty, SimpleQueue
from typing import Any

import cv2
import numpy as np

from deepfer.alignment import resize_crop
from deepfer.checkpoint import EMBEDDED, Checkpoint
from deepfer.errors import CheckpointError
from deepfer.face import LABELS
from deepfer.interpreter import QuietInterpreter
from deepfer.limits import MAX_TENSOR_BYTES
from deepfer.model_probe import probe
from deepfer.text import first_line

HEADS = {"served": "logits", "fer2013": "fer2013_logits"}  # our name of each head's output
MAX_OUTPUT = 1e30  # only corrupt weights give larger values or NaN


class EmotionClassifier:
    """Classifies face crops; safe to call from many threads.

    Crops are classified one by one, so a result never depends on the rest of the batch, and the interpreter is never
    resized for another number of faces.
    """

    labels = LABELS

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the model.

        Raises:
            CheckpointError: It is not a LiteRT model, or does not match its config.
        """
        self.checkpoint = checkpoint
        self.input_size = checkpoint.input_size
        # An interpreter serves one call at a time. Another one is made only when none is idle, so there are never more
        # interpreters than simultaneous calls.
        self._idle: SimpleQueue[_Runner] = SimpleQueue()
        self._content = checkpoint.model_file.read_bytes()
        self._columns = [checkpoint.labels.index(label) for label in LABELS]
        if checkpoint.folder.parent != EMBEDDED:
            probe(_Runner, self._content, checkpoint, file=checkpoint.model_file)
        self._idle.put(_Runner(self._content, checkpoint))

    def predict(self, crops: np.ndarray, head: str = "served") -> np.ndarray:
        """Probabilities of the seven labels for each crop.

        Args:
            crops: uint8 `(N, H, W)` gray or `(N, H, W, 3)` RGB, of any size.
            head: "served", or "fer2013" for the head trained on FER2013's labels alone.

        Returns:
            float32 `(N, 7)`, columns in the order of `LABELS`, rows summing to 1.

        Raises:
            ValueError: The crops have another dtype or shape, or the model does not have this head.
            CheckpointError: The model is corrupt: its outputs are not finite.
        """
        output = HEADS.get(head, "")
        if output not in self.checkpoint.outputs:
            raise ValueError(f"this model has no head {head!r}; the heads are {', '.join(HEADS)}")
        (logits,) = self._run(crops, (output,))
        return softmax(logits / self.checkpoint.temperature[output])

    def logits(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """The logits of every head, before temperature and softmax, in one pass, for evaluation.

        Args:
            crops: As for `predict`.

        Returns:
            A dict from each head to its logits, float32 `(N, 7)`.

        Raises:
            ValueError: The crops have another dtype or shape.
            CheckpointError: The model is corrupt: its outputs are not finite.
        """
        heads = {head: output for head, output in HEADS.items() if output in self.checkpoint.outputs}
        return dict(zip(heads, self._run(crops, tuple(heads.values())), strict=True))

    def explain(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and the class activation maps that explain them.

        Args:
            crops: As for `predict`.

        Returns:
            Probabilities `(N, 7)`, and class activation maps float32 `(N, h, w, 7)` (Zhou et al. 2016): each cell's
            contribution to each label's logit, which is the mean over the cells.

        Raises:
            ValueError: The crops have another dtype or shape, or the model has no activation maps.
            CheckpointError: The model is corrupt: its outputs are not finite.
        """
        if "activation_map" not in self.checkpoint.outputs:
            raise ValueError("this model has no activation maps")
        logits, maps = self._run(crops, ("logits", "activation_map"))
        return softmax(logits / self.checkpoint.temperature["logits"]), maps

    def _run(self, crops: np.ndarray, outputs: tuple[str, ...]) -> list[np.ndarray]:
        pixels = self.prepare(crops)
        try:
            runner = self._idle.get_nowait()
        except Empty:
            runner = _Runner(self._content, self.checkpoint)
        try:
            rows = [runner(pixels[i : i + 1], outputs) for i in range(len(pixels))]
        finally:
            self._idle.put(runner)
        empty = [np.empty((0, *runner.shapes[name]), np.float32) for name in outputs]
        columns = [np.concatenate(values) for values in zip(empty, *rows, strict=True)]
        return [values[..., self._columns] for values in columns]

    def prepare(self, crops: np.ndarray) -> np.ndarray:
        """Convert crops to the model's input: float32 `(N, S, S, C)`, 0 to 255.

        Raises:
            ValueError: The crops have another dtype or shape.
        """
        crops = np.asarray(crops)
        colour = crops.ndim == 4 and crops.shape[3] == 3
        if crops.dtype != np.uint8 or not (crops.ndim == 3 or colour) or 0 in crops.shape[1:]:
            raise ValueError(f"crops must be uint8 (N, H, W) or (N, H, W, 3), got {crops.dtype} {crops.shape}")
        size, channels = self.checkpoint.input_size, self.checkpoint.channels
        out = np.empty((len(crops), size, size, channels), np.float32)
        for crop, target in zip(crops, out, strict=True):
            crop = resize_crop(crop, size)
            if colour and channels == 1:
                crop = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
            target[:] = crop if crop.ndim == 3 else crop[..., None]
        return out


class _Runner:
    """An interpreter with batch size 1 and one thread, which is fastest on shared hosts."""

    def __init__(self, content: bytes, checkpoint: Checkpoint) -> None:
        self._file = checkpoint.model_file
        expected = (1, checkpoint.input_size, checkpoint.input_size, checkpoint.channels)
        try:
            self._interpreter = QuietInterpreter(model_content=content, num_threads=1)
            self._check_size(checkpoint)  # with the shapes in the file
            self._interpreter.allocate_tensors()
            self._check_size(checkpoint)  # with the computed shapes; this memory is not in use yet
            (signature,) = self._interpreter.get_signature_list() or [None]
            runner = self._interpreter.get_signature_runner(signature)
            inputs, available = list(runner.get_input_details().values()), runner.get_output_details()
            outputs = {int(details["index"]) for details in self._interpreter.get_output_details()}
        except (ValueError, RuntimeError, TypeError) as error:  # LiteRT's, for a damaged or foreign file
            raise CheckpointError(f"{checkpoint.model_file} is not a LiteRT model: {first_line(error)}") from error
        if len(inputs) != 1 or tuple(inputs[0]["shape"]) != expected or inputs[0]["dtype"] != np.float32:
            raise CheckpointError(f"{checkpoint.model_file} does not take float32 {expected}, as its config says")
        self._input = inputs[0]["index"]
        self._outputs: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, own_name in checkpoint.outputs.items():
            details: dict[str, Any] = available.get(own_name, {"shape": (), "index": -1})
            shape = tuple(int(n) for n in details["shape"])
            # The memory of a tensor that is not an output of the graph may have been reused.
            matches = len(shape) == (4 if name == "activation_map" else 2) and shape[-1] == len(LABELS)
            if details["index"] not in outputs or not matches:
                raise CheckpointError(f"{checkpoint.model_file} has no output {own_name!r} of {len(LABELS)} labels")
            self._outputs[name], self.shapes[name] = details["index"], shape[1:]
        del runner  # it holds a reference that stops the interpreter from running
        try:
            self(np.zeros(expected, np.float32), tuple(self._outputs))
        except (ValueError, RuntimeError) as error:  # it loads, but its graph is invalid
            raise CheckpointError(f"{checkpoint.model_file} does not run: {first_line(error)}") from error

    def _check_size(self, checkpoint: Checkpoint) -> None:
        tensors = self._interpreter.get_tensor_details()
        size = sum(math.prod(map(int, t["shape"])) * np.dtype(t["dtype"]).itemsize for t in tensors)
        if size > MAX_TENSOR_BYTES:
            raise CheckpointError(
                f"{checkpoint.model_file} needs {size:,} bytes of memory; the limit is {MAX_TENSOR_BYTES:,}"
            )

    def __call__(self, pixels: np.ndarray, outputs: tuple[str, ...]) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        values = [self._interpreter.get_tensor(self._outputs[name]) for name in outputs]
        if any(value.shape != (1, *self.shapes[name]) for name, value in zip(outputs, values, strict=True)):
            raise CheckpointError(f"{self._file}: corrupt model: outputs do not have the declared shapes")
        if not all((np.abs(value) < MAX_OUTPUT).all() for value in values):
            raise CheckpointError(f"{self._file}: corrupt model: outputs are not finite")
        return values


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits `(N, K)` to probabilities `(N, K)`, float32."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
