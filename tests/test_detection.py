import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub import snapshot_download
from skimage import data

from deepfer import DetectorError, HubError, load_detector
from deepfer.detection import PHOTO, YUNET_FILE, YUNET_REPO, Detector
from deepfer.face import Face, area, intersection, iou
from deepfer.face_search import views
from deepfer.limits import HUB_TIMEOUT_S
from training.detector.evaluate import landmark_error

FACE = (178, 63, 268, 176)  # the astronaut's, hairline to chin
LANDMARKS = np.array([(200, 102), (247, 103), (220, 125), (199, 143), (240, 144)])  # eyes, nose, mouth corners


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def own() -> Detector:
    return load_detector("deepfer")


@pytest.fixture(params=["deepfer", "yunet", "haar"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return load_detector(request.getfixturevalue("yunet_file") if request.param == "yunet" else request.param)


def check(faces: list[Face], image: np.ndarray) -> None:
    """What holds for every answer: boxes inside the picture and not empty, largest first, each face once."""
    height, width = image.shape[:2]
    for face in faces:
        x1, y1, x2, y2 = face.box
        assert all(type(value) is int for value in face.box)
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert face.detection_score is None or 0 < face.detection_score <= 1
        assert len(face.landmarks) in (0, 5)
    areas = [area(face.box) for face in faces]
    assert areas == sorted(areas, reverse=True)
    for i, face in enumerate(faces):
        for other in faces[i + 1 :]:
            assert iou(face.box, other.box) < 0.3
            assert intersection(face.box, other.box) < 0.7 * area(other.box)


def place(photo: np.ndarray, size: tuple[int, int], scale: float, at: tuple[int, int]) -> tuple[np.ndarray, Face]:
    """The photo, scaled, in a larger picture of `size` with its top left corner `at`; and where its face is."""
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.full((size[1], size[0], 3), (70, 110, 90), np.uint8)
    picture[at[1] : at[1] + small.shape[0], at[0] : at[0] + small.shape[1]] = small
    x1, y1, x2, y2 = (round(value * scale) for value in FACE)
    return picture, Face((x1 + at[0], y1 + at[1], x2 + at[0], y2 + at[1]))


# --- where a detector comes from --------------------------------------------------------------------------------------


def test_yunet_is_downloaded_once_and_then_costs_no_request(
    hub: HubServer, yunet_file: Path, astronaut: np.ndarray
) -> None:
    hub.commit(YUNET_REPO, {YUNET_FILE: yunet_file.read_bytes(), "README.md": b"a card", "other.onnx": b"not wanted"})
    assert len(load_detector("yunet").detect(astronaut)) == 1
    assert [request for request in hub.requests if YUNET_FILE in request]
    assert not [request for request in hub.requests if "other.onnx" in request]
    hub.requests.clear()
    for local_files_only in (False, True):
        detector = load_detector("yunet", local_files_only=local_files_only)
        assert detector.name == "yunet"
        assert len(detector.detect(astronaut)) == 1
    assert hub.requests == []


def test_a_file_other_than_the_pinned_one_is_never_used(hub: HubServer, yunet_file: Path) -> None:
    hub.commit(YUNET_REPO, {YUNET_FILE: yunet_file.read_bytes() + b"\0"})  # it would load
    for _ in range(2):  # the second time from the cache
        with pytest.raises(DetectorError, match="sha256") as refusal:
            load_detector("yunet")
        assert "\n" not in str(refusal.value)


def test_a_damaged_file_in_the_cache_is_named_and_once_deleted_fetched_again(hub: HubServer, yunet_file: Path) -> None:
    hub.commit(YUNET_REPO, {YUNET_FILE: yunet_file.read_bytes()})
    load_detector("yunet")
    cached = Path(snapshot_download(YUNET_REPO, local_files_only=True), YUNET_FILE)
    cached.write_bytes(cached.read_bytes()[:-1] + b"\0")
    with pytest.raises(DetectorError, match="delete it") as refusal:
        load_detector("yunet", local_files_only=True)
    named = Path(str(refusal.value).split(" is not the pinned")[0])
    assert named.samefile(cached)
    named.unlink()
    assert load_detector("yunet").name == "yunet"


def test_the_default_is_embedded(hub: HubServer, yunet_file: Path) -> None:
    hub.commit(YUNET_REPO, {YUNET_FILE: yunet_file.read_bytes()})
    load_detector("yunet")  # a cached YuNet changes nothing
    hub.requests.clear()
    hub.silent.set()
    for name in ("auto", "deepfer"):
        assert load_detector(name).name == "deepfer"
    assert load_detector().name == "deepfer"
    assert hub.requests == []


def test_a_missing_repo_or_file_gets_one_message(hub: HubServer) -> None:
    for repos in ({}, {YUNET_REPO: {"README.md": b"a card, and no model"}}):
        hub.reset(repos)
        with pytest.raises((HubError, DetectorError)) as fault:
            load_detector("yunet")
        assert "\n" not in str(fault.value)
    hub.requests.clear()
    with pytest.raises(HubError, match="cache"):
        load_detector("yunet", local_files_only=True)
    assert hub.requests == []


def test_a_silent_hub_is_given_up(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HUB_TIMEOUT_S <= 15
    monkeypatch.setattr("deepfer.hub.HUB_TIMEOUT_S", 0.5)
    hub.silent.set()
    start = time.monotonic()
    with pytest.raises(HubError) as fault:
        load_detector("yunet")
    assert time.monotonic() - start < 3
    assert "\n" not in str(fault.value)


def test_an_unreachable_hub_gets_one_message_in_15_seconds(hub: HubServer) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code = (
            "import deepfer\n"
            "print(deepfer.load_detector('auto').name)\n"
            "try: deepfer.load_detector('yunet')\n"
            "except deepfer.DeepFERError as error: print(type(error).__name__, error)\n"
        )
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "HF_ENDPOINT": nowhere},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    assert time.monotonic() - start < 15
    auto, refusal = done.stdout.splitlines()
    assert auto == "deepfer"
    assert refusal.startswith("HubError ")


@pytest.mark.parametrize("name", ["yunett", "", "YUNET", "models/yunet", "photo.jpg", "onnx", None])
def test_a_name_that_is_none_is_answered_with_the_forms(name: str | None) -> None:
    with pytest.raises(ValueError, match=r"'auto', 'deepfer', 'yunet', 'haar', .*\.onnx"):
        load_detector(name)


def test_a_file_of_ones_own(yunet_file: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    for path in (str(yunet_file), yunet_file):
        detector = load_detector(path)
        assert detector.name == "yunet"
        assert len(detector.detect(astronaut)) == 1
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(yunet_file.read_bytes()[:100_000])
    with pytest.raises(DetectorError, match=r"cut\.onnx"):
        load_detector(cut)


def test_files_that_are_no_detector(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    for name in ("text.onnx", "empty.onnx", "folder.onnx", "missing.onnx"):
        with pytest.raises(DetectorError, match=name) as fault:
            load_detector(tmp_path / name)
        assert "\n" not in str(fault.value)


# --- what a detector finds --------------------------------------------------------------------------------------------


def test_one_face_once(detector: Detector, astronaut: np.ndarray) -> None:
    for scale in (0.5, 1.0, 2.0):
        image = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        (face,) = detector.detect(image)
        check([face], image)
        x1, y1, x2, y2 = (round(value * scale) for value in FACE)
        assert iou(face.box, (x1, y1, x2, y2)) > 0.4


def test_score_and_landmarks(own: Detector, astronaut: np.ndarray) -> None:
    (face,) = own.detect(astronaut)
    assert face.detection_score is not None
    assert face.detection_score > 0.7
    assert landmark_error(face, LANDMARKS) < 0.15
    (face,) = load_detector("haar").detect(astronaut)
    assert (face.detection_score, face.landmarks) == (None, ())


def test_no_face(detector: Detector) -> None:
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)
    faceless = [np.full((480, 640, 3), level, np.uint8) for level in (0, 128, 255)]
    faceless.append(np.repeat(np.tile(ramp, (480, 1))[..., None], 3, axis=2))
    faceless += [np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8) for seed in range(2)]
    for image in faceless:
        assert detector.detect(image) == []


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (3, 2), (17, 40)])
def test_pictures_too_small_for_a_face(detector: Detector, size: tuple[int, int]) -> None:
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert detector.detect(image) == []


