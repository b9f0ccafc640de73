"""EmotionClassifier: face crops -> calibrated probabilities, by a checkpoint's LiteRT model."""

from __future__ import annotations

import math
from queue import Empty, SimpleQueue
from typing import Any

import cv2
import numpy as np

from deepfer.checkpoint import EMBEDDED, Checkpoint
from deepfer.errors import CheckpointError
from deepfer.face import LABELS
from deepfer.interpreter import load_interpreter
from deepfer.limits import MAX_TENSOR_BYTES
from deepfer.model_probe import probe

HEADS = {"served": "logits", "fer2013": "fer2013_logits"}  # each head -> our name of its output
LARGEST = 1e30  # of a logit: larger ones, or NaN, come of damaged weights


class EmotionClassifier:
    """Classifies face crops; safe to call from many threads.

    A crop is classified on its own, whatever it is batched with: its answer never depends on its companions, and no
    time goes into resizing the interpreter for each number of faces.
    """

    labels = LABELS

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the model.

        Raises:
            CheckpointError: It is no LiteRT model, or not one of the shape that its config tells.
        """
        self.checkpoint = checkpoint
        self.input_size = checkpoint.input_size
        # An interpreter serves one call at a time. Idle ones wait here; a new one is made only when none is idle, so
        # there are never more than calls at once.
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
            ValueError: Crops of another dtype or shape, or a head that the model does not have.
            CheckpointError: The model's answer is no number.
        """
        output = HEADS.get(head, "")
        if output not in self.checkpoint.outputs:
            raise ValueError(f"no head {head!r} in this model: it is one of {', '.join(HEADS)}")
        (logits,) = self._run(crops, (output,))
        return softmax(logits / self.checkpoint.temperature[output])

    def logits(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """Every head that the model has in one pass, before temperature and softmax: to measure, not to show.

        Args:
            crops: As for `predict`.

        Returns:
            Head to float32 `(N, 7)`.

        Raises:
            ValueError: Crops of another dtype or shape.
            CheckpointError: The model's answer is no number.
        """
        heads = {head: output for head, output in HEADS.items() if output in self.checkpoint.outputs}
        return dict(zip(heads, self._run(crops, tuple(heads.values())), strict=True))

    def explain(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and where in each crop they come from.

        Args:
            crops: As for `predict`.

        Returns:
            Probabilities `(N, 7)`, and class activation maps float32 `(N, h, w, 7)` (Zhou et al. 2016): each cell's
            contribution to each label's logit, which is the mean over the cells.

        Raises:
            ValueError: Crops of another dtype or shape, or a model without activation maps.
            CheckpointError: The model's answer is no number.
        """
        if "activation_map" not in self.checkpoint.outputs:
            raise ValueError("this model gives no activation maps")
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
        shapes = [runner.shapes[name] for name in outputs]
        found = [
            np.concatenate([row[i] for row in rows]) if rows else np.empty((0, *shape), np.float32)
            for i, shape in enumerate(shapes)
        ]
        return [values[..., self._columns] for values in found]

    def prepare(self, crops: np.ndarray) -> np.ndarray:
        """Crops as the model takes them: float32 `(N, S, S, C)`, 0 to 255.

        Raises:
            ValueError: Crops of another dtype or shape.
        """
        crops = np.asarray(crops)
        colour = crops.ndim == 4 and crops.shape[3] == 3
        if crops.dtype != np.uint8 or not (crops.ndim == 3 or colour) or 0 in crops.shape[1:]:
            raise ValueError(f"crops must be uint8 (N, H, W) or (N, H, W, 3); these are {crops.dtype} {crops.shape}")
        size, channels = self.checkpoint.input_size, self.checkpoint.channels
        out = np.empty((len(crops), size, size, channels), np.float32)
        for crop, target in zip(crops, out, strict=True):
            if crop.shape[:2] != (size, size):
                shrinks = min(crop.shape[:2]) > size
                crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            if colour and channels == 1:
                crop = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
            target[:] = crop if crop.ndim == 3 else crop[..., None]
        return out


class _Runner:
    """One interpreter, at batch size 1 and on one thread: the fastest on shared hosts."""

    def __init__(self, content: bytes, checkpoint: Checkpoint) -> None:
        self._file = checkpoint.model_file
        expected = (1, checkpoint.input_size, checkpoint.input_size, checkpoint.channels)
        try:
            self._interpreter = load_interpreter(content, threads=1)
            self._check_size(checkpoint)  # as the file claims
            self._interpreter.allocate_tensors()
            self._check_size(checkpoint)  # as its operations make of it; nothing has touched that memory yet
            (signature,) = self._interpreter.get_signature_list() or [None]
            runner = self._interpreter.get_signature_runner(signature)
            inputs, found = list(runner.get_input_details().values()), runner.get_output_details()
            kept = {int(details["index"]) for details in self._interpreter.get_output_details()}
        except (ValueError, RuntimeError, TypeError) as error:  # the interpreter's, for a damaged or foreign file
            raise CheckpointError(
                f"{checkpoint.model_file} is no LiteRT model: {str(error).splitlines()[0]}"
            ) from error
        if len(inputs) != 1 or tuple(inputs[0]["shape"]) != expected or inputs[0]["dtype"] != np.float32:
            raise CheckpointError(f"{checkpoint.model_file} does not take float32 {expected}, as its config tells")
        self._input = inputs[0]["index"]
        self._outputs: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, own_name in checkpoint.outputs.items():
            details: dict[str, Any] = found.get(own_name, {"shape": (), "index": -1})
            shape = tuple(int(n) for n in details["shape"])
            # Of a tensor that is none of the graph's outputs, the memory may have gone to others.
            form = len(shape) == (4 if name == "activation_map" else 2) and shape[-1] == len(LABELS)
            if details["index"] not in kept or not form:
                raise CheckpointError(f"{checkpoint.model_file} has no output {own_name!r} of {len(LABELS)} labels")
            self._outputs[name], self.shapes[name] = details["index"], shape[1:]
        del runner  # the interpreter runs only while nobody else holds it
        try:
            self(np.zeros(expected, np.float32), tuple(self._outputs))
        except (ValueError, RuntimeError) as error:  # it could be loaded, but its graph leads nowhere
            raise CheckpointError(f"{checkpoint.model_file} does not run: {str(error).splitlines()[0]}") from error

    def _check_size(self, checkpoint: Checkpoint) -> None:
        tensors = self._interpreter.get_tensor_details()
        size = sum(math.prod(map(int, t["shape"])) * np.dtype(t["dtype"]).itemsize for t in tensors)
        if size > MAX_TENSOR_BYTES:
            raise CheckpointError(
                f"{checkpoint.model_file} asks for {size:,} bytes of memory; {MAX_TENSOR_BYTES:,} are given"
            )

    def __call__(self, pixels: np.ndarray, outputs: tuple[str, ...]) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        answers = [self._interpreter.get_tensor(self._outputs[name]) for name in outputs]
        if any(answer.shape != (1, *self.shapes[name]) for name, answer in zip(outputs, answers, strict=True)):
            raise CheckpointError(f"{self._file} is damaged: it answers in other shapes than it says")
        if not all((np.abs(answer) < LARGEST).all() for answer in answers):
            raise CheckpointError(f"{self._file} is damaged: it answers with numbers past all bounds, or with none")
        return answers


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits `(N, K)` to probabilities `(N, K)`, float32."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
