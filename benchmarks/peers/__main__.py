"""Compare DeepFER with other libraries on the same images, in one run in which they take turns.

    python -m benchmarks.peers [--yunet FILE.onnx]                  # everything; installs each library first, once
    python -m benchmarks.peers --only "DeepFER, CNN" --here --turns 1 --images 2    # a quick test

Each library has its own environment (`environments.py`) and process, and is called as its documentation shows
(`contenders.py`). The result records why a library could not be installed or loaded. Times are medians; taking turns
exposes all libraries to the same load, so trust the ratios more than the times.
Writes `benchmarks/peers.json` and `docs/peers.png`.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from benchmarks.composed_images import make_folder
from benchmarks.images import crowd, portrait
from benchmarks.peers import tables
from benchmarks.peers.environments import ROOT, CannotInstallError, installed_mb, interpreter, version
from benchmarks.peers.process import NoAnswerError, Process
from benchmarks.speed import processor
from deepfer.detection import HAAR_SIDE, PHOTO
from deepfer.face import LABELS
from deepfer.recognizer import FRAME_SIDE
from training.data.dataset import open_dataset
from training.data.labels import LABEL_OF_NAME
from training.exceptions import DataError
from training.report.metrics import measure as measured

Answer = TypeVar("Answer")

OUT = Path(__file__).parents[1] / "peers.json"
CHART = ROOT / "docs" / "peers.png"
ENVIRONMENTS = Path(__file__).parents[1] / "environments"
IN_A_ROW = 5  # calls with a small image in each round, as frames come from a camera
IMAGES: dict[str, tuple[int, Callable[[], np.ndarray]]] = {  # name -> (number of faces, how to make it)
    "640x480, 1 face": (1, portrait),
    "640x480, 4 faces": (4, lambda: crowd(4, (640, 480))),
    "640x480, 16 faces": (16, lambda: crowd(16, (640, 480))),
    "12 MP, 4 faces": (4, lambda: crowd(4, (4000, 3000))),
}


@dataclass(eq=False)
class Contender:
    """A library in one of its settings.

    Attributes:
        title: Its name in the table.
        environment: The name of its environment.
        kind: Its class in `contenders.py`.
        classifier: Its classifier's name, which other settings may share.
        detector: Its detector and the image size that it searches; None if it has none.
        options: Arguments of the class.
        found: Its measurements.
        why_not: Why it could not be measured, or not completely; None if it was.
    """

    title: str
    environment: str
    kind: str
    classifier: str
    detector: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    why_not: str | None = None

    @property
    def ours(self) -> bool:
        return self.environment == "deepfer"

    @property
    def heads(self) -> list[dict[str, str]]:
        """The arguments that select each output of the classifier."""
        return [{"head": "fer2013"}, {"head": "served"}] if self.ours else [{}]


def contenders(yunet: Path | None) -> list[Contender]:
    """All contenders, ours first; one of ours uses YuNet if its file is given."""
    photo, whole = f"up to {PHOTO.max_pixels / 1e6:g} MP", "whole image"

    def ours(title: str, model: str, at: str, **options: Any) -> Contender:
        return Contender(f"DeepFER, {title}", "deepfer", "DeepFER", model, at, {"model": model, **options})

    return [
        ours("CNN, frame", "cnn", f"its own, {FRAME_SIDE} px", frames=True),
        ours("CNN", "cnn", f"its own, {photo}"),
        *([ours("CNN, YuNet", "cnn", f"YuNet, {photo}", detector=str(yunet))] if yunet else []),
        ours("CNN, Haar", "cnn", f"Haar, up to {HAAR_SIDE} px", detector="haar"),
        ours("ResNet50V2", "resnet50v2", f"its own, {photo}"),
        Contender("fer, Haar", "fer", "Fer", "fer in LiteRT", f"Haar, {whole}"),
        Contender("fer, Haar, Keras", "fer", "Fer", "fer in Keras", f"Haar, {whole}", {"use_tflite": False}),
        Contender("fer, MTCNN", "fer", "Fer", "fer in LiteRT", f"MTCNN, {whole}", {"mtcnn": True}),
        Contender("deepface", "deepface", "DeepFace", "deepface", f"Haar, {whole}"),
        Contender("emotiefflib", "emotiefflib", "EmotiEffLib", "emotiefflib"),
        Contender("hsemotion-onnx", "hsemotion-onnx", "HSEmotion", "hsemotion-onnx"),
    ]


class Run:
    """One run over all contenders that can be installed and loaded."""

    def __init__(self, every: list[Contender], folder: Path, turns: int) -> None:
        """Every contender runs in this environment until `install` gives it its own.

        Args:
            every: The contenders.
            folder: A folder for images and results.
            turns: The number of rounds.
        """
        self.every, self.folder, self.turns = every, folder, turns
        self._pythons: dict[str, Path] = {}

    def install(self, environments: Path) -> None:
        for name in dict.fromkeys(contender.environment for contender in self.every):
            theirs = [contender for contender in self.every if contender.environment == name]
            try:
                python = interpreter(name, environments)
            except CannotInstallError as error:
                for contender in theirs:
                    contender.why_not = str(error)
                continue
            self._pythons[name] = python
            told = {"version": f"{name} {version(python, name)}", "installed_mb": installed_mb(python)}
            for contender in theirs:
                contender.found |= told

    def able(self) -> list[Contender]:
        """The contenders that have not failed."""
        return [contender for contender in self.every if contender.why_not is None]

    def start(self, contender: Contender, one_core: bool = False) -> Process:
        python = self._pythons.get(contender.environment, Path(sys.executable))
        return Process(python, contender.kind, contender.options, one_core)

    def each(self, call: Callable[[Contender], Answer], only: list[Contender] | None = None) -> dict[Contender, Answer]:
        """The result of `call` for each contender. A contender that fails drops out."""
        answers = {}
        for contender in self.able() if only is None else only:
            try:
                if contender.why_not is None:
                    answers[contender] = call(contender)
            except NoAnswerError as error:
                contender.why_not = str(error)
                print(f"{contender.title}: {error}", file=sys.stderr)
        return answers

    def by_turns(
        self, call: Callable[[Contender], Answer], turns: int, only: list[Contender] | None = None
    ) -> dict[Contender, list[Answer]]:
        """Repeat `each` for a number of rounds, in another order each time."""
        answers: dict[Contender, list[Answer]] = {}
        for turn in range(turns):
            order = self.able() if only is None else list(only)
            random.Random(turn).shuffle(order)
            for contender, answer in self.each(call, order).items():
                answers.setdefault(contender, []).append(answer)
        return answers

    def cold(self) -> None:
        """Measure the time from starting a process to its first answer, and its peak memory until then."""
        question = {"photo": str(self.folder / "photo.jpg"), "crops": str(self.folder / "crops.npy")}

        def once(contender: Contender) -> tuple[float, float]:
            start = time.perf_counter()
            with self.start(contender) as process:
                process.ask("load")
                process.ask("answer", **question)
                return time.perf_counter() - start, process.ask("memory")["peak"]

        self.each(once)  # fills the disk's cache
        for contender, answers in self.by_turns(once, max(1, self.turns // 2)).items():
            seconds, memory = map(statistics.median, zip(*answers, strict=True))
            contender.found |= {"cold_s": seconds, "memory_mb": memory}

    def classifiers(self) -> None:
        """Measure the classifier alone, on one core."""
        crops, times = str(self.folder / "crops.npy"), min(10, self.turns)
        with ExitStack() as stack:
            processes = {c: stack.enter_context(self.start(c, one_core=True)) for c in self.able()}
            self.each(lambda c: processes[c].ask("load"))
            for batch in (1, 32):
                question = {"crops": crops, "first": batch, "times": times}
                answers = self.by_turns(lambda c, q=question: processes[c].ask("classify", **q), self.turns)
                for contender, told in answers.items():
                    taken = statistics.median(ms for answer in told for ms in answer["ms"])
                    contender.found.setdefault("classifier_ms", {})[str(batch)] = taken

    def pipelines(self, images: int) -> None:
        """Measure whole images and a folder of them, with each library's defaults."""
        with ExitStack() as stack:
            finders = [contender for contender in self.able() if contender.detector]
            processes = {c: stack.enter_context(self.start(c)) for c in finders}
            self.each(lambda c: processes[c].ask("load"), finders)
            for name, (faces, make) in IMAGES.items():
                turns, times = (max(1, self.turns // 4), 1) if "MP" in name else (self.turns, IN_A_ROW)
                question = {"image": str(self.folder / "image.npy"), "times": times}
                np.save(question["image"], make())
                answers = self.by_turns(lambda c, q=question: processes[c].ask("recognize", **q), turns, finders)
                for contender, told in answers.items():
                    taken = statistics.median(ms for answer in told for ms in answer["ms"])
                    found = {"ms": taken, "found": told[-1]["faces"], "faces": faces}
                    contender.found.setdefault("pictures", {})[name] = found
            folder, faces = make_folder(self.folder / "folder", images)
            photographers = [contender for contender in finders if not contender.options.get("frames")]
            answers = self.by_turns(
                lambda c: processes[c].ask("folder", folder=str(folder)), max(1, self.turns // 7), photographers
            )
            for contender, told in answers.items():
                seconds, found = statistics.median(answer["seconds"] for answer in told), told[-1]["faces"]
                contender.found["folder"] = {"seconds": seconds, "pictures": images, "found": found, "faces": faces}

    def accuracies(self, crops: np.ndarray, truth: np.ndarray) -> None:
        """Measure each classifier on FER2013's test crops, for all contenders that share it."""
        path, out = self.folder / "test.npy", self.folder / "probabilities.npy"
        np.save(path, crops)

        def once(contender: Contender) -> dict[str, Any]:
            told = {}
            with self.start(contender) as process:
                process.ask("load")
                for head in contender.heads:
                    labels = process.ask("probabilities", crops=str(path), out=str(out), **head)["labels"]
                    m = measured(in_our_order(np.load(out), labels), truth)
                    kept = ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "ece")
                    told[head.get("head", "served")] = {key: m[key] for key in kept}
            return told

        first = {contender.classifier: contender for contender in reversed(self.able())}
        for contender, told in self.each(once, list(first.values())).items():
            for other in self.every:
                if other.classifier == contender.classifier:
                    other.found["fer2013"] = told


def in_our_order(probabilities: np.ndarray, labels: list[str]) -> np.ndarray:
    """Convert probabilities `(N, K)` of a library's labels to `(N, 7)` of ours; other labels are dropped."""
    ours = [LABEL_OF_NAME.get(label.lower()) for label in labels]
    kept = probabilities[:, [ours.index(label) for label in LABELS]].astype(np.float64)
    return kept / kept.sum(axis=1, keepdims=True)


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--yunet", type=Path, help="YuNet's .onnx file, to measure it as well as our own detector")
    add("--only", nargs="+", metavar="TITLE", help="only these contenders")
    add("--here", action="store_true", help="install nothing: run everything in this environment")
    add("--environments", type=Path, default=ENVIRONMENTS, help=f"default: {ENVIRONMENTS.relative_to(ROOT)}")
    add("--turns", type=int, default=20, help="default: 20")
    add("--images", type=int, default=60, help="images in the folder (default: 60)")
    add("--dataset", type=Path, help="a FER2013 folder; without it no accuracy is measured")
    add("--crops", type=int, help="how many crops of the test split to use (default: all)")
    add("--out", type=Path, default=OUT, help=f"default: {OUT.relative_to(ROOT)}")
    add("--chart", type=Path, default=CHART, help=f"default: {CHART.relative_to(ROOT)}")
    args = parser.parse_args(argv)
    every = contenders(args.yunet)
    if args.only:
        if unknown := set(args.only) - {contender.title for contender in every}:
            parser.error(f"no contender {unknown.pop()!r}; there are {'; '.join(c.title for c in every)}")
        every = [contender for contender in every if contender.title in args.only]
    crops = truth = None
    if args.dataset:
        try:
            test = open_dataset(args.dataset)["test"]
            crops, truth = test.gray(48)[: args.crops], test.labels[: args.crops]
        except KeyError:
            parser.error(f"--dataset {args.dataset} has no test split")
        except DataError as error:
            parser.error(f"--dataset: {error}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        frame = portrait()
        Image.fromarray(frame).save(work / "photo.jpg", quality=92)
        crop = np.asarray(Image.fromarray(frame[:240, 190:430]).convert("L").resize((48, 48)))
        np.save(work / "crops.npy", np.repeat(crop[None], 32, axis=0))
        run = Run(every, work, args.turns)
        if not args.here:
            run.install(args.environments)
        run.cold()
        run.classifiers()
        run.pipelines(args.images)
        if crops is not None:
            run.accuracies(crops, truth)
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "turns": args.turns,
        "in_a_row": IN_A_ROW,
        "contenders": [
            {
                "title": contender.title,
                "ours": contender.ours,
                "detector": contender.detector,
                "why_not": contender.why_not,
                **contender.found,
            }
            for contender in every
        ],
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    tables.chart(result, args.chart)
    print(tables.markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
