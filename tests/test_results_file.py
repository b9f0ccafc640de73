"""What --output writes and --resume reads."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, lines, run, started
from PIL import Image

from deepfer.result import Result
from deepfer.table import from_csv, header, to_csv

STARTS = "=+-@\t＝＋－＠"  # what a spreadsheet takes for a formula


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in `tmp_path`, so that file names begin as the test chooses."""
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line on stderr of a command that fails with a usage error."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# CSV


@pytest.mark.parametrize("name", ["a\rb.png", "a\r\nb.png", "\rb.png", "a\nb.png", "a\x85b\u2028c.png", '"\r".png'])
def test_line_ends_in_names_keep_to_their_row(
    photo: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (name, "z.png"):
        shutil.copy(photo, path)
    assert run(name, "z.png", "--output", "out.csv") == 0
    whole = (tmp_path / "out.csv").read_bytes()
    with open("out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"].lstrip("'") for row in rows] == [name, "z.png"]
    assert [row["emotion"] for row in rows] == ["happy", "happy"]
    for cut, left in ((len(header()) + 3, 0), (whole.index(b"z.png") + 3, 1)):  # killed within either row
        (tmp_path / "out.csv").write_bytes(whole[:cut])
        assert run(name, "z.png", "--output", "out.csv", "--resume") == 0
        assert (f"{left} of 2 inputs are in" in capsys.readouterr().err) == (left > 0)
        assert (tmp_path / "out.csv").read_bytes() == whole


@pytest.mark.parametrize("name", [f"{start}1.png" for start in STARTS] + ["'=1.png", "''.png", "'a.png", "a=1.png"])
def test_a_name_is_never_a_formula(photo: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photo, name)
    missing = name.replace(".png", ".gif")
    arguments = ["--output", "out.csv", "--", name, missing]
    assert run(*arguments) == 1
    with open("out.csv", newline="", encoding="utf-8") as file:
        found, failed = csv.DictReader(file)
    for cell in (found["path"], failed["path"], failed["error"]):
        assert not cell.startswith(tuple(STARTS))
    assert found["path"] in (name, f"'{name}")
    assert (found["path"] == name) == (name[0] not in STARTS + "'")
    whole = Path("out.csv").read_bytes()
    assert run("--resume", *arguments) == 1
    assert "2 of 2 inputs are in" in capsys.readouterr().err
    assert Path("out.csv").read_bytes() == whole


def test_numbers_stay_numbers() -> None:
    result = Result("-1", "=m", "@r", "+d", 3, 2, error="-e")
    (row,) = csv.DictReader([header(), to_csv(result.rows())])
    assert [row[name] for name in ("path", "model", "revision", "detector", "error")] == [
        "'-1", "'=m", "'@r", "'+d", "'-e",
    ]  # fmt: skip
    assert to_csv([{"x1": -1}]).startswith(",,,,,,,,-1,")
    (back,) = from_csv([header(), to_csv(result.rows())])
    assert (back["path"], back["model"], back["error"]) == ("-1", "=m", "-e")


def test_unquoted_names_of_earlier_versions_are_read(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photo, "'a.png")
    shutil.copy(photo, "-b.png")
    assert run("--output", "out.csv", "--", "'a.png", "-b.png") == 0
    text = Path("out.csv").read_text()
    assert "''a.png" in text
    Path("out.csv").write_text(text.replace("''a.png", "'a.png").replace("'-b.png", "-b.png"))
    assert run("--output", "out.csv", "--resume", "--", "'a.png", "-b.png") == 0
    assert "2 of 2 inputs are in" in capsys.readouterr().err


