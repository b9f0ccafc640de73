import re
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import class_folders, textured
from PIL import Image

from deepfer.face import LABELS
from training import explore
from training.data.loading import pack
from training.data.split import Split, joined
from training.data.synthetic import synthetic_split
from training.report.image_grid import RUNS, image_grid, require_private


def run(dataset: Path, out: Path) -> int:
    return explore.main(["--dataset", str(dataset), "--out", str(out)])


def figures(out: Path) -> dict[str, str]:
    """The page's pictures: file to alt text."""
    page = (out / "README.md").read_text()
    return {name: alt for alt, name in re.findall(r"!\[([^]]*)\]\(([^)]*)\)", page)}


def test_a_dataset_with_votes_and_near_duplicates(tmp_path: Path) -> None:
    train, own = textured(synthetic_split(70, 0), 1), textured(synthetic_split(21, 1), 2)
    twins = train.take(np.arange(7))
    relabelled = Split(twins.images, np.roll(twins.labels, 1), twins.votes, twins.ferplus_labels)
    pack({"train": train, "validation": joined({"twins": relabelled, "own": own})}, tmp_path / "drawn.npz")
    assert run(tmp_path / "drawn.npz", tmp_path / "out") == 0
    shown = figures(tmp_path / "out")
    assert set(shown) == {path.name for path in (tmp_path / "out").glob("*.png")}
    assert set(shown) == {
        f"{name}.png"
        for name in ("distribution", "samples", "mean_faces", "agreement", "near_duplicates", "augmentation")
    }
    assert all(len(alt) > 20 for alt in shown.values())
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| fear | 10 (14.3%) | 4 (14.3%) |" in page
    assert "| all | 70 | 28 |" in page
    assert "| validation, in train | 28 | 7 | 25.0 | 7 |" in page
    assert "On 98 of 98 images, FER+ has a majority" in page
    assert "It agrees with the label on 92.9% of these." in page


def test_class_folders_without_some_emotions(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "faces", {"joy": "happy", "anger": "angry"}, per_class=20, size=(70, 64))
    assert run(folder, tmp_path / "out") == 0
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| fear | 0 (0.0%) | 0 (0.0%) |" in page
    assert "| happy | 18 (50.0%) | 2 (50.0%) |" in page
    assert "held out with seed 0" in page
    assert "no FER+ votes" in page
    assert "agreement.png" not in figures(tmp_path / "out")


def test_agreement_is_counted_by_label() -> None:
    labels, majority = np.array([0, 0, 0, 3]), np.array([0, 5, -1, 3])
    counts = explore.agreement(Split(np.zeros((4, 48, 48), np.uint8), labels, np.zeros((4, 7)), majority))
    assert counts.shape == (7, 8)
    assert counts[0].tolist() == [1, 0, 0, 0, 0, 1, 0, 1]
    assert counts[LABELS.index("happy")].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert counts.sum() == 4


def test_people_stay_out_of_the_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = class_folders(tmp_path / "faces", {"joy": "happy", "fear": "fear"})
    repository = RUNS.parent
    for inside in (repository, repository / "docs", repository / "runs" / ".." / "docs"):
        assert run(folder, inside) == 1
        assert "choose a folder under runs/" in capsys.readouterr().err
    require_private(RUNS / "explore")
    require_private(tmp_path)


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = class_folders(tmp_path / "faces", {"joy": "happy", "fear": "fear"})
    (tmp_path / "file").touch()
    pack({"test": synthetic_split(7, 0).take(np.array([], int))}, tmp_path / "empty.npz")
    for dataset, out in (
        (tmp_path / "nothing", tmp_path / "out"),
        (folder, tmp_path / "file" / "out"),
        (tmp_path / "empty.npz", tmp_path / "out"),
    ):
        assert run(dataset, out) == 1
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_an_image_grid_shows_its_faces(tmp_path: Path) -> None:
    dark, light = np.full((3, 48, 48), 10, np.uint8), np.full((2, 48, 48), 200, np.uint8)
    image_grid(
        [dark, light], tmp_path / "a.png", "Two rows", names=["dark", "light"], captions=[["a", "b", "c"], ["d", "e"]]
    )
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert 0.1 < np.mean(pixels < 30) < np.mean(pixels > 240)
    assert np.mean(np.abs(pixels.astype(int) - 200) < 10) == pytest.approx(2 / 3 * np.mean(pixels < 30), rel=0.1)
