import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks.peers import __main__ as peers
from benchmarks.peers import report

ROOT = Path(__file__).parents[1]


def test_the_smallest_run_beside_a_library_that_is_not_there(tmp_path: Path) -> None:
    out, chart = tmp_path / "peers.json", tmp_path / "peers.png"
    smallest = ["--here", "--turns", "1", "--pictures", "2", "--out", out, "--chart", chart]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "--only", "DeepFER, CNN, Haar", "hsemotion-onnx", *smallest],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(out.read_text())
    ours, other = result["contenders"]
    assert other["why_not"] == "load: ModuleNotFoundError: No module named 'hsemotion_onnx'"
    assert ours["why_not"] is None
    assert ours["ours"]
    assert 0 < ours["classifier_ms"]["1"] < ours["classifier_ms"]["32"]
    assert 0.05 < ours["cold_s"] < 60
    assert 40 < ours["memory_mb"] < 1000
    assert list(ours["pictures"]) == list(peers.PICTURES)
    assert ours["pictures"]["640x480, 1 face"]["found"] == 1
    assert ours["folder"]["pictures"] == 2
    assert done.stdout.rstrip("\n") == report.markdown(result)
    assert f"| hsemotion-onnx: not measured: {other['why_not']} | – |" in done.stdout
    with Image.open(chart) as drawn:
        assert drawn.width > 800
