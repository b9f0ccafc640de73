"""Face detectors: YuNet, from the Hugging Face Hub, and a Haar cascade, which comes with OpenCV; `load_detector` picks.

detector = load_detector("auto")     # YuNet where it is cached, else Haar; never a connection
faces = detector.detect(rgb)         # largest first
"""

from __future__ import annotations

import cmath
import hashlib
import math
import statistics
import threading
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from deepfer.errors import DetectorError
from deepfer.face import Face, area, clip, intersection, iou
from deepfer.hub import pull
from deepfer.limits import MAX_FACES, MAX_MODEL_BYTES
from deepfer.picture import check_image
from deepfer.warp import similarity, warp
from deepfer.yunet import YuNet

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
# Pinned by its content, which holds whatever the repo's main branch comes to be.
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
HAAR_FILE = "haarcascade_frontalface_alt2.xml"

# The figures below were chosen on pictures as `benchmarks.detection` makes them, and on training pictures placed as
# `training.evaluate --pipeline` places them.
PHOTO_SIDE = 1024  # pixels of a photo's longer side at the first glance
SURE = 0.88  # a score that is a face, whatever the closer looks say
DOUBT = 0.2  # below it, nothing is looked at again
ACCEPT = 0.75  # a score that is a face: where there are no closer looks, or in the last of them
# Closer looks at what is in doubt, or leans: a small view is turned to where the score peaks, two more decide.
# Pixels of the face in the small view and in the other two, at least and at most: small faces blur where they are
# enlarged further, and large ones cut tightly are not known again where they are shrunk further.
PROBE, CLOSE = (64, 128), (96, 160)
MARGIN = 1.8  # side of a view over that of the face
STEP, STEEPEST = math.radians(30), math.radians(75)  # by which a face is turned, and how far at most, either way
PROBABLE = 0.4  # the least score at the peak and in each of the two views
AGREED = 0.76  # the least mean over the three, where the first glance counts for the peak if it is higher
SHOWN = 0.5  # of how far the line from the eyes to the mouth leans: what YuNet's landmarks show
LEANS = math.radians(14)  # less is left to the crop, which takes out what the landmarks show
UPRIGHT = 0.9  # a score that few leaning faces have: with landmarks that show no lean either, it needs no second look
TINIEST = 18  # pixels: smaller faces cannot be told from spots, nor read
MAX_DOUBTS = 24  # candidates looked at again: a bound on time in pictures full of texture
TILTED = 0.5  # of the size of the first glance: enough for faces that fill a picture
TILTS = (35.0, -35.0)  # degrees by which a picture without faces is turned: YuNet misses half of what leans by 45
SMALL = 48  # pixels: where the first glance finds such faces, or none, smaller ones may be there
SEARCH_SCALE, SEARCH_PIXELS = 2.0, 6_000_000  # how far, and to what size at most, a picture is enlarged to find them
SHRUNK = 0.8  # where the first glance shrinks a picture further, its pixels are looked at too
TILE_OVERLAP = 96  # pixels: what is larger was seen before
HAAR_SIDE = 1024  # pixels of the longer side: the time of the cascade grows with the picture
HAAR_NEIGHBOURS = 4  # windows that must agree; with 3 it takes folds of cloth for faces


