"""Job: what to annotate, with which model and detector, and where to write; it can be pickled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from deepfer.annotate.errors import AnnotationError
from deepfer.annotate.item import Item
from deepfer.annotate.shards import shard_path
from deepfer.annotate.source import Source
from deepfer.checkpoint import MODEL, sha256
from deepfer.detection import HAAR_FILE, Detector
from deepfer.recognizer import EmotionRecognizer


@dataclass(frozen=True)
class Job:
    """A source that is annotated in chunks, each of which becomes a shard.

    Attributes:
        source: The source.
        out: The folder of the results, absolute.
        chunk: Inputs per shard; the last one may have fewer.
        model: The argument for `EmotionRecognizer.from_pretrained`.
        revision: The model's commit on the Hub, or None.
        detector: The argument for `EmotionRecognizer.from_pretrained`.
        digests: The sha256 of the model's and of the detector's file.
    """

    source: Source
    out: Path
    chunk: int
    model: str | None
    revision: str | None
    detector: str
    digests: tuple[str, str]

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return math.ceil(len(self.source) / self.chunk)

    def numbers(self, chunk: int) -> range:
        """The numbers of a chunk's inputs."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, len(self.source)))

    def shard(self, chunk: int) -> Path:
        """The file of a chunk's rows."""
        return shard_path(self.out, chunk)

    def items(self, chunks: Sequence[int]) -> Sequence[Item]:
        """The inputs of these chunks; each is read when it is taken."""
        return _Items(self, chunks)

    def load(self) -> EmotionRecognizer:
        """The recognizer, from the same files as those that the job was made with.

        Raises:
            AnnotationError: This machine has other files.
            DeepFERError: As for `EmotionRecognizer.from_pretrained`.
        """
        recognizer = EmotionRecognizer.from_pretrained(self.model, revision=self.revision, detector=self.detector)
        if digests(recognizer) != self.digests:
            raise AnnotationError("a node's model or detector file differs from the driver's: install the same deepfer")
        return recognizer


class _Items(Sequence[Item]):
    def __init__(self, job: Job, chunks: Sequence[int]) -> None:
        self._job, self._chunks = job, chunks

    def __len__(self) -> int:
        if not self._chunks:
            return 0
        return (len(self._chunks) - 1) * self._job.chunk + len(self._job.numbers(self._chunks[-1]))

    def __getitem__(self, at: int) -> Item:  # type: ignore[override]  # slices are not needed
        chunk, offset = divmod(at, self._job.chunk)
        return self._job.source[self._chunks[chunk] * self._job.chunk + offset]


def digests(recognizer: EmotionRecognizer) -> tuple[str, str]:
    """The sha256 of the model's file and of the detector's."""
    return sha256(recognizer.classifier.checkpoint.folder / MODEL), sha256(_detector_file(recognizer.detector))


def _detector_file(detector: Detector) -> Path:
    if detector.name == "haar":
        return Path(cv2.__file__).parent / "data" / HAAR_FILE
    path = Path(detector.source)
    return path / MODEL if path.is_dir() else path
