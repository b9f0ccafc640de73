"""Training with JAX, without TensorFlow; TensorFlow then loads the network."""

import hashlib
import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np
import pytest

from training.convert import keras_file
from training.convert.litert import predict_logits
from training.data.loading import load, pack
from training.data.synthetic import synthetic_split

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = re.compile(
    "(ai-edge-litert|h5py|huggingface_hub|keras|matplotlib|numpy|opencv-python-headless|pi-heif|pillow|scikit-learn|tqdm)\\b"
)
JAX = "jax>=0.7,<1"

PREDICT = """
import sys
from importlib.util import find_spec
from pathlib import Path
import numpy as np
from training.convert import keras_file
from training.data.loading import load
assert find_spec("tensorflow") is None
data, run = Path(sys.argv[1]), Path(sys.argv[2])
images = load(data)["validation"].images
answers = keras_file.load(run / "best.keras").predict(images[..., None].astype(np.float32), verbose=0)
np.savez(run / "answers.npz", **{name: np.asarray(values) for name, values in answers.items()})
"""


def requirements() -> list[str]:
    """The packages that training with JAX needs, with the versions of the requirement files."""
    files = [(ROOT / name).read_text() for name in ("requirements.txt", "training/requirements.txt")]
    return [line for text in files for line in text.splitlines() if PACKAGES.match(line)] + [JAX]


@pytest.fixture
def jax_python(request: pytest.FixtureRequest, leave_out: Callable[[str], NoReturn]) -> Path:
    """The interpreter of an environment with JAX and without TensorFlow; made once for the same requirements."""
    wanted = requirements()
    key = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir(f"jax-{key}"))
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--retries",
            "1",
            *wanted,
        ]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            leave_out(f"JAX: pip could not install it: {done.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return python


def test_jax_trains_without_tensorflow(jax_python: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "drawn.npz", tmp_path / "run"
    pack({"train": synthetic_split(140, 0), "validation": synthetic_split(70, 1)}, data)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    asked = ["--model", "cnn", "--dataset", str(data), "--out", str(run), "--recipe", "smoke", "--epochs", "1"]
    for command in (["-m", "training.train", *asked], ["-c", PREDICT, str(data), str(run)]):
        done = subprocess.run([jax_python, *command], capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((run / "run.json").read_text())["backend"] == "jax"
    assert keras.backend.backend() == "tensorflow"
    with np.load(run / "answers.npz") as under_jax:
        under_tensorflow = predict_logits(keras_file.load(run / "best.keras"), load(data)["validation"].images)
        assert set(under_jax) == set(under_tensorflow)
        for name, logits in under_tensorflow.items():
            assert logits.std() > 0.01
            assert np.abs(under_jax[name] - logits).max() < 1e-4
