"""EmotionRecognizer: a picture -> its faces with their emotions: detect, align, classify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from deepfer.checkpoint import resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import Detector, load_detector
from deepfer.face import LABELS, Face
from deepfer.image_io import check_image
from deepfer.limits import check_limits

FRAME_SIDE = 320  # pixels: a face from a twentieth of the frame's width on, in about 5 ms


class EmotionRecognizer:
    """Finds every face in a picture and tells its emotion; safe to call from many threads.

    Attributes:
        classifier: The `EmotionClassifier`.
        detector: The face detector.
        model_name: What the model was asked for as: "cnn", a path, or "user/name".
        revision: The commit on the Hub that the model came from, or None.
    """

    def __init__(self, classifier: EmotionClassifier, detector: Detector) -> None:
        self.classifier = classifier
        self.detector = detector
        self.model_name = classifier.checkpoint.name
        self.revision = classifier.checkpoint.revision

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        revision: str | None = None,
        detector: str = "auto",
        local_files_only: bool = False,
    ) -> EmotionRecognizer:
        """Load a model and a detector.

        Args:
            source: None for the embedded CNN; "cnn" or "resnet50v2" for that embedded checkpoint; an existing path for
                that checkpoint folder; "user/name" for the Hub.
            revision: A branch, tag or commit on the Hub.
            detector: "auto" or "deepfer" (our own, embedded), "yunet" (downloaded unless cached), "haar", the path
                of a YuNet `.onnx` file, or a detector folder made by `training.detector`.
            local_files_only: Never open a connection.

        Raises:
            ValueError: `source` or `detector` is none of these.
            CheckpointError: The checkpoint cannot be served.
            DetectorError: The detector cannot be used.
            HubError: The Hub, or what was asked of it, cannot be reached.
            LimitError: A limit in the environment is no number.
        """
        check_limits()
        checkpoint = resolve(source, revision, local_files_only)
        return cls(EmotionClassifier(checkpoint), load_detector(detector, local_files_only=local_files_only))

    def for_frames(self, long_side: int = FRAME_SIDE) -> EmotionRecognizer:
        """The same model with a detector for the frames of a video or camera: quick rather than thorough.

        Args:
            long_side: Pixels of a frame's longer side at which faces are looked for.
        """
        return EmotionRecognizer(self.classifier, self.detector.for_frames(long_side))

    @property
    def detector_name(self) -> str:
        """Which detector is in use: "deepfer", "yunet" or "haar"."""
        return self.detector.name

    def recognize(self, image: np.ndarray) -> list[Face]:
        """Every face in an RGB uint8 `(H, W, 3)` image, largest first; `[]` where there is none.

        Raises:
            ValueError: The image has another dtype or shape.
            CheckpointError: The model is damaged so that its answer is no number.
            DetectorError: The detector is damaged so that its answer has another form.
        """
        check_image(image)
        faces = self.detector.detect(image)
        if not faces:
            return []
        crops = np.stack([self._crop(image, face) for face in faces])
        return [
            replace(face, probabilities=dict(zip(LABELS, map(float, row), strict=True)))
            for face, row in zip(faces, self.classifier.predict(crops), strict=True)
        ]

    def crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """The crop of a face that the classifier sees: gray uint8 `(S, S)`, or RGB where its model takes colour.

        Raises:
            ValueError: The image is no RGB uint8 `(H, W, 3)`.
        """
        check_image(image)
        return self._crop(image, face)

    def _crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        checkpoint = self.classifier.checkpoint
        return checkpoint.geometry.crop(image, face, checkpoint.input_size, checkpoint.channels)