# Another model or detector


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_results_of_another_model_are_not_mixed(
    photo: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepfer.checkpoint import EMBEDDED

    shutil.copytree(EMBEDDED / "cnn", "mine")
    output = tmp_path / f"out{suffix}"
    command = ["--output", output]
    assert run(photo, *command) == 0
    whole = output.read_bytes()
    for inputs in ([photo], [photo, "more.png"]):  # also where nothing is left to do
        line = refused(capsys, *inputs, *command, "--resume", "--model", "./mine")
        assert "contains results of cnn with deepfer; this run uses" in line
        assert "mine with deepfer" in line
        assert "--model, --revision and --detector" in line
        assert output.read_bytes() == whole
    assert run(photo, *command, "--resume", "--model", "cnn") == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize(("revision", "detector"), [(None, "yunet"), ("0" * 40, "deepfer")])
def test_results_of_another_detector_or_commit_are_not_mixed(
    photo: Path, suffix: str, revision: str | None, detector: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    other = Result("other.png", "cnn", revision, detector, 3, 2)
    ours = Result("ours.png", "cnn", None, "deepfer", 3, 2)
    text = {
        ".jsonl": "".join(json.dumps(one.to_dict()) + "\n" for one in (ours, other)),
        ".csv": header() + to_csv(ours.rows() + other.rows()),
    }[suffix]
    output = Path(f"out{suffix}")
    output.write_text(text)
    model = f"cnn at {revision}" if revision else "cnn"
    said = f"contains results of {model} with {detector}; this run uses cnn with deepfer."
    assert said in refused(capsys, photo, "--output", output, "--resume")
    assert output.read_text() == text


# Another process


def test_no_row_is_lost_to_another_process(photo: Path, tmp_path: Path) -> None:
    names = [shutil.copy(photo, f"{number:02}.png") for number in range(6)]
    command = [sys.executable, "-m", "deepfer", "--resume", "--output", "out.csv"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen([*command, name], env=environment, stderr=subprocess.PIPE, text=True) for name in names]
    messages = [process.communicate()[1].splitlines()[-1] for process in running]
    done = [name for name, process in zip(names, running, strict=True) if process.returncode == 0]
    refused = [name for name, line in zip(names, messages, strict=True) if "another process is writing to it" in line]
    assert sorted(done + refused) == names

    def rows() -> list[str | None]:
        with open("out.csv", newline="") as file:
            return sorted(row["path"] for row in from_csv(file))

    assert rows() == done
    assert run(*names, *command[3:]) == 0
    assert rows() == names


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_file_in_use_is_left_alone(
    photo: Path, tmp_path: Path, resume: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    many = [shutil.copy(photo, f"{number:03}.png") for number in range(200)]
    output = tmp_path / "out.jsonl"
    with started(*(tmp_path / name for name in many), "--output", output, "--workers", 2) as process:
        while not output.exists() or not output.read_bytes():
            assert process.poll() is None
        for _ in range(2):
            assert run(photo, "--output", output, *resume) == 1
            assert "another process is writing to it" in capsys.readouterr().err
        assert process.poll() is None, "it ended too soon to show anything"
        process.kill()
        process.wait()
        # Its lock ends with it, although its workers may still be there.
        assert run(photo, "--output", output, "--resume") == 0
    assert lines(output.read_text())[-1]["path"] == str(photo)


# Links, and inputs


def test_nothing_is_written_through_a_link_to_an_image(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(photo).save("photo.jpg")
    shutil.copy(photo, "x.csv")  # content decides what an input is, so this one may be named
    os.symlink("photo.jpg", "link.jsonl")
    os.symlink("gone.jpg", "dangling.csv")
    os.symlink("x.csv", "link.csv")
    os.link("photo.jpg", "hard.csv")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()}
    for output, inputs, message in (
        ("link.jsonl", [photo], "link.jsonl is a link to"),
        ("dangling.csv", [photo], "dangling.csv is a link to"),
        ("hard.csv", ["photo.jpg"], "is the input photo.jpg"),
        ("x.csv", [photo, "x.csv"], "is the input x.csv"),
        ("link.csv", [photo, "x.csv"], "is the input x.csv"),
    ):
        for resume in ([], ["--resume"]):
            assert message in refused(capsys, *inputs, "--output", output, *resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()} == before
    os.symlink("results.csv", "good.csv")  # as good as the file itself
    assert run(photo, "--output", "good.csv") == 0
    assert Path("good.csv").is_symlink()
    assert Path("results.csv").read_text().startswith(header())


def test_a_timeline_never_overwrites_an_input(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photo, "timeline.csv")
    Path("videos").mkdir()  # elsewhere, so that only the timeline's name is taken
    Path("videos/clip.mp4").write_bytes(b"never read")
    before = Path("timeline.csv").read_bytes()
    assert "would overwrite the input timeline.csv" in refused(capsys, "timeline.csv", "videos/clip.mp4", "--save", ".")
    assert Path("timeline.csv").read_bytes() == before