class YuNetDetector:
    """YuNet (Wu et al. 2023): a score and five landmarks for each face; safe to call from many threads.

    It glances at the whole picture, looks closely at what is in doubt or leans, and where nothing or only small faces
    are found, searches: the picture tilted, with a margin, and enlarged in tiles.
    """

    name = "yunet"

    def __init__(self, path: str | Path, long_side: int = PHOTO_SIDE, search: bool = True) -> None:
        """Load the network.

        Args:
            path: The `.onnx` file.
            long_side: Pixels of the picture's longer side at the first glance; larger pictures are shrunk.
            search: Look further than the first glance. Without it a frame of a video takes the least time.

        Raises:
            DetectorError: The file is not there, or holds no YuNet.
        """
        self.path = Path(path)
        self.long_side = long_side
        self.search = search
        try:
            if Path(path).stat().st_size > MAX_MODEL_BYTES:
                raise DetectorError(f"{path} is larger than {MAX_MODEL_BYTES / 1e6:g} MB: no YuNet file")
            self._net = YuNet(path)
        except OSError as error:
            raise DetectorError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise DetectorError(f"{path} is no YuNet face detector like {YUNET_FILE}") from error

    def for_frames(self, long_side: int) -> YuNetDetector:
        """The same network with the setting for frames of a video: one glance at `long_side` pixels."""
        return YuNetDetector(self.path, long_side, search=False)

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """Every face in an RGB uint8 `(H, W, 3)` image, largest first; `[]` where there is none.

        Raises:
            ValueError: The image has another dtype or shape.
        """
        check_image(rgb)
        height, width = rgb.shape[:2]
        scale = min(1.0, self.long_side / max(height, width))
        glance = self._look(rgb, complex(scale), 0j, (math.ceil(width * scale), math.ceil(height * scale)))
        if not self.search:
            return _largest_first(face for face in glance if _score(face) >= ACCEPT)
        faces = self._confirm(rgb, glance, [])
        if not faces:
            faces = self._confirm(rgb, self._tilted(rgb, scale), faces)
        elif scale < SHRUNK and _smallest(faces) * scale >= SMALL and height * width <= SEARCH_PIXELS:
            faces = self._confirm(rgb, self._tiled(rgb, 1.0), faces)
        if not faces or _smallest(faces) * scale < SMALL:
            finest = min(SEARCH_SCALE, math.sqrt(SEARCH_PIXELS / (width * height)))
            faces = self._confirm(rgb, self._tiled(rgb, finest), faces)
        return _largest_first(faces)

    def _look(self, rgb: np.ndarray, a: complex, b: complex, size: tuple[int, int]) -> list[Face]:
        """What YuNet sees through the similarity `z -> a z + b` in a view of `size`, in the picture's coordinates."""
        rows = self._net.detect(warp(rgb, similarity(a, b), size), DOUBT)
        return [_face(row, a, b, rgb.shape[1], rgb.shape[0]) for row in rows.tolist()]

    def _confirm(self, rgb: np.ndarray, candidates: list[Face], known: list[Face]) -> list[Face]:
        """The known faces, and the candidates that are sure or stand a closer look, each face once."""
        faces, doubts = list(known), 0
        for face in sorted(candidates, key=_score, reverse=True):
            if not area(face.box) or max(_sides(face)) < TINIEST or any(_same(face, other) for other in faces):
                continue
            found: Face | None = face
            if _score(face) < UPRIGHT or abs(_lean(face)) > LEANS * SHOWN:
                doubts += _score(face) < SURE
                found = self._closer(rgb, face) if doubts <= MAX_DOUBTS else None
            if found and not any(_same(found, other) for other in faces):
                faces.append(found)
        return faces

    def _closer(self, rgb: np.ndarray, face: Face) -> Face | None:
        """The face from near and levelled; None where it does not look like one, and is not sure.

        YuNet's score is highest where a face is upright: a small view is turned in steps up to the peak, and on to that
        of the parabola through the three scores there. About it the score is flat, and the landmarks tell the rest.
        """
        views: dict[int, Face | None] = {}

        def score(step: int) -> float:
            if step not in views:
                views[step] = self._view(rgb, face, step * STEP, PROBE)
            seen = views[step]
            return _score(seen) if seen else 0.0

        peak = 0
        while abs(peak * STEP) <= STEEPEST and (best := max((peak, peak - 1, peak + 1), key=score)) != peak:
            peak = best
        before, at, after = score(peak - 1), score(peak), score(peak + 1)
        bend = before - 2 * at + after
        turn = STEP * (peak + ((before - after) / (2 * bend) if bend < 0 else 0))
        sure = face if _score(face) >= SURE else None
        top, scores = views[peak], [max(at, _score(face))]
        if top is None or scores[0] < PROBABLE or (sure and abs(turn) < LEANS):
            return sure
        for _ in range(2):
            seen = self._view(rgb, top, turn, CLOSE)
            if seen is None or _score(seen) < PROBABLE or abs(turn) > STEEPEST:
                return sure
            top = seen
            scores.append(_score(seen))
            rest = math.remainder(_lean(seen) - turn, math.tau) / SHOWN
            turn += min(max(rest, -STEP), STEP)
        return top if statistics.fmean(scores) >= AGREED or scores[-1] >= ACCEPT else sure

    def _view(self, rgb: np.ndarray, face: Face, turn: float, pixels: tuple[int, int]) -> Face | None:
        """The face as it is seen turned back by `turn`, in the middle of a view of its own.

        It is drawn as high as it is, but at least and at most so many `pixels`.
        """
        height = min(max(max(_sides(face)), pixels[0]), pixels[1])
        side = round(MARGIN * height)
        x1, y1, x2, y2 = face.box
        a = cmath.rect(height / max(_sides(face)), -turn)
        b = complex(side, side) / 2 - a * complex(x1 + x2, y1 + y2) / 2
        seen = [other for other in self._look(rgb, a, b, (side, side)) if _same(face, other)]
        return max(seen, key=_score, default=None)

    def _tilted(self, rgb: np.ndarray, scale: float) -> list[Face]:
        """Candidates in the picture turned either way, with a margin about it: faces that lean, or that fill it."""
        height, width = rgb.shape[:2]
        scale *= TILTED
        side = math.ceil(math.hypot(width, height) * scale)
        found = []
        for tilt in (0.0, *TILTS):
            a = cmath.rect(scale, math.radians(tilt))
            found += self._look(rgb, a, complex(side, side) / 2 - a * complex(width, height) / 2, (side, side))
        return found

    def _tiled(self, rgb: np.ndarray, scale: float) -> list[Face]:
        """Candidates in the picture at another scale, tile by tile."""
        height, width = rgb.shape[:2]
        if min(height, width) * scale < TINIEST:  # a strip, of thousands of tiles, and no face
            return []
        found = []
        for top, bottom in _tiles(height * scale, self.long_side):
            for left, right in _tiles(width * scale, self.long_side):
                found += self._look(rgb, complex(scale), -complex(left, top), (right - left, bottom - top))
        return found


