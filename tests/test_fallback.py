"""The page without the requested model: it uses the embedded one and says so."""

import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from hub_server import HubServer

from benchmarks.harness.app_server import ROOT, serve
from deepfer.limits import HUB_TIMEOUT_S


@pytest.mark.slow
def test_the_page_shows_the_embedded_model_and_says_so(hub: HubServer, tmp_path: Path) -> None:
    hub.silent.set()
    message = f"does not answer: no data for {HUB_TIMEOUT_S:g} s"
    with serve(tmp_path, env={"DEEPFER_MODEL": "user/faces"}) as server:  # which waits for the page, a minute at most
        with urllib.request.urlopen(server.url, timeout=20) as answer:
            page = answer.read().decode()
        assert "Using the built-in model." in page
        assert message in page
        assert message in server.log.read_text()
        assert "Traceback" not in server.log.read_text()
        client = Client(server.url, verbose=False, download_files=tmp_path)
        _, found = client.predict(handle_file(ROOT / "ui/examples/astronaut.jpg"), api_name="/recognize_image")
        client.close()
    assert (found["model"], found["revision"]) == ("cnn", None)
    assert found["faces"][0]["emotion"] == "happy"
