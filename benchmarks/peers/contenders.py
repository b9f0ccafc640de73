"""Calls the libraries as their documentation shows, behind one protocol.

    python -P benchmarks/peers/contenders.py CLASS '{"option": "value"}' [--one-core]

This program runs in a library's own environment, so it imports nothing of ours except, for `DeepFER`, the package.
Each line of stdin is a question, a JSON object; each line of stdout is its answer. {"do": "load"} comes first, then the
names of `do_` functions with their arguments. An answer with "error" says what failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the order of the dataset's file


class DeepFER:
    """This package."""

    def __init__(self, detector: str = "auto", model: str = "cnn", frames: bool = False) -> None:
        from deepfer import LABELS, EmotionRecognizer, read_image

        self.labels, self.read, self.source = LABELS, read_image, (detector, model)
        self.recognizer = EmotionRecognizer.from_pretrained(model, detector=detector)
        if frames:
            self.recognizer = self.recognizer.for_frames()

    def classify(self, crops: np.ndarray, head: str = "served") -> np.ndarray:
        return self.recognizer.classifier.predict(crops, head=head)

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        return rgb

    def recognize(self, image: np.ndarray) -> int:
        return len(self.recognizer.recognize(image))

    def recognize_folder(self, folder: Path) -> int:
        """Use the command line, including its start-up."""
        import subprocess
        import tempfile

        with tempfile.TemporaryDirectory() as aside:
            output, (detector, model) = Path(aside, "out.jsonl"), self.source
            command = [sys.executable, "-m", "deepfer", folder, "--output", output]
            options = ["--detector", detector, "--model", model]
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return sum(len(json.loads(line)["faces"]) for line in output.read_text().splitlines())


class Loop:
    """Base of the libraries without a command for folders: a loop over images in OpenCV's BGR."""

    def read(self, path: Path) -> np.ndarray:
        import cv2

        return cv2.imread(str(path))

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rgb[..., ::-1])

    def recognize_folder(self, folder: Path) -> int:
        return sum(self.recognize(self.read(path)) for path in sorted(folder.iterdir()))


class Fer(Loop):
    """`fer`: a Haar cascade or MTCNN, and a small convolutional network in LiteRT or Keras."""

    labels = FER2013

    def __init__(self, **options: Any) -> None:
        from fer.fer import FER

        self.fer = FER(**options)

    def classify(self, crops: np.ndarray) -> np.ndarray:
        # The steps of detect_emotions after cropping, without its rounding to two digits.
        import cv2

        faces = np.array([cv2.resize(crop, (64, 64)) for crop in crops], "float32")
        return np.asarray(self.fer._classify_emotions((faces / 255 - 0.5) * 2))

    def recognize(self, image: np.ndarray) -> int:
        return len(self.fer.detect_emotions(image))


class DeepFace(Loop):
    """`deepface`: a Haar cascade by default, and a small convolutional network."""

    labels = FER2013

    def __init__(self) -> None:
        from deepface import DeepFace

        self.deepface = DeepFace
        self.model = DeepFace.build_model(task="facial_attribute", model_name="Emotion")

    def classify(self, crops: np.ndarray) -> np.ndarray:
        from deepface.modules.preprocessing import resize_image  # as `analyze` does before it classifies

        faces = [resize_image(np.repeat(crop[..., None], 3, axis=2), (224, 224)) for crop in crops]
        return np.asarray(self.model.predict(np.concatenate(faces))).reshape(len(crops), -1)

    def recognize(self, image: np.ndarray) -> int:
        found = self.deepface.analyze(image, actions=["emotion"], enforce_detection=False, silent=True)
        return sum(face["face_confidence"] > 0 for face in found)  # without a face, it returns the whole image


class AffectNet:
    """Base of the libraries that only classify crops: RGB, and AffectNet's eight labels."""

    labels = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")

    def faces(self, crops: np.ndarray) -> list[np.ndarray]:
        return [np.repeat(crop[..., None], 3, axis=2) for crop in crops]


class EmotiEffLib(AffectNet):
    """`emotiefflib`: EfficientNet in ONNX, its default model; it has no detector."""

    def __init__(self) -> None:
        from emotiefflib.facial_analysis import EmotiEffLibRecognizer

        self.recognizer = EmotiEffLibRecognizer(engine="onnx")

    def classify(self, crops: np.ndarray) -> np.ndarray:
        return self.recognizer.predict_emotions(self.faces(crops), logits=False)[1]


class HSEmotion(AffectNet):
    """`hsemotion-onnx`: EfficientNet in ONNX, its default model; it has no detector."""

    def __init__(self) -> None:
        import urllib.request  # noqa: F401 (the library calls it to fetch its weights, but does not import it)

        from hsemotion_onnx.facial_emotions import HSEmotionRecognizer

        self.recognizer = HSEmotionRecognizer()

    def classify(self, crops: np.ndarray) -> np.ndarray:
        return self.recognizer.predict_multi_emotions(self.faces(crops), logits=False)[1]


# --- the protocol -----------------------------------------------------------------------------------------------------


def do_classify(contender: Any, crops: str, first: int, times: int) -> dict[str, Any]:
    """Milliseconds of each of `times` calls with the first crops of an array uint8 `(N, S, S)`."""
    batch = np.load(crops)[:first]
    return {"ms": _milliseconds(times, lambda: contender.classify(batch))[0]}


def do_recognize(contender: Any, image: str, times: int) -> dict[str, Any]:
    """Milliseconds of each of `times` calls with an image, excluding its conversion to the library's format."""
    ready = contender.prepare(np.load(image))
    milliseconds, faces = _milliseconds(times, lambda: contender.recognize(ready))
    return {"ms": milliseconds, "faces": faces}


def do_answer(contender: Any, photo: str, crops: str) -> dict[str, Any]:
    """Give the first answer: for a photo's file, or for a crop if the library has no detector."""
    if hasattr(contender, "recognize"):
        contender.recognize(contender.read(photo))
    else:
        contender.classify(np.load(crops)[:1])
    return {}


def do_folder(contender: Any, folder: str) -> dict[str, Any]:
    """Seconds for all images of a folder, and the number of faces found."""
    start = time.perf_counter()
    faces = contender.recognize_folder(Path(folder))
    return {"seconds": time.perf_counter() - start, "faces": faces}


def do_probabilities(contender: Any, crops: str, out: str, **options: str) -> dict[str, Any]:
    """Write the probabilities of all crops, float `(N, K)`, to a file; the answer names the K labels."""
    every = np.load(crops)
    rows = [contender.classify(every[i : i + 32], **options) for i in range(0, len(every), 32)]
    np.save(out, np.concatenate(rows))
    return {"labels": list(contender.labels)}


def do_memory(contender: Any) -> dict[str, Any]:
    """Current and peak memory of this process in MB, from Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(told[key].split()[0]) * 1024 / 1e6 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}


def _milliseconds(times: int, call: Any) -> tuple[list[float], Any]:
    """Milliseconds of each call, and the last result; a first call, which refills the caches, is not counted."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        answer = call()
        taken.append(1000 * (time.perf_counter() - start))
    return taken, answer


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    if "--one-core" in sys.argv:  # first, because libraries count the cores when they load
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that the libraries' output does not mix with answers
    contender = None
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        try:
            if do == "load":
                contender, answer = globals()[name](**options), {}
            else:
                answer = globals()[f"do_{do}"](contender, **question)
        except BaseException as error:  # report whatever a library raises, including SystemExit
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
