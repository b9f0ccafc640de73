import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import breakdown, growth
from benchmarks.annotate import tables as annotate
from benchmarks.peers import __main__ as peers
from benchmarks.peers import environments, tables

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def run(name: str, folder: Path, *options: str) -> tuple[dict, str]:
    """Run a benchmark in its smallest form; returns the file that it writes and what it prints."""
    out, chart = folder / "out.json", folder / "chart.png"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options, "--out", out, "--chart", chart],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    with Image.open(chart) as drawn:
        assert drawn.width > 800
    return json.loads(out.read_text()), done.stdout.rstrip("\n")


def test_side_by_side_with_a_library_that_is_not_there(tmp_path: Path) -> None:
    contenders = "DeepFER, CNN", "hsemotion-onnx"
    result, printed = run("peers", tmp_path, "--here", "--turns", "1", "--images", "2", "--only", *contenders)
    ours, other = result["contenders"]
    assert other["why_not"] == "load: ModuleNotFoundError: No module named 'hsemotion_onnx'"
    assert ours["why_not"] is None
    assert ours["ours"]
    assert 0 < ours["classifier_ms"]["1"] < ours["classifier_ms"]["32"]
    assert ours["cold_s"] > 0.05
    assert 40 < ours["memory_mb"] < 1000
    assert {name: (m["found"], m["faces"]) for name, m in ours["pictures"].items()} == {
        "640x480, 1 face": (1, 1), "640x480, 4 faces": (4, 4), "640x480, 16 faces": (16, 16), "12 MP, 4 faces": (4, 4),
    }  # fmt: skip
    assert ours["folder"]["found"] > 0
    assert ours["folder"]["faces"] > 0
    assert printed == tables.markdown(result)
    assert "Not measured, because loading failed: hsemotion-onnx" in printed
    assert "| hsemotion-onnx" not in printed


def test_where_the_time_goes(tmp_path: Path) -> None:
    result, printed = run("breakdown", tmp_path, "--runs", "1")
    assert printed == breakdown.markdown(result)
    for taken in result["pictures_ms"].values():
        assert tuple(taken) == breakdown.PARTS
        assert all(taken[part] > 0 for part in breakdown.PARTS)
    assert result["peak"]["multiplications"] > 1e8
    assert 0 < result["peak"]["classifier_giga_per_s"] < result["peak"]["product_giga_per_s"]


def test_how_cost_grows(tmp_path: Path) -> None:
    result, printed = run("growth", tmp_path, "--runs", "1", "--images", "2", "--many", "60", "--smallest")
    assert printed == growth.markdown(result)
    assert {key: point["found"] for key, point in result["faces"]["photo"].items()} == {"1": 1, "2": 2}
    one, two = (run["memory_mb"] for run in result["workers"]["runs"].values())
    assert 40 < one < two


def test_annotating(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    for options in (("--photos", "32", "--repeats", "1"), ("--many", "400", "--chunk", "10")):
        command = [sys.executable, "-m", "benchmarks.annotate", *options, "--workers", "1", "--out", out]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(out.read_text())
    assert done.stdout.rstrip("\n").endswith(annotate.markdown(result))
    for size in ("640x480", "4000x3000"):
        run = result["throughput"][size]["local 1"]
        assert run["per_second"] > 0
        assert 0 < run["worker_ms"] <= run["all_ms"]
        assert 0 <= run["idle"] < 1
    killed = result["endurance"]["photos"]
    assert killed["inputs"] == 400
    assert 100 < killed["faces"] <= 400  # the faces are tiny
    assert 13 <= killed["kept_shards"] <= killed["shards"] == 40
    assert killed["read_twice"] <= 11  # the unfinished chunk of the killed driver, and the input of the killed worker


def test_a_library_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "nothing.txt").write_text("./nowhere\n")
    with pytest.raises(environments.CannotInstallError, match=r"^cannot be installed: ERROR: .*nowhere"):
        environments.interpreter("nothing", tmp_path / "environments")


def test_labels_of_others_are_mapped_by_name() -> None:
    labels = ["Sadness", "Contempt", "Anger", "Neutral", "Happiness", "Surprise", "Fear", "Disgust"]
    probabilities = np.array([[0.1, 0.2, 0.3, 0.05, 0.15, 0.08, 0.07, 0.05]])
    ours = peers.in_our_order(probabilities, labels)
    assert ours == pytest.approx(np.array([[0.3, 0.05, 0.07, 0.15, 0.05, 0.1, 0.08]]) / 0.8)


def test_the_ratios_are_theirs_over_ours() -> None:
    def contender(title: str, ms: float) -> dict:
        found = {"640x480, 1 face": {"ms": ms, "found": 1, "faces": 1}}
        return {
            "title": title,
            "ours": title.startswith("DeepFER"),
            "detector": "x",
            "why_not": None,
            "pictures": found,
        }

    named = contender(tables.FRAME, 5.0), contender("fer, Haar", 45.0)
    text = tables.ratios({"contenders": list(named)})
    assert text.splitlines()[2:] == [f"| frame, 640x480, 1 face | {tables.FRAME} | fer, Haar | 9.0x |"]