@pytest.mark.alone
def test_a_strip_takes_no_longer_than_a_photo(own: Detector) -> None:
    seconds = []
    for shape in ((1000, 1500, 3), (1, 1_500_000, 3), (1_500_000, 8, 3)):
        start = time.monotonic()
        assert own.detect(np.full(shape, 128, np.uint8)) == []
        seconds.append(time.monotonic() - start)
    assert max(seconds[1:]) < 2 * seconds[0]


def test_many_faces(detector: Detector, astronaut: np.ndarray) -> None:
    tile = cv2.resize(astronaut[:350, 60:410], (240, 240), interpolation=cv2.INTER_AREA)
    image = np.tile(tile, (3, 4, 1))
    faces = detector.detect(image)
    check(faces, image)
    cells = {((x1 + x2) // 480, (y1 + y2) // 480) for x1, y1, x2, y2 in (face.box for face in faces)}
    assert len(cells) == 12
    assert len(faces) == 12


def test_the_largest_faces_are_kept(detector: Detector, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = place(astronaut, (1024, 512), 0.5, (600, 100))
    image[:, :512] = astronaut
    both = detector.detect(image)
    check(both, image)
    assert len(both) == 2
    assert both[0].box[0] < 512 <= both[1].box[0]
    monkeypatch.setattr("deepfer.face_search.MAX_FACES", 1)
    assert detector.detect(image) == both[:1]


def test_a_face_over_the_border_is_cut(own: Detector, astronaut: np.ndarray) -> None:
    cuts = [astronaut[:, 195:], astronaut[:, :250], astronaut[80:], astronaut[:160]]
    for image, side, edge in zip(cuts, (0, 2, 1, 3), (0, 250, 0, 160), strict=True):
        (face,) = own.detect(image)
        check([face], image)
        assert abs(face.box[side] - edge) <= 4


@pytest.mark.parametrize("side", [32, 48, 200, 1500])
def test_a_face_that_fills_the_image(own: Detector, astronaut: np.ndarray, side: int) -> None:
    x1, y1, x2, y2 = FACE
    image = cv2.resize(astronaut[y1:y2, x1:x2], (side, side), interpolation=cv2.INTER_CUBIC)
    (face,) = own.detect(image)
    check([face], image)
    assert area(face.box) > 0.6 * side * side


@pytest.mark.parametrize("degrees", [-150, -90, -45, -20, 0, 20, 45, 90, 135, 180])
def test_a_turned_face(own: Detector, astronaut: np.ndarray, degrees: float) -> None:
    center = ((FACE[0] + FACE[2]) / 2, (FACE[1] + FACE[3]) / 2)
    turn = cv2.getRotationMatrix2D(center, degrees, 1.0)
    image = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    (face,) = own.detect(image)
    expected = np.column_stack([LANDMARKS, np.ones(5)]) @ turn.T
    assert landmark_error(face, expected) < 0.3


def test_small_faces_in_large_images(own: Detector, astronaut: np.ndarray) -> None:
    scale = 32 / (FACE[3] - FACE[1])
    for at in ((30, 40), (1300, 1000), (700, 600)):  # the last where tiles meet
        image, truth = place(astronaut, (1632, 1224), scale, at)
        (face,) = own.detect(image)
        check([face], image)
        assert iou(face.box, truth.box) > 0.5


def test_a_small_face_beside_a_large_one(own: Detector, astronaut: np.ndarray) -> None:
    image, truth = place(astronaut, (1632, 1224), 32 / (FACE[3] - FACE[1]), (1200, 300))
    image[:512, :512] = astronaut
    large, small = own.detect(image)
    check([large, small], image)
    assert iou(large.box, FACE) > 0.5
    assert iou(small.box, truth.box) > 0.5


def group(megapixels: float) -> tuple[np.ndarray, int]:
    """A photo of so many megapixels with one near face and twelve far behind it: each 36 pixels high at 12."""
    width, height = round(math.sqrt(megapixels * 4 / 3) * 1000), round(math.sqrt(megapixels * 3 / 4) * 1000)
    astronaut = data.astronaut()
    image = cv2.resize(data.coffee(), (width, height), interpolation=cv2.INTER_CUBIC)
    near = cv2.resize(astronaut, (height // 2, height // 2), interpolation=cv2.INTER_CUBIC)
    image[-len(near) :, : len(near)] = near
    small = cv2.resize(
        astronaut, None, fx=36 / 113 * height / 3000, fy=36 / 113 * height / 3000, interpolation=cv2.INTER_AREA
    )
    for number in range(12):
        x, y = (number % 6 + 0.5) * width / 6, (number // 6 + 0.5) * height / 5
        image[int(y) : int(y) + len(small), int(x) : int(x) + len(small)] = small
    return image, 13


def test_people_behind_a_near_face_are_found(own: Detector) -> None:
    image, faces = group(12)
    assert len(own.detect(image)) >= faces - 1


def test_shrinking_an_image_finds_no_more_faces(own: Detector) -> None:
    counts = []
    for megapixels in (2, 4, 6, 8, 12):
        image, _ = group(12)
        scale = math.sqrt(megapixels / 12)
        counts.append(len(own.detect(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))))
    assert counts[-1] >= max(counts) - 1, counts


def test_time_over_size_has_no_hump() -> None:
    """What is searched, in pixels of all views, grows with the image up to a limit and never falls."""
    searched = []
    for megapixels in np.geomspace(0.3, 50, 60):
        width, height = round(math.sqrt(megapixels * 4 / 3) * 1000), round(math.sqrt(megapixels * 3 / 4) * 1000)
        searched.append(sum(view.size[0] * view.size[1] for view in views(width, height, PHOTO)))
    grown = np.diff(searched) / searched[:-1]
    assert grown.min() > -0.12  # tiles overlap more or less
    assert searched[-1] < 1.4 * PHOTO.max_pixels


def test_one_view_is_enough_for_a_frame(own: Detector, astronaut: np.ndarray) -> None:
    frame, truth = place(astronaut, (640, 480), 0.9, (100, 10))
    (face,) = own.for_frames(320).detect(frame)
    assert iou(face.box, truth.box) > 0.6


def test_threads_get_the_answers_of_one(detector: Detector, astronaut: np.ndarray) -> None:
    images = [  # of changing sizes, which a network is resized to
        astronaut,
        place(astronaut, (700, 900), 0.7, (200, 300))[0],
        np.ascontiguousarray(astronaut[:, ::-1]),
        np.zeros((60, 350, 3), np.uint8),
        cv2.resize(astronaut, (300, 300), interpolation=cv2.INTER_AREA),
    ]
    alone = [detector.detect(image) for image in images]
    assert [len(faces) for faces in alone] == [1, 1, 1, 0, 1]
    jobs = images * 3
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(detector.detect, jobs)) == alone * 3


def test_a_part_of_an_array_is_a_picture_too(detector: Detector, astronaut: np.ndarray) -> None:
    window = astronaut[10:400, 50:450]
    assert detector.detect(window) == detector.detect(np.ascontiguousarray(window))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.full((8, 8, 3), np.nan),
        None,
    ],
)
def test_not_an_image(detector: Detector, image: object) -> None:
    with pytest.raises(ValueError, match=r"uint8 and shape \(H, W, 3\)"):
        detector.detect(image)  # type: ignore[arg-type]
