"""GridNetwork: a LiteRT model that predicts for each cell of three grids over an image whether a face is there."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np

from deepfer.interpreter import QuietInterpreter

STRIDES = (8, 16, 32)  # pixels per cell of each grid; the network's input sides are multiples of the last
COLUMNS = 15  # numbers per detection: box (x, y, width, height), five landmarks (x, y), score
OVERLAP = 0.3  # intersection over union above which the weaker of two boxes is suppressed
SMALL_PIXELS = 256 * 256  # up to this image size, an interpreter of a few megabytes is kept for each shape
MAX_SMALL = 4  # the number of such interpreters
MAX_THREADS = 4  # the layers are too small to keep more threads busy
FAR = 1e6  # pixels: only corrupt weights give coordinates beyond this
MAX_CANDIDATES = 5000  # cells compared with each other, which bounds the time in highly textured images

Decode = Callable[[np.ndarray, int, float], np.ndarray]


class GridNetwork:
    """A detector network for any input size. It is safe to call from many threads, but runs in one at a time."""

    def __init__(self, model: bytes, decode: Decode, padding: int = 0) -> None:
        """Load the model.

        Args:
            model: A LiteRT file that maps RGB float32 `(1, H, W, 3)`, 0 to 255, to a grid per stride, `(1, h, w, C)`.
            decode: Converts a grid `(h, w, C)`, its stride and a minimum score to rows float32 `(N, 15)`, in pixels.
            padding: Rows above and columns to the left of the image in the model's input.

        Raises:
            ValueError: LiteRT cannot load it.
        """
        self._model, self._decode, self._padding = model, decode, padding
        self._lock = threading.Lock()  # an interpreter serves one call at a time
        self._large = _Runner(model, padding)
        self._small: dict[tuple[int, ...], _Runner] = {}  # by shape, the least recently used first

    def detect(self, rgb: np.ndarray, threshold: float) -> np.ndarray:
        """Candidates for faces, best first.

        Args:
            rgb: uint8 `(H, W, 3)`.
            threshold: The minimum score.

        Returns:
            float32 `(N, 15)`: x, y, width and height of the box, x and y of right eye, left eye, nose, right and left
            corner of the mouth, score; in pixels.

        Raises:
            MemoryError: There is too little memory for an image of this size.
        """
        cells = zip(self.grids(rgb), STRIDES, strict=True)
        rows = np.concatenate([self._decode(grid, stride, threshold) for grid, stride in cells])
        rows = rows[(np.abs(rows) < FAR).all(axis=1)]
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), threshold, OVERLAP, 1.0, MAX_CANDIDATES)
        return rows[np.asarray(kept, int)]

    def grids(self, rgb: np.ndarray) -> list[np.ndarray]:
        """The network's output for an RGB uint8 `(H, W, 3)` image: a grid `(h, w, C)` for each stride, finest first.

        Raises:
            MemoryError: There is too little memory for an image of this size.
        """
        height, width = rgb.shape[:2]
        pad, step = self._padding, STRIDES[-1]
        shape = 1, pad + -(-height // step) * step, pad + -(-width // step) * step, 3
        with self._lock:
            try:
                grids = self._runner(shape)(rgb, shape)
            except (RuntimeError, MemoryError) as error:  # LiteRT raises RuntimeError if an allocation fails
                self._small.clear()
                self._large = _Runner(self._model, pad)  # the old interpreter may be partly resized
                raise MemoryError(f"too little memory to detect faces in {width}x{height}") from error
        return sorted(grids, key=lambda grid: -len(grid))  # a file may list its outputs in any order

    def _runner(self, shape: tuple[int, ...]) -> _Runner:
        """The interpreter for this shape. Resizing one takes longer than running it on a small image."""
        if shape[1] * shape[2] > SMALL_PIXELS:
            return self._large
        runner = self._small.pop(shape, None)
        if runner is None:
            oldest = next(iter(self._small)) if len(self._small) == MAX_SMALL else None
            runner = self._small.pop(oldest) if oldest else _Runner(self._model, self._padding)
        self._small[shape] = runner
        return runner


class _Runner:
    """An interpreter with as many threads as OpenCV uses, but at most `MAX_THREADS`."""

    def __init__(self, model: bytes, padding: int) -> None:
        threads = min(max(1, cv2.getNumThreads()), MAX_THREADS)
        self._interpreter = QuietInterpreter(model_content=model, num_threads=threads)
        self._padding = padding
        given = self._interpreter.get_input_details()[0]
        if given["dtype"] != np.float32:
            raise ValueError("its input is not float32")
        self._input = given["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self._shape: tuple[int, ...] = ()

    def __call__(self, rgb: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
        """The grids `(h, w, C)` for an image that fits into an input of `shape`, in the file's order."""
        if self._shape != shape:
            self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()
            self._shape = shape
        self._fill(rgb)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]

    def _fill(self, rgb: np.ndarray) -> None:
        """Write the image into the input. LiteRT reuses its memory in between, so the padding is written every time."""
        (height, width), pad = rgb.shape[:2], self._padding
        pixels = self._interpreter.tensor(self._input)()[0]  # in place: a copy of a photo takes several megabytes
        pixels[:pad] = pixels[:, :pad] = 0
        pixels[pad : height + pad, pad : width + pad] = rgb
        pixels[height + pad :] = pixels[:, width + pad :] = 0
