"""Comparison: the faces of one photo as each model labels them, side by side, on the model tab."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np

from deepfer import LABELS, EmotionClassifier, EmotionRecognizer, Face, ImageError
from deepfer.checkpoint import Checkpoint
from ui.components import render
from ui.cores import usable_cores
from ui.jpeg import jpeg_uri
from ui.language import _, explain, label, of_request, speaking, static
from ui.uploads import read_upload

EXAMPLE = Path(__file__).parent / "examples" / "astronaut.jpg"
MAX_FACES = 8  # shown, largest first: a comparison needs no crowd
THUMBNAIL = 56  # pixels, as in model.css


class Answer(NamedTuple):
    """What one model says about the faces of a photo: the faces, and the time to classify them."""

    faces: list[Face]
    seconds: float


class Comparison:
    """The page's own model and others. Each of the others is loaded when it is first needed, and then kept.

    Args:
        recognizer: The page's own. Its detector finds the faces, once for all models.
        others: The other models' checkpoints.
    """

    def __init__(self, recognizer: EmotionRecognizer, others: Sequence[Checkpoint]) -> None:
        self._recognizer = recognizer
        self._others = others
        self._loaded: list[EmotionRecognizer] = []
        self._lock = threading.Lock()

    def _recognizers(self) -> list[EmotionRecognizer]:
        with self._lock:  # otherwise two visitors at once would load a model twice
            for checkpoint in self._others[len(self._loaded) :]:
                self._loaded.append(EmotionRecognizer(EmotionClassifier(checkpoint), self._recognizer.detector))
        return [self._recognizer, *self._loaded]

    def answers(self, rgb: np.ndarray) -> list[Answer]:
        """What each model says about the largest faces, the page's own model first.

        Args:
            rgb: RGB uint8 `(H, W, 3)`.
        """
        found = self._recognizer.detector.detect(rgb)[:MAX_FACES]
        answers = []
        for recognizer in self._recognizers():
            crops = [recognizer.crop(rgb, face) for face in found]
            start = time.perf_counter()
            rows = recognizer.classifier.predict(np.stack(crops)) if crops else ()
            seconds = time.perf_counter() - start
            faces = [
                replace(face, probabilities=dict(zip(LABELS, map(float, row), strict=True)))
                for face, row in zip(found, rows, strict=True)
            ]
            answers.append(Answer(faces, seconds))
        return answers


def add_comparison(comparison: Comparison, titles: Sequence[str]) -> None:
    """Add the photo and the answers to the surrounding tab.

    Args:
        comparison: Labels the faces.
        titles: The models' names in words.
    """

    def compare(photo: dict[str, Any] | None, request: gr.Request) -> str:
        with speaking(of_request(request)):
            if photo is None:
                return empty_html()
            try:
                rgb = read_upload(photo)[1]
            except ImageError as error:
                return render("error.html", title=_("This photo could not be processed"), message=explain(error))
            return comparison_html(rgb, comparison.answers(rgb), titles)

    gr.HTML(static(lambda: render("heading.html", text=_("Try the models on one photo"))), apply_default_css=False)
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            photo = gr.Image(
                label=label("Your photo"),
                sources=["upload"],
                height=220,
                placeholder=label("Drop a photo here\n- or -\nClick to choose one"),
                buttons=[],
                elem_id="compared",
            )
            example = gr.Button(label("Use the astronaut example"), size="sm", elem_id="compared-example")
        with gr.Column(scale=2, min_width=300):
            output = gr.HTML(static(empty_html), apply_default_css=False, elem_id="comparison")
    example.click(lambda: str(EXAMPLE), None, photo, show_progress="hidden", api_visibility="private")
    photo.change(
        compare,
        photo,
        output,
        preprocess=False,  # as on the photo tab: `read_image` has our limits and messages
        concurrency_limit=usable_cores(),
        concurrency_id="recognize",
        api_visibility="private",
    )


def empty_html() -> str:
    """What the page shows before there is a photo."""
    return render(
        "note.html", text=_("Add a photo or try the example. Each model's answer for each face will appear here.")
    )


def comparison_html(rgb: np.ndarray, answers: Sequence[Answer], titles: Sequence[str]) -> str:
    """A table with a row for each face and a column for each model."""
    rows = list(zip(*(answer.faces for answer in answers), strict=True))
    faces = [{"uri": thumbnail_uri(rgb, row[0]), "labels": row} for row in rows]
    differing = sum(len({face.emotion for face in row}) > 1 for row in rows)
    return render(
        "comparison.html",
        faces=faces,
        most=MAX_FACES,
        titles=titles,
        milliseconds=[1000 * answer.seconds for answer in answers],
        differing=differing,
    )


def thumbnail_uri(rgb: np.ndarray, face: Face) -> str:
    """The middle of a face, square, as a JPEG."""
    x1, y1, x2, y2 = face.box
    side = min(x2 - x1, y2 - y1)
    x, y = (x1 + x2 - side) // 2, (y1 + y2 - side) // 2
    size = (2 * THUMBNAIL, 2 * THUMBNAIL)  # for dense screens
    part = cv2.resize(rgb[y : y + side, x : x + side], size, interpolation=cv2.INTER_AREA)
    return jpeg_uri(part)
