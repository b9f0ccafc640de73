import csv
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import clips
import numpy as np
import psutil
import pytest
from command_line import lines, run, started
from PIL import Image

from deepfer import LABELS, EmotionRecognizer, Face, __version__, draw_faces, read_image
from deepfer.checkpoint import DETECTOR, EMBEDDED
from deepfer.cli import main
from deepfer.result import COLUMNS, Result

ROOT = Path(__file__).parents[1]
KEYS = ["path", "width", "height", "model", "revision", "detector", "faces", "error"]


@pytest.fixture
def many(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder of 40 images, enough to be interrupted."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "00.jpg", quality=95)
    for number in range(1, 40):
        (folder / f"{number:02}.jpg").symlink_to("00.jpg")
    return folder


@pytest.fixture
def folder(tmp_path: Path, photo: Path) -> Path:
    """Five images (three with a face; two of these share a name, all a stem), a broken one, and files to be skipped."""
    folder = tmp_path / "photos"
    for name in ("a/face.png", "b/face.png", ".hidden/no.png", ".no.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / name)
    Image.open(photo).save(folder / "b/face.jpg", quality=95)
    Image.new("L", (40, 30), 90).save(folder / "b/nobody.gif")
    Image.new("RGB", (1, 1)).save(folder / "Z.PNG")
    (folder / "c").mkdir()
    (folder / "c/broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("no picture, and not named like one")
    (folder / "c/loop").symlink_to(folder)
    return folder


NAMES = ["Z.PNG", "a/face.png", "b/face.jpg", "b/face.png", "b/nobody.gif", "c/broken.jpg"]


# One image


def test_the_default_output_is_a_readable_line(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo) == 0
    told, noted = capsys.readouterr()
    pattern = re.escape(str(photo)) + r"  150x130  1 face: happy >?\d+% at \((\d+), (\d+), (\d+), (\d+)\)\n"
    match = re.fullmatch(pattern, told)
    assert match
    (face,) = EmotionRecognizer.from_pretrained().recognize(read_image(photo))
    assert tuple(map(int, match.groups())) == face.box
    assert noted == ""  # nothing to say of a detector that comes with deepfer


def test_json_has_the_documented_fields(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--json") == 0
    (found,) = lines(capsys.readouterr().out)
    assert list(found) == KEYS
    recognizer = EmotionRecognizer.from_pretrained()
    faces = [json.loads(json.dumps(face.to_dict())) for face in recognizer.recognize(read_image(photo))]
    assert len(faces) == 1
    about = {"path": str(photo), "width": 150, "height": 130, "model": "cnn", "revision": None, "detector": "deepfer"}
    assert found == about | {"faces": faces, "error": None}


def test_no_face_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (40, 30), 90).save(tmp_path / "gray.bmp")
    assert run(tmp_path / "gray.bmp") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'gray.bmp'}  40x30  no face found\n"


def test_two_faces(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = tmp_path / "pair.png"
    Image.fromarray(np.hstack([read_image(photo)] * 2)).save(pair)
    assert run(pair) == 0
    assert re.search(r"300x130  2 faces: happy >?\d+% at \(.+\); happy >?\d+% at \(.+\)\n$", capsys.readouterr().out)


@pytest.mark.parametrize(("detector", "landmarks"), [("deepfer", 5), ("haar", 0)])
def test_a_detector_by_its_name(photo: Path, detector: str, landmarks: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--json", "--detector", detector) == 0
    told, noted = capsys.readouterr()
    (found,) = lines(told)
    assert found["detector"] == detector
    assert [len(face["landmarks"]) for face in found["faces"]] == [landmarks]
    assert noted == f"deepfer: detector: {detector}\n"


def test_a_detector_by_its_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--json") == 0
    (expected,) = lines(capsys.readouterr().out)
    folder = shutil.copytree(EMBEDDED / DETECTOR, tmp_path / "mine")
    assert run(photo, "--json", "--detector", folder) == 0
    assert lines(capsys.readouterr().out) == [expected]
    assert run(photo, "--json", "--model", folder) == 1
    assert "this is a face detector, not an emotion model" in capsys.readouterr().err


def test_yunet_by_its_file(photo: Path, yunet_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--json", "--detector", yunet_file) == 0
    (found,) = lines(capsys.readouterr().out)
    assert found["detector"] == "yunet"
    assert len(found["faces"][0]["landmarks"]) == 5


# Many, and some that fail


def test_a_folder_is_searched_in_sorted_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 1  # for the broken one
    told, noted = capsys.readouterr()
    found = lines(told)
    assert [result["path"] for result in found] == [str(folder / name) for name in NAMES]
    assert [len(result["faces"]) for result in found] == [0, 1, 1, 1, 0, 0]
    assert [result["error"] for result in found[:-1]] == [None] * 5
    assert found[-1] | {"error": ""} == dict.fromkeys(KEYS) | {
        "path": str(folder / "c/broken.jpg"), "model": "cnn", "detector": "deepfer", "faces": [], "error": "",
    }  # fmt: skip
    assert found[-1]["error"].startswith(str(folder / "c/broken.jpg"))
    assert f"deepfer: {found[-1]['error']}\n" in noted
    assert "6/6" in noted  # the progress bar


def test_failed_inputs_are_named_and_the_rest_continue(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty, "clip.mp4", tmp_path / "missing.jpg", photo) == 1
    told, noted = capsys.readouterr()
    assert told.startswith(f"{photo}  150x130")
    assert len(told.splitlines()) == 1
    assert f"deepfer: {empty}: no images or videos in this folder\n" in noted
    assert "deepfer: clip.mp4: No such file or directory\n" in noted
    assert f"deepfer: {tmp_path / 'missing.jpg'}: No such file or directory\n" in noted
    assert "/4" not in noted  # no progress bar for so few


def test_an_unreadable_subfolder_is_named(folder: Path) -> None:
    from deepfer.cli.inputs import find_inputs

    with tempfile.TemporaryDirectory() as reachable:  # by everybody, as pytest's folders are not
        Path(reachable).chmod(0o755)
        photos = Path(shutil.copytree(folder, Path(reachable, "photos"), symlinks=True))
        (photos / "a").chmod(0)
        own = os.geteuid(), os.getegid()
        if own[0] == 0:  # root may read everything: be nobody for a moment
            os.setegid(65_534)
            os.seteuid(65_534)
        try:
            found = find_inputs([str(photos)], None)
        finally:
            os.seteuid(own[0])
            os.setegid(own[1])
        expected = [name.replace("a/face.png", "a") for name in NAMES]
        assert [str(item.path.relative_to(photos)) for item in found] == expected
        assert {item.path.name: item.error for item in found if item.error} == {"a": "Permission denied"}


def test_typescript_files_are_not_videos(
    photo: Path, clip: Path, tmp_path: Path, ffmpeg: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(photo, project / "a.png")
    (project / "index.ts").write_text("export const answer = 42;\n" * 100)
    (project / "globals.d.ts").write_text("Global = {};\n" * 100)  # begins with the byte of a transport stream
    (project / "short.ts").write_text("G")
    (project / "empty.ts").touch()
    os.mkfifo(project / "fifo.ts")
    subprocess.run([ffmpeg, "-v", "error", "-i", clip, "-c:v", "mpeg2video", project / "real.ts"], check=True)
    assert run(project) == 0
    picture, video = capsys.readouterr().out.splitlines()
    assert picture.startswith(f"{project / 'a.png'}  150x130  1 face: happy")
    assert video.startswith(f"{project / 'real.ts'}  480x270  ")
    assert "1 face tracked" in video


def test_duplicate_inputs_are_processed_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = folder / "a/face.png"
    assert run(face, folder / "a", face, folder / "b/../a/face.png", "--json") == 0
    assert [result["path"] for result in lines(capsys.readouterr().out)] == [str(face)]


@pytest.mark.parametrize("name", [b"two\nlines.png", b"caf\xe9.png", "größe 🙂.png".encode()])
def test_odd_names(tmp_path: Path, photo: Path, name: bytes, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    shutil.copy(photo, path)
    assert run(path) == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 1
    for suffix in (".jsonl", ".csv"):
        output = tmp_path / f"out{suffix}"
        assert run(path, "--output", output) == 0
        whole = output.read_bytes()
        assert run(path, "--output", output, "--resume") == 0
        assert output.read_bytes() == whole
        assert b"1 of 1 inputs are in" in capfdbinary.readouterr().err
    assert lines((tmp_path / "out.jsonl").read_text())[0]["path"] == str(path)


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "INPUT"),
        (["x.jpg", "--nonsense"], "--nonsense"),
        (["x.jpg", "--resume"], "--resume needs --output"),
        (["x.jpg", "--output", "results.txt"], r"results\.txt: the name must end in \.jsonl or \.csv"),
        (["x.jpg", "--model", "nonsense"], "nonsense"),
        ([""], "empty"),
        (["nul\0.jpg"], "NUL"),
        (["x.jpg", "--model", "x" * 300], "pass 'cnn'"),
        (["x.jpg", "--detector", "nonsense"], "give 'auto', 'deepfer', 'yunet', 'haar'"),
        (["x.jpg", "--detector", "x" * 300], "give 'auto', 'deepfer', 'yunet', 'haar'"),
        (["x.jpg", "--detector", ""], "give 'auto', 'deepfer', 'yunet', 'haar'"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, noted = capsys.readouterr()
    assert out == ""
    assert re.search(told, noted.splitlines()[-1])


@pytest.mark.parametrize("arguments", [["--model", "nobody/nothing"], ["--detector", "missing.onnx"]])
def test_a_missing_model_or_detector(
    photo: Path, hub: object, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photo, *arguments) == 1
    out, noted = capsys.readouterr()
    assert out == ""
    assert arguments[1] in noted.splitlines()[-1]
    assert "Traceback" not in noted


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argument, told in (("--version", f"deepfer {__version__}\n"), ("--help", "--resume")):
        with pytest.raises(SystemExit) as caught:
            main([argument])
        assert caught.value.code == 0
        assert told in capsys.readouterr().out


# --output and --resume


def test_output_as_jsonl_is_what_json_prints(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 1
    printed = capsys.readouterr().out
    assert run(folder, "--output", tmp_path / "out.jsonl") == 1
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.jsonl").read_text() == printed
    assert len(printed.splitlines()) == 6


def test_output_as_csv(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.hstack([read_image(folder / "a/face.png")] * 2)).save(folder / "a/pair.png")
    assert run(folder, "--json") == 1
    results = lines(capsys.readouterr().out)
    assert run(folder, "--output", tmp_path / "out.csv") == 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert tuple(rows[0]) == COLUMNS
    expected = []
    for result in results:
        for number, face in enumerate(result["faces"] or [None], 1):
            row = {name: result[name] for name in ("path", "width", "height", "model", "revision", "detector", "error")}
            row |= {"faces": len(result["faces"])}
            if face:
                row |= dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True)) | face["probabilities"]
                row |= {name: face[name] for name in ("detection_score", "emotion", "confidence")} | {"face": number}
            expected.append({name: "" if row.get(name) is None else str(row[name]) for name in COLUMNS})
    assert rows == expected
    assert len(rows) == 8  # seven inputs, one with two faces
    assert set(LABELS) < set(rows[0])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_resuming_a_truncated_file_gives_the_complete_results(
    folder: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.hstack([read_image(folder / "a/face.png")] * 2)).save(folder / "a/pair.png")
    output = tmp_path / f"out{suffix}"
    command = [folder, "--output", output, "--resume"]
    assert run(*command) == 1  # nothing to resume yet: a run like any other
    whole = output.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == (7 if suffix == ".jsonl" else 9)
    stamp = output.stat().st_mtime_ns
    assert run(*command) == 1  # still 1: an input that failed before is an input that failed
    assert output.stat().st_mtime_ns == stamp
    assert "7 of 7 inputs are in" in capsys.readouterr().err
    cuts = {0: 0, 5: 0, ends[2]: None, ends[3] - 1: None, len(whole) - 1: 6}  # where -> how many inputs then stand
    if suffix == ".csv":
        cuts |= {ends[0]: 0, ends[3]: 2}  # after the header; between the two faces of one image
    for cut, standing in cuts.items():
        output.write_bytes(whole[:cut])
        assert run(*command) == 1
        assert output.read_bytes() == whole, cut
        noted = capsys.readouterr().err
        if standing is not None:
            assert (f"{standing} of 7 inputs are in" in noted) == (standing > 0)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize(
    "content",
    [b"shopping list", b"shopping list\n", b'{"path": "x"}\n', b"[1]\n", b'{"path": 1\n\xff\n', b"path,a\n1,2\n"],
)
def test_a_file_without_results_is_neither_resumed_nor_changed(
    photo: Path, tmp_path: Path, suffix: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"out{suffix}"
    output.write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        run(photo, "--output", output, "--resume")
    assert caught.value.code == 2
    assert output.read_bytes() == content
    assert "nothing to resume" in capsys.readouterr().err


def test_an_old_output_is_replaced_by_the_first_result(photo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("older\n")
    with pytest.raises(SystemExit):
        run(photo, "--output", output, "--model", "nonsense")
    assert output.read_text() == "older\n"
    assert run(photo, "--output", output) == 0
    assert [result["path"] for result in lines(output.read_text())] == [str(photo)]


def test_an_unwritable_output(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "missing" / "out.jsonl"
    assert run(photo, "--output", output) == 1
    assert f"deepfer: {output} cannot be written: No such file or directory\n" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_resumed(many: Path, tmp_path: Path, workers: int) -> None:
    for number in range(25, 40):
        (many / f"{number:02}.jpg").unlink()
    output, out = tmp_path / "out.jsonl", tmp_path / "saved"
    command = [many, "--output", output, "--save", out, "--workers", workers]
    with started(*command) as process:
        deadline = time.monotonic() + 60
        while not output.exists() or output.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    before = output.read_bytes()
    assert 3 <= before.count(b"\n") < 25
    assert all((out / Path(result["path"]).name).exists() for result in lines(before[: before.rfind(b"\n")].decode()))
    assert run(*command, "--resume") == 0
    found = lines(output.read_text())
    assert output.read_bytes().startswith(before)
    assert [result["path"] for result in found] == [str(many / f"{number:02}.jpg") for number in range(25)]
    assert all(result["faces"] == found[0]["faces"] for result in found)
    assert len(found[0]["faces"]) == 1
    assert sorted(path.name for path in out.glob("[!.]*")) == [f"{number:02}.jpg" for number in range(25)]


def test_a_clip_killed_in_the_middle_leaves_nothing_half_under_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clips.write(tmp_path / "clip.mp4", [frame for frame, _ in clips.crossing(320, 240, 90)], 30)
    out, output = tmp_path / "saved", tmp_path / "out.jsonl"
    command = [clip, "--save", out, "--output", output]
    with started(*command) as process:
        deadline = time.monotonic() + 60
        while not [part for part in out.glob(".*") if part.stat().st_size]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert list(out.glob("[!.]*")) == []
    assert output.read_bytes() == b""
    assert run(*command, "--resume") == 0
    capsys.readouterr()
    annotated, table = sorted(out.glob("[!.]*"))  # in what can be written here; a .csv
    assert len(clips.read(annotated)[0]) == 90
    assert table.suffix == ".csv"
    (found,) = lines(output.read_text())
    assert found["path"] == str(clip)


# --workers


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def test_a_killed_worker_costs_no_result(many: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with started(many, "--output", output, "--workers", 2) as process:
        deadline = time.monotonic() + 60
        while not output.exists() or output.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        first, second = workers_of(process)
        first.kill()
        _, noted = process.communicate()
        assert process.returncode == 0
    assert not second.is_running()
    assert noted.endswith(f"deepfer: 40 inputs, 40 faces, 0 failed: {output}\n")
    found = lines(output.read_text())
    assert [result["path"] for result in found] == [str(many / f"{number:02}.jpg") for number in range(40)]
    assert run(many / "00.jpg", "--output", tmp_path / "alone.jsonl") == 0
    (alone,) = lines((tmp_path / "alone.jsonl").read_text())
    assert all(result["faces"] == alone["faces"] for result in found)


def test_workers_give_the_same_results_as_one_process(
    folder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, folder / "b/clip.mp4")
    (folder / "empty.mp4").mkdir()  # a folder named like a video
    for workers in (1, 2):
        assert run(folder, folder / "empty.mp4", "--json", "--workers", workers) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 16
    assert out[:8] == out[8:]


@pytest.mark.parametrize("number", ["0", "-1", "two", "²"])
def test_an_invalid_number_of_workers(photo: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(photo, f"--workers={number}")
    assert caught.value.code == 2
    assert f"must be an integer >= 1, got {number!r}" in capsys.readouterr().err


# --save


def test_saved_images_are_annotated(photo: Path, tmp_path: Path) -> None:
    assert run(photo, "--save", tmp_path / "new/out") == 0
    rgb = read_image(photo)
    expected = draw_faces(rgb, EmotionRecognizer.from_pretrained().recognize(rgb))
    assert np.array_equal(read_image(tmp_path / "new/out/photo.png"), expected)
    assert not np.array_equal(expected, rgb)
    assert [path.name for path in (tmp_path / "new/out").iterdir()] == ["photo.png"]


def saved(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_saving_keeps_the_folder_structure(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--save", tmp_path / "out") == 1
    expected = ["Z.PNG", "a/face.png", "b/face.jpg", "b/face.png", "b/nobody.gif.png"]
    assert saved(tmp_path / "out") == expected


def test_equal_names_are_distinguished_by_their_folders(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/a/face.png"
    other.parent.mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(other)
    inputs = [folder / "a/face.png", folder / "b/face.png", folder / "b/face.jpg", other]
    assert run(*inputs, "--save", tmp_path / "out") == 0
    assert saved(tmp_path / "out") == ["b/face.png", "face.jpg", "other/a/face.png", "photos/a/face.png"]
    assert read_image(tmp_path / "out/other/a/face.png").shape == (40, 50, 3)
    # In another order of the inputs, every one has the same name.
    assert run(*inputs[::-1], "--save", tmp_path / "again") == 0
    assert saved(tmp_path / "again") == saved(tmp_path / "out")
    assert read_image(tmp_path / "again/other/a/face.png").shape == (40, 50, 3)


def test_a_converted_name_never_replaces_another_input(tmp_path: Path) -> None:
    for number, name in enumerate(("x.gif", "x.gif.png", "x.gif.png.png", "x"), 1):
        Image.new("RGB", (number, 1)).save(tmp_path / name, "PNG")
    assert (
        run(*(tmp_path / name for name in ("x", "x.gif", "x.gif.png", "x.gif.png.png")), "--save", tmp_path / "out")
        == 0
    )
    widths = {name: read_image(tmp_path / "out" / name).shape[1] for name in saved(tmp_path / "out")}
    assert widths == {"x.gif.png": 2, "x.gif.png.png": 3, "x.gif.png.png.png": 1, "x.png": 4}


def test_saving_never_overwrites_an_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: (folder / name).read_bytes() for name in saved(folder)}
    for inputs, out in (
        ([folder], folder),
        ([folder / "a/face.png"], folder / "a"),
        ([folder / "a"], folder / "c/../a"),
    ):
        with pytest.raises(SystemExit) as caught:
            run(*inputs, "--save", out)
        assert caught.value.code == 2
        assert "would overwrite" in capsys.readouterr().err
    assert {name: (folder / name).read_bytes() for name in saved(folder)} == before


def test_the_save_folder_is_not_searched_in_the_next_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run(folder, "--save", folder / "out", "--json") == 1
        assert [result["path"] for result in lines(capsys.readouterr().out)] == [str(folder / name) for name in NAMES]
    assert len(saved(folder / "out")) == 5


def test_the_save_folder_is_skipped_as_an_argument(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for _ in range(2):
        assert run(*sorted(folder.glob("[ab]*")), *folder.glob("out"), "--save", folder / "out") == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert len(saved(folder / "out")) == 4


def test_names_of_punctuation_are_distinguished(tmp_path: Path, photo: Path) -> None:
    for name in ("a.png", ":a.png", ":"):
        shutil.copy(photo, tmp_path / name)
    names = [tmp_path / name for name in ("a.png", ":a.png", ":")]
    assert run(*names, "--save", tmp_path / "out") == 0
    assert saved(tmp_path / "out") == [":.png", ":a.png", "a.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [":", ":a.png", "a.png", "out"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_too_long_to_write_fails_only_its_input(
    workers: int, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a" * 250 + ".gif", "b.png"):
        shutil.copy(photo, tmp_path / name)
    assert run(tmp_path, "--save", tmp_path / "out", "--workers", workers) == 1
    out, noted = capsys.readouterr()
    assert out.startswith(str(tmp_path / "b.png"))
    assert "a.gif.png cannot be written: File name too long" in noted
    assert saved(tmp_path / "out") == ["b.png"]


@pytest.mark.parametrize("name", ["out/timeline.csv", "link.csv"])
def test_saved_files_never_overwrite_the_results(
    name: str, photo: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "out/timeline.csv")
    with pytest.raises(SystemExit) as caught:
        run(photo, clip, "--save", tmp_path / "out", "--output", tmp_path / name)
    assert caught.value.code == 2
    assert "is a file that --save would write" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


# Videos


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one second with one person."""
    frames = [frame for frame, _ in clips.crossing(480, 270, 40, people=1)][:10]
    return clips.write(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, 10)


def test_a_video_gives_its_summary(clip: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clip, photo) == 0
    told, noted = capsys.readouterr()
    assert told.splitlines()[0] == f"{clip}  480x270  1.0 s  1 face tracked: #1 seen 1.0 s, mostly happy (100%)"
    assert told.splitlines()[1].startswith(f"{photo}  150x130  1 face: happy")
    assert noted == ""
    assert run(clip, "--json") == 0
    (summary,) = lines(capsys.readouterr().out)
    assert {key: summary[key] for key in KEYS if key != "faces"} == {
        "path": str(clip), "width": 480, "height": 270, "model": "cnn", "revision": None, "detector": "deepfer",
        "error": None,
    }  # fmt: skip
    (person,) = summary["people"]
    assert (person["track_id"], person["emotion"]) == (1, "happy")
    assert tuple(person["seconds"]) == LABELS


def test_videos_in_a_folder_are_saved_and_resumed(
    clip: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_ffmpeg: None
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.mp4", "b.mov"):
        shutil.copy(clip, photos / name)
    shutil.copy(photo, photos / "c.png")
    (photos / "d.webm").write_bytes(b"no clip")
    for suffix in ("jsonl", "csv"):
        output, out = tmp_path / f"results.{suffix}", tmp_path / f"out {suffix}"
        assert run(photos, "--output", output, "--save", out) == 1
        assert saved(out) == ["a.mp4.timeline.csv", "a.mp4.webm", "b.mov.timeline.csv", "b.mov.webm", "c.png"]
        assert f"{photos}/d.webm: not a video of a supported format" in capsys.readouterr().err
        whole = output.read_bytes()
        output.write_bytes(whole[: whole.index(b"b.mov") + 20])  # killed within the second video
        shutil.rmtree(out)
        assert run(photos, "--output", output, "--resume", "--save", out) == 1
        assert output.read_bytes() == whole
        assert saved(out) == ["b.mov.timeline.csv", "b.mov.webm", "c.png"]
        capsys.readouterr()
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["path"].rpartition("/")[2] for row in rows] == ["a.mp4", "b.mov", "c.png", "d.webm"]
    assert [row["emotion"] for row in rows] == ["happy", "happy", "happy", ""]


def test_an_unclear_face_is_a_question() -> None:
    shown = Face((1, 2, 30, 40), probabilities=dict.fromkeys(LABELS, 0.02) | {"neutral": 0.46, "angry": 0.44})
    assert Result("a.jpg", "cnn", None, "deepfer", 50, 60, [shown]).line() == (
        "a.jpg  50x60  1 face: unclear: neutral or angry? 46% at (1, 2, 30, 40)"
    )


def test_a_single_video_is_saved_with_its_timeline(clip: Path, tmp_path: Path, no_ffmpeg: None) -> None:
    assert run(clip, "--save", tmp_path / "out") == 0
    assert saved(tmp_path / "out") == ["clip.mp4.webm", "timeline.csv"]
    shutil.copy(clip, tmp_path / "clip.webm")
    with pytest.raises(SystemExit):  # as it would be its own output
        run(tmp_path / "clip.webm", "--save", tmp_path)


def test_ctrl_c_in_a_video_leaves_no_partial_files(clip: Path, tmp_path: Path) -> None:
    frames, _ = clips.read(clip)
    long = clips.write(tmp_path / "long.mp4", frames * 60, 10)
    with started(long, "--save", tmp_path / "out") as process:
        end = time.monotonic() + 60
        while not list((tmp_path / "out").glob(".*")) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, noted = process.communicate()
        assert process.returncode == 130
    assert noted.endswith("deepfer: interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


# How it ends


def test_stdout_closed_early_is_not_an_error(many: Path) -> None:
    with started(many) as process:
        assert "happy" in process.stdout.readline()
        process.stdout.close()
        noted = process.stderr.read()
        assert process.wait() == 141
    assert "Traceback" not in noted
    assert "Exception" not in noted


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_gets_one_message(photo: Path) -> None:
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "deepfer", photo], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert found.returncode == 1
    assert found.stderr.endswith("deepfer: stdout cannot be written: No space left on device\n")


def test_closed_streams_are_not_an_error(photo: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = f'"{sys.executable}" -m deepfer "{photo}" --output "{results}" >&- 2>&-'
    assert subprocess.run(command, shell=True, cwd=ROOT).returncode == 0
    assert [result["path"] for result in lines(results.read_text())] == [str(photo)]


def test_arguments_after_two_dashes_are_inputs(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "--json")
    monkeypatch.chdir(tmp_path)
    assert run(photo, "--json", "--", "--json", photo) == 0
    assert [result["path"] for result in lines(capsys.readouterr().out)] == [str(photo), "--json"]


def test_a_full_disk_leaves_no_partial_annotated_video(clip: Path, tmp_path: Path) -> None:
    limit = 4096  # bytes that any file may have: stands in for a disk that is full then
    found = subprocess.run(
        [sys.executable, "-m", "deepfer", clip, "--save", tmp_path / "out"],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert found.returncode == 1
    assert "clip.mp4.webm: cannot be encoded: is the disk full?" in found.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c(many: Path) -> None:
    with started(many) as process:
        assert "happy" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, noted = process.communicate()
        assert process.returncode == 130
    assert noted.endswith("deepfer: interrupted\n")
    assert "Traceback" not in noted
    assert len(out.splitlines()) < 39


def test_a_bug_is_reported_with_its_traceback(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def divide(*_: object) -> None:
        raise ZeroDivisionError("made for this test")

    monkeypatch.setattr(EmotionRecognizer, "recognize", divide)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(photo) == 70
    out, noted = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in noted
    match = re.search(r"deepfer: internal error \(ZeroDivisionError\); the traceback is in (\S+)\n$", noted)
    assert match
    assert "made for this test" in Path(match[1]).read_text()
    assert "Traceback" in Path(match[1]).read_text()
    assert run(photo, "--debug") == 70
    assert "made for this test" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1
