"""The contenders, each as its own documentation calls it, behind one protocol.

    python -P benchmarks/peers/contenders.py CLASS '{"option": "value"}' [--one-core]

runs in a contender's own environment, so it imports nothing of ours but, for `DeepFER`, the package. A question is a
JSON object on a line of stdin, its answer one on stdout: {"do": "load"}, then the `do_` functions by their names with
their arguments. An answer with "error" says why there is none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # as the data set's own file orders them


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

    def recognize(self, picture: np.ndarray) -> int:
        return len(self.recognizer.recognize(picture))

    def recognize_folder(self, folder: Path) -> int:
        """By the command that is made for it, its start included."""
        import subprocess
        import tempfile

        with tempfile.TemporaryDirectory() as aside:
            output, (detector, model) = Path(aside, "out.jsonl"), self.source
            command = [sys.executable, "-m", "deepfer", folder, "--output", output]
            options = ["--detector", detector, "--model", model]
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return sum(len(json.loads(line)["faces"]) for line in output.read_text().splitlines())


class Loop:
    """What the libraries without a command for folders have in common: a loop, and OpenCV's BGR."""

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
        # detect_emotions' own steps after it has cut faces out: its rounding of the result to two digits is left out.
        import cv2

        faces = np.array([cv2.resize(crop, (64, 64)) for crop in crops], "float32")
        return np.asarray(self.fer._classify_emotions((faces / 255 - 0.5) * 2))

    def recognize(self, picture: np.ndarray) -> int:
        return len(self.fer.detect_emotions(picture))


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

    def recognize(self, picture: np.ndarray) -> int:
        found = self.deepface.analyze(picture, actions=["emotion"], enforce_detection=False, silent=True)
        return sum(face["face_confidence"] > 0 for face in found)  # without a face, the whole picture stands for one


class AffectNet:
    """What the libraries that classify crops alone have in common: RGB, and AffectNet's eight labels."""

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


def do_recognize(contender: Any, picture: str, times: int) -> dict[str, Any]:
    """Milliseconds of each of `times` calls with an RGB array, which is turned to what the contender takes before."""
    ready = contender.prepare(np.load(picture))
    milliseconds, faces = _milliseconds(times, lambda: contender.recognize(ready))
    return {"ms": milliseconds, "faces": faces}


def do_answer(contender: Any, photo: str, crops: str) -> dict[str, Any]:
    """The first answer: to a photo's file, or to a crop where the contender has no detector."""
    if hasattr(contender, "recognize"):
        contender.recognize(contender.read(photo))
    else:
        contender.classify(np.load(crops)[:1])
    return {}


def do_folder(contender: Any, folder: str) -> dict[str, Any]:
    """Seconds for every picture of a folder, and how many faces were found."""
    start = time.perf_counter()
    faces = contender.recognize_folder(Path(folder))
    return {"seconds": time.perf_counter() - start, "faces": faces}


def do_probabilities(contender: Any, crops: str, out: str, **options: str) -> dict[str, Any]:
    """Write what the classifier says of every crop, float `(N, K)`, to a file; the answer names the K labels."""
    every = np.load(crops)
    rows = [contender.classify(every[i : i + 32], **options) for i in range(0, len(every), 32)]
    np.save(out, np.concatenate(rows))
    return {"labels": list(contender.labels)}


def do_memory(contender: Any) -> dict[str, Any]:
    """This process's memory, now and at most, in MB; as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(told[key].split()[0]) * 1024 / 1e6 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}


def _milliseconds(times: int, call: Any) -> tuple[list[float], Any]:
    """Milliseconds of each call, and what the last one gave; the first is not counted: others had the caches before."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        answer = call()
        taken.append(1000 * (time.perf_counter() - start))
    return taken, answer


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    if "--one-core" in sys.argv:  # before anything counts the cores
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    contender = None
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        try:
            if do == "load":
                contender, answer = globals()[name](**options), {}
            else:
                answer = globals()[f"do_{do}"](contender, **question)
        except BaseException as error:  # whatever a library raises, SystemExit too, is its answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
