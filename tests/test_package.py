import itertools
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import deepfer

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "page": ["requirements.txt"],
    "mcp": ["ui/requirements-mcp.txt"],
    "annotate": ["deepfer/annotate/requirements.txt"],
    "scale": ["deepfer/annotate/requirements.txt", "deepfer/annotate/requirements-ray.txt"],
    "train": ["training/requirements.txt"],
    "dev": ["tests/requirements.txt"],
    "docs": ["docs/requirements.txt"],
}


def requirements(file: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def test_every_public_name_is_documented() -> None:
    assert sorted(deepfer.__all__) == sorted(set(deepfer.__all__))
    for name in deepfer.__all__:
        assert getattr(deepfer, name).__doc__ or name == "LABELS"


def test_the_package_stands_alone() -> None:
    code = (
        "import sys, pkgutil, importlib, deepfer\n"
        "for module in pkgutil.iter_modules(deepfer.__path__, 'deepfer.'):\n"
        "    module.name == 'deepfer.__main__' or importlib.import_module(module.name)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names = set(loaded.stdout.split())
    assert "deepfer" in names
    assert not names & {"gradio", "babel", "tensorflow", "keras", "datasets", "training", "ui", "matplotlib", "sklearn"}


def test_the_package_requires_what_the_page_does_but_its_framework() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    served = {one.name: one for one in requirements("requirements.txt")}
    assert served.pop("gradio")
    assert served.pop("babel")
    assert {one.name: one for one in map(Requirement, project["dependencies"])} == served


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize(
    ("platform", "machine", "name"),
    [("linux", "x86_64", "tensorflow-cpu"), ("linux", "aarch64", "tensorflow"), ("darwin", "arm64", "tensorflow")],
)
def test_training_installs_one_tensorflow_without_cuda(python: str, platform: str, machine: str, name: str) -> None:
    asked = requirements("training/requirements.txt")
    place = {"python_version": python, "sys_platform": platform, "platform_machine": machine}
    chosen = [one.name for one in asked if one.marker is None or one.marker.evaluate(place)]
    assert [one for one in chosen if one.startswith(("tensorflow", "torch", "nvidia", "jax"))] == [name]


def test_the_wheel_recognizes_a_face_in_an_empty_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy, since a build writes beside its source, and other tests watch the checkout
    shutil.copytree(ROOT / "deepfer", source / "deepfer", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *itertools.chain.from_iterable(EXTRAS.values())):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("deepfer-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("METADATA")]
    assert "deepfer/checkpoints/cnn/model.tflite" in names
    assert f"\nVersion: {deepfer.__version__}\n" in metadata
    required = [Requirement(line.split(": ")[1]) for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    for extra, files in EXTRAS.items():
        named = {one.name for one in required if one.marker and f'extra == "{extra}"' in str(one.marker)}
        assert named == {one.name for file in files for one in requirements(file)}
    assert not [name for name in names if not name.startswith(("deepfer/", "deepfer-"))]
    from PIL import Image
    from skimage.data import astronaut

    photo = tmp_path / "photo.png"
    Image.fromarray(astronaut()).save(photo)
    # The dependencies alone beside it: what `pip install` would have put there, without the checkout.
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import deepfer; assert 'site' in deepfer.__file__, deepfer.__file__\n"
        "recognizer = deepfer.EmotionRecognizer.from_pretrained()\n"
        "faces = recognizer.recognize(deepfer.read_image(sys.argv[1]))\n"
        "print(len(faces), faces[0].emotion)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, photo], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["1", "happy"], done.stderr
