"""Face detectors by name: our own, which is embedded; YuNet, from the Hugging Face Hub; and OpenCV's Haar cascade.

detector = load_detector("auto")     # our own: nothing is downloaded
faces = detector.detect(rgb)         # largest first
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from deepfer.checkpoint import DETECTOR, EMBEDDED
from deepfer.detector_network import load_network, read_detector
from deepfer.errors import DetectorError
from deepfer.face import Face, clip_box
from deepfer.face_search import SearchConfig, largest_first, same_face, search
from deepfer.grid_network import GridNetwork
from deepfer.hub import download
from deepfer.image_io import check_image
from deepfer.limits import MAX_MODEL_BYTES
from deepfer.yunet import load_yunet

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
# The file is pinned by its content, so changes in the repo do not matter.
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_THRESHOLD = 0.75
HAAR_FILE = "haarcascade_frontalface_alt2.xml"
HAAR_SIDE = 1024  # pixels of the longer side: the cascade's time grows with the image
HAAR_NEIGHBOURS = 4  # windows that must agree; with 3, folds of cloth pass as faces
PHOTO = SearchConfig(threshold=0.5, overview=640, glance=192, max_pixels=6_000_000)
FRAME_DOUBT = 0.45  # weaker candidates in frames: half of those to verify, and 1 in 100 a face (validation photos)
SURE = 0.8  # our network's candidates below this score are verified, to tell small and rotated faces from texture


class NetworkDetector:
    """Finds faces with a network, each with a score and five landmarks; thread-safe.

    Attributes:
        name: "deepfer" or "yunet".
        source: The argument with which `load_detector` loads this detector.
        config: How images are searched.
    """

    def __init__(
        self, name: str, source: str, network: GridNetwork, config: SearchConfig, frame_threshold: float
    ) -> None:
        """`frame_threshold`: the score from which a candidate in a video frame is a face, 0 to 1."""
        self.name, self.source, self.config = name, source, config
        self._network, self._frame_threshold = network, frame_threshold

    def for_frames(self, long_side: int) -> NetworkDetector:
        """The same network for video frames: a single view with a longer side of `long_side` pixels."""
        config = replace(
            self.config, threshold=self._frame_threshold, overview=long_side, glance=0, max_pixels=0, doubt=FRAME_DOUBT
        )
        return NetworkDetector(self.name, self.source, self._network, config, self._frame_threshold)

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """Every face in an RGB uint8 `(H, W, 3)` image, largest first.

        Raises:
            ValueError: The image has another dtype or shape.
            MemoryError: There is too little memory for an image of this size.
        """
        check_image(rgb)
        return search(self._network, rgb, self.config)


class HaarDetector:
    """OpenCV's frontal-face cascade, without scores or landmarks; thread-safe."""

    name = source = "haar"

    def __init__(self, long_side: int = HAAR_SIDE) -> None:
        """Load the cascade.

        Args:
            long_side: Pixels of the image's longer side; larger images are shrunk.
        """
        self.long_side = long_side
        self._lock = threading.Lock()  # a cascade keeps the image it is working on
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / HAAR_FILE))

    def for_frames(self, long_side: int) -> HaarDetector:
        """The same cascade for video frames, which it shrinks to `long_side` pixels."""
        return HaarDetector(min(long_side, self.long_side))

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """Every face in an RGB uint8 `(H, W, 3)` image, largest first.

        Raises:
            ValueError: The image has another dtype or shape.
        """
        check_image(rgb)
        height, width = rgb.shape[:2]
        scale = min(1.0, self.long_side / max(height, width))
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        with self._lock:
            boxes = self._cascade.detectMultiScale(gray, 1.1, HAAR_NEIGHBOURS)
        faces: list[Face] = []
        for x, y, w, h in sorted((tuple(map(int, box)) for box in boxes), key=lambda box: -box[2]):
            box = clip_box((x / scale, y / scale, (x + w) / scale, (y + h) / scale), width, height)
            face = Face(box)
            if not any(same_face(face, other) for other in faces):
                faces.append(face)
        return largest_first(faces)


Detector = NetworkDetector | HaarDetector


def load_detector(name: str | Path = "auto", *, local_files_only: bool = False) -> Detector:
    """Load a detector by name.

    Args:
        name: "auto" or "deepfer" (our own, embedded), "yunet" (downloaded from the Hub unless cached), "haar", the path
            of a YuNet `.onnx` file, or a detector folder made by `training.detector`.
        local_files_only: Load YuNet from the cache only.

    Raises:
        ValueError: `name` is none of these.
        DetectorError: The file is missing or is not a detector, or the Hub sent a file other than the pinned one.
        HubError: The Hub cannot be reached.
    """
    if name == "haar":
        return HaarDetector()
    if name in ("auto", "deepfer"):
        return _own(EMBEDDED / DETECTOR)
    if name == "yunet":
        return _yunet(_cached_yunet() or _fetch_yunet(local_files_only))
    if isinstance(name, (str, Path)) and Path(name).suffix == ".onnx":
        return _yunet(Path(name))
    if isinstance(name, (str, Path)) and os.path.isdir(name):  # unlike Path.is_dir, it accepts a long name
        return _own(Path(name))
    raise ValueError(
        f"no detector {str(name)!r}: give 'auto', 'deepfer', 'yunet', 'haar', the path of a YuNet .onnx file, "
        "or a detector folder made by training.detector"
    )


def _own(folder: Path) -> NetworkDetector:
    checkpoint = read_detector(folder)
    config = replace(PHOTO, threshold=checkpoint.threshold, sure=SURE)
    network = load_network(checkpoint)
    return NetworkDetector("deepfer", str(folder), network, config, checkpoint.frame_threshold)


def _yunet(path: Path) -> NetworkDetector:
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise DetectorError(f"{path} is larger than {MAX_MODEL_BYTES / 1e6:g} MB, so it is not a YuNet file")
        network = load_yunet(path)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DetectorError(f"{path} is not a YuNet face detector like {YUNET_FILE}") from error
    config = replace(PHOTO, threshold=YUNET_THRESHOLD)
    return NetworkDetector("yunet", str(path), network, config, YUNET_THRESHOLD)


def _cached_yunet() -> Path | None:
    """The pinned file in the Hub's cache, found without a connection; None if it is missing or differs."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(YUNET_REPO, YUNET_FILE)
    return Path(path) if isinstance(path, str) and _is_pinned(Path(path)) else None


def _is_pinned(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == YUNET_SHA256
    except OSError:
        return False


def _fetch_yunet(local_files_only: bool) -> Path:
    folder, commit = download(YUNET_REPO, [YUNET_FILE], local_files_only=local_files_only)
    path = folder / YUNET_FILE
    if not _is_pinned(path) and not local_files_only:  # damaged in transit or in the cache
        download(YUNET_REPO, [YUNET_FILE], commit, force=True)
    if not _is_pinned(path):
        raise DetectorError(
            f"{path.resolve()} is not the pinned {YUNET_FILE} (sha256 {YUNET_SHA256[:12]}…): it is damaged, or "
            f"{YUNET_REPO} has changed; delete it to download it again, or use --detector deepfer"
        )
    return path
