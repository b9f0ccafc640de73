"""YuNet in LiteRT against OpenCV with the same file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfer import yunet as yunet_module
from deepfer.grid_network import GridNetwork
from deepfer.yunet import load_yunet

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.2


@pytest.fixture
def net(yunet_file: Path) -> GridNetwork:
    return load_yunet(yunet_file)


def opencv(yunet_file: Path, rgb: np.ndarray) -> np.ndarray:
    size = rgb.shape[1::-1]
    detector = cv2.FaceDetectorYN.create(str(yunet_file), "", size, THRESHOLD, 0.3, 5000)
    found = detector.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    return np.empty((0, 15), np.float32) if found is None else found


def views(astronaut: np.ndarray) -> Iterator[np.ndarray]:
    """Images with sizes that are multiples of 32 and others, growing and shrinking; texture; an empty image."""
    for size in ((512, 512), (320, 240), (333, 77), (65, 65), (640, 481), (96, 96)):
        yield cv2.resize(astronaut, size, interpolation=cv2.INTER_AREA)
    yield np.tile(cv2.resize(astronaut[60:200, 150:300], (75, 70)), (4, 5, 1))
    yield np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    yield np.zeros((64, 64, 3), np.uint8)


def test_it_finds_what_opencv_finds(net: GridNetwork, yunet_file: Path, astronaut: np.ndarray) -> None:
    counts = []
    for view in views(astronaut):
        found, expected = net.detect(view, THRESHOLD), opencv(yunet_file, view)
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, abs=1e-3)
        counts.append(len(found))
    assert max(counts) > 1
    assert min(counts) == 0


def test_the_threshold_decides(net: GridNetwork, astronaut: np.ndarray) -> None:
    (face,) = net.detect(astronaut, THRESHOLD)
    assert len(net.detect(astronaut, float(face[14]) + 0.01)) == 0


def test_earlier_images_do_not_affect_the_result(net: GridNetwork, astronaut: np.ndarray) -> None:
    """A smaller image with the same padded size: the padding is black again."""
    cut = astronaut[:481, :481]
    alone = net.detect(cut, THRESHOLD)
    net.detect(np.full((512, 512, 3), 255, np.uint8), THRESHOLD)
    assert np.array_equal(net.detect(cut, THRESHOLD), alone)


def test_it_survives_running_out_of_memory(yunet_file: Path) -> None:
    code = f"""
import resource, sys
import numpy as np
from deepfer.yunet import load_yunet

net = load_yunet({str(yunet_file)!r})
small, large = (np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8) for side in (320, 6000))
before = net.detect(small, 0.01)
lines = open("/proc/self/status").read().splitlines()
used = next(int(line.split()[1]) for line in lines if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 300_000_000, -1))
try:
    net.detect(large, 0.01)
except MemoryError as error:
    print(error)
assert len(before) and np.array_equal(net.detect(small, 0.01), before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "too little memory to detect faces in 6000x6000\n", done.stderr[-2000:]
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_corrupt_weights_give_no_impossible_boxes(
    yunet_file: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def damaged(path: Path) -> dict[str, Any]:
        weights = own(path)
        weights["heads"][0][1][0][2:6] = value  # of the boxes
        return weights

    own = yunet_module._weights
    monkeypatch.setattr(yunet_module, "_weights", damaged)
    found = load_yunet(yunet_file).detect(astronaut, THRESHOLD)
    assert np.isfinite(found).all()


def field(number: int, content: bytes | str | int) -> bytes:
    """A field of a protocol buffer, under 128 bytes."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    content = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2, len(content)]) + content


def test_another_network_is_refused(tmp_path: Path) -> None:
    """A valid ONNX file with a single ReLU."""
    side = field(1, field(1, 8))
    kind = field(1, field(1, 1) + field(2, 4 * side))
    graph = field(1, field(1, "x") + field(2, "y") + field(4, "Relu")) + field(2, "relu")
    graph += field(11, field(1, "x") + field(2, kind)) + field(12, field(1, "y") + field(2, kind))
    path = tmp_path / "relu.onnx"
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    assert cv2.dnn.readNetFromONNX(str(path)).getLayerNames()
    with pytest.raises(ValueError, match="is not YuNet"):
        load_yunet(path)
