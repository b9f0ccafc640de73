"""PhotoAnalysis: the faces of one photo, with what the page shows of them."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer import LABELS, DeepFERError, EmotionRecognizer, draw_faces
from deepfer.result import Result
from ui.uploads import read_upload

SHOWN_SIDE = 2048  # pixels of a shown photo's longer side: enough for any screen


@dataclass(frozen=True)
class PhotoAnalysis:
    """The faces of one photo.

    Attributes:
        result: The result that the command line would report; its path is the file's name.
        rgb: The photo, scaled to at most `SHOWN_SIDE`: RGB uint8 `(H, W, 3)`.
        crops: For each face, the classifier's input, as `EmotionRecognizer.crop` returns it.
        maps: For each face, the class activation map of its emotion, float32 `(h, w)`; empty if the model has none.
        seconds: Time that detection, alignment and classification took.
    """

    result: Result
    rgb: np.ndarray
    crops: list[np.ndarray]
    maps: list[np.ndarray]
    seconds: float

    def draw(self) -> np.ndarray:
        """The scaled photo with its faces drawn onto it, so that the text is legible at that size."""
        height, width = self.rgb.shape[:2]
        scale = width / (self.result.width or width), height / (self.result.height or height)
        return draw_faces(self.rgb, [face.scaled(*scale) for face in self.result.faces])


def analyze(recognizer: EmotionRecognizer, upload: dict[str, Any]) -> PhotoAnalysis:
    """Recognize the faces in an uploaded photo.

    Args:
        recognizer: Recognizes them.
        upload: Gradio's record of the file, which the client may have forged.

    Raises:
        ImageError: It is not an upload, or not an image that can be read. The message names the file without its
            folder.
    """
    name, rgb = read_upload(upload)
    start = time.perf_counter()
    faces = recognizer.recognize(rgb)
    seconds = time.perf_counter() - start
    crops = [recognizer.crop(rgb, face) for face in faces]
    maps = []
    if crops and "activation_map" in recognizer.classifier.checkpoint.outputs:
        _, all_maps = recognizer.classifier.explain(np.stack(crops))
        maps = [cells[..., LABELS.index(face.emotion)] for face, cells in zip(faces, all_maps, strict=True)]
    height, width = rgb.shape[:2]
    result = Result(name, *recognizer.provenance, width, height, faces)
    return PhotoAnalysis(result, _shrink(rgb), crops, maps, seconds)


def failed(recognizer: EmotionRecognizer, upload: dict[str, Any], error: DeepFERError) -> Result:
    """The result of a photo that could not be processed. Its error is a `Message`, which `explain` translates."""
    return Result(Path(upload.get("path") or "photo").name, *recognizer.provenance, error=error.args[0])


def _shrink(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    if scale >= 1:
        return rgb
    return cv2.resize(rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
