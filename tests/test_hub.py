"""Checkpoints from the Hub, through the real client and the loopback Hub."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

from deepfer import EmotionRecognizer, HubError
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL, resolve
from deepfer.hub import pull

REPO = "user/faces"


def files() -> dict[str, bytes]:
    served = {name: (EMBEDDED / DEFAULT / name).read_bytes() for name in (CONFIG, MODEL)}
    return {**served, "README.md": b"a card", "model.keras": bytes(1000)}


def test_only_what_is_served_is_pulled_and_the_commit_is_told(hub: HubServer, astronaut: np.ndarray) -> None:
    commit = hub.commit(REPO, files())
    recognizer = EmotionRecognizer.from_pretrained(REPO, detector="haar")
    assert (recognizer.model_name, recognizer.revision) == (REPO, commit)
    assert sorted(path.name for path in recognizer.classifier.checkpoint.folder.iterdir()) == [CONFIG, MODEL]
    assert recognizer.recognize(astronaut)[0].emotion == "happy"


def test_a_pinned_commit_that_is_cached_takes_no_request(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    first = resolve(REPO)
    hub.requests.clear()
    again = resolve(REPO, revision=commit)
    assert again.folder == first.folder
    assert hub.requests == []
    assert resolve(REPO, local_files_only=True).folder == first.folder
    assert hub.requests == []


def test_an_older_revision(hub: HubServer) -> None:
    old = hub.commit(REPO, files())
    new = hub.commit(REPO, {**files(), "more": b"1"})
    assert old != new
    assert resolve(REPO).revision == new
    assert resolve(REPO, revision=old).revision == old


def test_what_is_not_there_is_told_in_a_line(hub: HubServer) -> None:
    with pytest.raises(HubError, match=r"no model repo user/nothing.*hf auth login"):
        resolve("user/nothing")
    hub.commit(REPO, files())
    with pytest.raises(HubError, match="no revision 'v9'"):
        resolve(REPO, revision="v9")
    with pytest.raises(HubError, match="not in the local cache"):
        resolve(REPO, local_files_only=True)


def test_a_hub_that_does_not_answer_is_told_soon(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.silent.set()
    monkeypatch.setattr("deepfer.hub.HUB_TIMEOUT_S", 1.0)  # the same path as with 10 s, in less of the tests' time
    start = time.monotonic()
    with pytest.raises(HubError, match="cannot fetch user/faces"):
        pull(REPO, [CONFIG])
    assert time.monotonic() - start < 5


def test_a_hub_that_refuses_is_told_within_15_seconds() -> None:
    code = "from deepfer.checkpoint import resolve; resolve('user/faces')"
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert time.monotonic() - start < 15
    assert "HubError: cannot fetch user/faces from the Hub" in done.stderr


def test_files_land_in_the_cache_whole(hub: HubServer) -> None:
    hub.commit(REPO, files())
    folder, _commit = pull(REPO, [CONFIG, MODEL])
    for name in (CONFIG, MODEL):
        assert Path(folder, name).read_bytes() == files()[name]