def _face(row: list[float], a: complex, b: complex, width: int, height: int) -> Face:
    """A row of YuNet's answer, seen through `z -> a z + b`, as a Face in the picture."""
    x, y, w, h, *points, score = row
    center = (complex(x + w / 2, y + h / 2) - b) / a
    # The upright box about the ellipse of a face that was seen turned.
    turn, half = -cmath.phase(a), (w / 2 / abs(a), h / 2 / abs(a))
    reach_x = math.hypot(half[0] * math.cos(turn), half[1] * math.sin(turn))
    reach_y = math.hypot(half[0] * math.sin(turn), half[1] * math.cos(turn))
    box = center.real - reach_x, center.imag - reach_y, center.real + reach_x, center.imag + reach_y
    landmarks = ((complex(*point) - b) / a for point in zip(points[0::2], points[1::2], strict=True))
    return Face(clip(box, width, height), min(score, 1.0), tuple((z.real, z.imag) for z in landmarks))


def _score(face: Face) -> float:
    return face.detection_score or 0.0


def _lean(face: Face) -> float:
    """How far the landmarks say that the line from the eyes to the mouth leans, radians, clockwise as seen."""
    right_eye, left_eye, _nose, right_corner, left_corner = (complex(*point) for point in face.landmarks)
    return cmath.phase((right_corner + left_corner - right_eye - left_eye) / 1j)


def _smallest(faces: list[Face]) -> int:
    """The longer side of the smallest box."""
    return min(max(_sides(face)) for face in faces)


def _sides(face: Face) -> tuple[int, int]:
    x1, y1, x2, y2 = face.box
    return x2 - x1, y2 - y1


