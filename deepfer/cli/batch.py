"""Recognizes images, in several processes if there are many, and videos, and writes their --save files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from deepfer.checkpoint import Checkpoint
from deepfer.classifier import EmotionClassifier
from deepfer.cli.console import Console
from deepfer.cli.inputs import Input
from deepfer.cli.outputs import Target
from deepfer.cli.writing import NameTooLongError, writing
from deepfer.detection import load_detector
from deepfer.drawing import draw_faces
from deepfer.errors import ImageError, VideoError
from deepfer.face import Face
from deepfer.image_io import read_image, write_image
from deepfer.interpreter import stderr_silenced
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import Result, VideoResult
from deepfer.text import printable
from deepfer.video import recognize_video
from deepfer.workers import WorkerKilled, process_map

MANY_IMAGES = 16  # from this many on, each core has a worker: starting one takes as long as about ten images

Task = tuple[Input, Target | None]


def recognize_images(
    recognizer: EmotionRecognizer, tasks: Sequence[Task], workers: int | None
) -> Generator[Result, None, None]:
    """The result of each image, or of an input known to fail, in order, each after its --save file is written."""
    if workers is None:
        workers = cv2.getNumberOfCPUs() if len(tasks) >= MANY_IMAGES else 1  # heeds a container's limit
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield _recognize_image(recognizer, task)
        return
    prepare = partial(_prepare_worker, recognizer.classifier.checkpoint, recognizer.detector.source)
    with closing(process_map(workers, prepare, tasks)) as results:
        for (item, _), result in zip(tasks, results, strict=True):
            if isinstance(result, WorkerKilled):
                message = f"{printable(item.path)}: the process reading it was killed ({result.signal})"
                result = Result(str(item.path), *recognizer.provenance, error=message)
            yield result


def _prepare_worker(checkpoint: Checkpoint, detector: str) -> Callable[[Task], Result]:
    cv2.setNumThreads(1)  # the other cores have workers of their own
    return partial(_recognize_image, EmotionRecognizer(EmotionClassifier(checkpoint), load_detector(detector)))


def _recognize_image(recognizer: EmotionRecognizer, task: Task) -> Result:
    item, target = task
    try:
        if item.error:
            raise ImageError(f"{printable(item.path)}: {item.error}")
        rgb = read_image(item.path)
        height, width = rgb.shape[:2]
        result = Result(str(item.path), *recognizer.provenance, width, height, recognizer.recognize(rgb))
        if target:
            _save(target.annotated, rgb, result.faces)
        return result
    except (ImageError, NameTooLongError) as error:
        return Result(str(item.path), *recognizer.provenance, error=str(error))


def _save(path: Path, rgb: np.ndarray, faces: list[Face]) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, draw_faces(rgb, faces))


def recognize_video_file(
    recognizer: EmotionRecognizer, path: Path, target: Target | None, console: Console
) -> Result | VideoResult:
    """The result of a video, after its --save files are written; a `Result` with the error if it cannot be read."""
    files = {"video": target.annotated, "table": target.table} if target else {}
    try:
        with writing(target.annotated if target else path):
            if target:
                target.annotated.parent.mkdir(parents=True, exist_ok=True)
            with closing(recognize_video(recognizer, path, **files)) as steps, console.video_bar(path) as show:
                with stderr_silenced():  # OpenCV prints messages about the file that it opens
                    progress = next(steps)
                show(progress)
                for progress in steps:
                    show(progress)
    except (VideoError, NameTooLongError) as error:
        return Result(str(path), *recognizer.provenance, error=str(error))
    assert progress.result
    return progress.result
