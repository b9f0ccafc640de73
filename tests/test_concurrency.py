"""Many threads and processes at once give the same results as one."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

from deepfer import EmotionRecognizer, Face
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
REPO = "user/faces"


@pytest.mark.alone
@pytest.mark.parametrize("detector", ["deepfer", "haar"])
def test_32_threads_over_one_recognizer(detector: str, astronaut: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained(detector=detector).for_frames()
    near = astronaut[:260, 80:340]
    pictures = [np.ascontiguousarray(picture) for picture in (near, near[:, ::-1], near[10:, 20:], astronaut)]
    expected = [recognizer.recognize(picture) for picture in pictures]
    assert [len(faces) for faces in expected] == [1] * len(pictures)
    start, answers = threading.Barrier(32), dict[int, list[list[Face]]]()

    def recognize(number: int) -> None:
        start.wait()
        order = np.random.default_rng(number).permutation(len(pictures))
        found = {int(i): recognizer.recognize(pictures[i]) for i in order}
        answers[number] = [found[i] for i in range(len(pictures))]

    threads = [threading.Thread(target=recognize, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(32))
    assert all(found == expected for found in answers.values())


@pytest.mark.alone
def test_8_processes_over_one_empty_cache(hub: HubServer, tmp_path: Path) -> None:
    """All processes request the model for the first time at once."""
    commit = hub.commit(REPO, {name: (EMBEDDED / DEFAULT / name).read_bytes() for name in (CONFIG, MODEL)})
    hub.fail(f"GET.*{MODEL}", then="trickle", times=99)
    code = (
        "import sys, pathlib, time, deepfer\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        f"while len(list(pathlib.Path({str(tmp_path)!r}).iterdir())) < 8: time.sleep(0.01)\n"
        f"recognizer = deepfer.EmotionRecognizer.from_pretrained({REPO!r})\n"
        "faces = recognizer.recognize(deepfer.read_image('ui/examples/astronaut.jpg'))\n"
        "print(recognizer.revision, faces)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / str(i)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for i in range(8)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert len({out for out, _ in outputs}) == 1
    assert outputs[0][0].startswith(commit.encode())
    assert b"happy" in outputs[0][0]
    cache = Path(os.environ["HF_HOME"], "hub", "models--user--faces")
    assert {path.name: path.read_bytes() for path in cache.glob("snapshots/*/*")} == hub.files(REPO)
    assert list(cache.glob("blobs/*.incomplete")) == []