def _same(a: Face, b: Face) -> bool:
    """Whether two boxes are one face: they overlap, or one lies mostly inside the other."""
    smaller = min(area(a.box), area(b.box))
    return smaller > 0 and (iou(a.box, b.box) > 0.3 or intersection(a.box, b.box) > 0.6 * smaller)


def _tiles(length: float, side: int) -> list[tuple[int, int]]:
    """Starts and ends of the fewest overlapping tiles of at most `side` that cover `length`."""
    end = math.ceil(length)
    overlap = min(TILE_OVERLAP, side // 2)
    count = max(1, math.ceil((end - overlap) / (side - overlap)))
    size = math.ceil((end + (count - 1) * overlap) / count)
    return [(start, start + size) for start in (round(i * (end - size) / max(1, count - 1)) for i in range(count))]


def _largest_first(faces: Iterable[Face]) -> list[Face]:
    return sorted((face for face in faces if area(face.box)), key=lambda face: -area(face.box))[:MAX_FACES]


class HaarDetector:
    """OpenCV's frontal-face cascade: embedded, no scores, no landmarks; safe to call from many threads."""

    name = "haar"

    def __init__(self, long_side: int = HAAR_SIDE) -> None:
        """Load the cascade.

        Args:
            long_side: Pixels of the picture's longer side; larger pictures are shrunk.
        """
        self.long_side = long_side
        self._lock = threading.Lock()  # a cascade keeps the picture it works on
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / HAAR_FILE))

    def for_frames(self, long_side: int) -> HaarDetector:
        """The same cascade for frames of a video: its time grows with their size."""
        return HaarDetector(min(long_side, self.long_side))

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """Every face in an RGB uint8 `(H, W, 3)` image, largest first; `[]` where there is none.

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
            box = clip((x / scale, y / scale, (x + w) / scale, (y + h) / scale), width, height)
            face = Face(box)
            if not any(_same(face, other) for other in faces):
                faces.append(face)
        return _largest_first(faces)


def load_detector(name: str | Path = "auto", *, local_files_only: bool = False) -> YuNetDetector | HaarDetector:
    """The detector of that name.

    Args:
        name: "auto" (YuNet where it is cached, else Haar; never a connection), "yunet" (fetched from the Hub where it
            is not cached), "haar", or the path of a YuNet `.onnx` file.
        local_files_only: Take YuNet from the cache alone.

    Raises:
        ValueError: `name` is none of these.
        DetectorError: The file is not there, or is no YuNet; or what the Hub sent is not the pinned file.
        HubError: The Hub cannot be reached.
    """
    if name == "haar":
        return HaarDetector()
    if name == "auto":
        cached = _cached_yunet()
        return YuNetDetector(cached) if cached else HaarDetector()
    if name == "yunet":
        return YuNetDetector(_cached_yunet() or _fetch_yunet(local_files_only))
    if isinstance(name, (str, Path)) and Path(name).suffix == ".onnx":
        return YuNetDetector(name)
    raise ValueError(f"no detector {str(name)!r}: give 'auto', 'yunet', 'haar', or the path of a YuNet .onnx file")


def _cached_yunet() -> Path | None:
    """The pinned file in the Hub's cache, without any connection; None where it is not there, or is another."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(YUNET_REPO, YUNET_FILE)
    return Path(path) if isinstance(path, str) and _is_pinned(Path(path)) else None


def _is_pinned(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == YUNET_SHA256
    except OSError:
        return False


def _fetch_yunet(local_files_only: bool) -> Path:
    folder, commit = pull(YUNET_REPO, [YUNET_FILE], local_files_only=local_files_only)
    path = folder / YUNET_FILE
    if not _is_pinned(path) and not local_files_only:  # damaged on the way or in the cache
        pull(YUNET_REPO, [YUNET_FILE], commit, anew=True)
    if not _is_pinned(path):
        raise DetectorError(
            f"{path.resolve()} is not the pinned {YUNET_FILE} (sha256 {YUNET_SHA256[:12]}…): it is damaged, or "
            f"{YUNET_REPO} holds another now; delete it, and it is fetched again, or use --detector haar"
        )
    return path
