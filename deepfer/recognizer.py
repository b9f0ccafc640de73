"""EmotionRecognizer: finds the faces in an image and classifies their emotions: detect, align, classify."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepfer.checkpoint import resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import Detector, load_detector
from deepfer.errors import ImageError
from deepfer.face import LABELS, Face
from deepfer.image_io import ImageSource, as_rgb, check_image
from deepfer.limits import check_limits
from deepfer.result import Provenance, Result

FRAME_SIDE = 320  # pixels: finds faces that are at least a twentieth as wide as the frame, in about 5 ms
BATCH_THREADS = 2  # one reads the next image while the other recognizes


class EmotionRecognizer:
    """Finds every face in an image and classifies its emotion. It is safe to call from many threads.

    Attributes:
        classifier: The `EmotionClassifier`.
        detector: The face detector.
        model_name: The model that was requested: "cnn", a path, or "user/name".
        revision: The model's commit on the Hub, or None.
    """

    def __init__(self, classifier: EmotionClassifier, detector: Detector) -> None:
        self.classifier = classifier
        self.detector = detector
        self.model_name = classifier.checkpoint.name
        self.revision = classifier.checkpoint.revision

    def __repr__(self) -> str:
        revision = f", revision={self.revision!r}" if self.revision else ""
        return f"EmotionRecognizer(model={self.model_name!r}{revision}, detector={self.detector_name!r})"

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        revision: str | None = None,
        detector: str | Path = "auto",
        local_files_only: bool = False,
    ) -> EmotionRecognizer:
        """Load a model and a detector.

        Args:
            source: None for the embedded CNN; "cnn" or "resnet50v2" for that embedded checkpoint; an existing path for
                that checkpoint folder; "user/name" for the Hub.
            revision: A branch, tag or commit on the Hub.
            detector: "auto" or "deepfer" (our own, embedded), "yunet" (downloaded unless cached), "haar", the path of a
                YuNet `.onnx` file, or a detector folder made by `training.detector`.
            local_files_only: Never open a connection.

        Raises:
            ValueError: `source` or `detector` is not one of these.
            CheckpointError: The checkpoint cannot be served.
            DetectorError: The detector cannot be used.
            HubError: The Hub, or the repo on it, cannot be reached.
            LimitError: A limit in the environment is not a valid number.
        """
        check_limits()
        checkpoint = resolve(source, revision, local_files_only)
        return cls(EmotionClassifier(checkpoint), load_detector(detector, local_files_only=local_files_only))

    def for_frames(self, long_side: int = FRAME_SIDE) -> EmotionRecognizer:
        """The same model with the detector's faster, less thorough setting for frames of a video or camera.

        Args:
            long_side: The longer side, in pixels, to which a frame is scaled for detection.
        """
        return EmotionRecognizer(self.classifier, self.detector.for_frames(long_side))

    @property
    def detector_name(self) -> str:
        """The detector in use: "deepfer", "yunet" or "haar"."""
        return self.detector.name

    @property
    def provenance(self) -> Provenance:
        """The model, revision and detector, for results."""
        return Provenance(self.model_name, self.revision, self.detector_name)

    def recognize(self, image: ImageSource) -> list[Face]:
        """Every face in an image, largest first; `[]` if there is none.

        Args:
            image: RGB uint8 `(H, W, 3)`, a PIL image, or the path of a file that `read_image` can read.

        Raises:
            ImageError: The file is not a readable image, or the image exceeds a limit.
            ValueError: `image` is something else, or an array of another dtype or shape.
            CheckpointError: The model is corrupt: its outputs are not finite.
            DetectorError: The detector is corrupt: its outputs have another shape.
        """
        rgb = as_rgb(image)
        faces = self.detector.detect(rgb)
        if not faces:
            return []
        crops = np.stack([self._crop(rgb, face) for face in faces])
        return [
            replace(face, probabilities=dict(zip(LABELS, map(float, row), strict=True)))
            for face, row in zip(faces, self.classifier.predict(crops), strict=True)
        ]

    def recognize_batch(self, images: Iterable[ImageSource]) -> Iterator[Result]:
        """The result of each image, in order, each as soon as it is ready. Only a few images are in memory at a time.

        Args:
            images: As for `recognize`; a generator is consumed as results are.

        Yields:
            A `Result` with the faces; or with `error`, if a file is not a readable image or exceeds a limit.

        Raises:
            ValueError: One of `images` is something else, or an array of another dtype or shape.
            CheckpointError: The model is corrupt.
            DetectorError: The detector is corrupt.
        """
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="deepfer-batch") as pool:
            for image in images:
                pending.append(pool.submit(self._result, image))
                if len(pending) > BATCH_THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _result(self, image: ImageSource) -> Result:
        path = str(image) if isinstance(image, str | Path) else ""
        try:
            rgb = as_rgb(image)
        except ImageError as error:
            return Result(path, *self.provenance, error=str(error))
        height, width = rgb.shape[:2]
        return Result(path, *self.provenance, width, height, self.recognize(rgb))

    def crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """The crop of a face that the classifier sees: gray uint8 `(S, S)`, or RGB if its model takes colour.

        Raises:
            ValueError: The image is not RGB uint8 `(H, W, 3)`.
        """
        check_image(image)
        return self._crop(image, face)

    def _crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        checkpoint = self.classifier.checkpoint
        return checkpoint.geometry.crop(image, face, checkpoint.input_size, checkpoint.channels)
