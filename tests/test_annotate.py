"""Annotating data sets of every kind with the local engine, and what is left when it is killed."""

import csv
import io
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import clips
import command_line
import datasets
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotated import deadly_job, each_once, rows_of
from hub_server import TOKEN, HubServer
from photo_server import PhotoServer
from PIL import Image
from waiting import within

from deepfer import EmotionRecognizer, read_image, video_reader
from deepfer.annotate import AnnotationError, annotate, recognition
from deepfer.annotate.__main__ import main
from deepfer.annotate.local import Annotator
from deepfer.annotate.manifest import locked
from deepfer.annotate.recognition import recognize_item
from deepfer.annotate.shards import INTEGERS, STRINGS
from deepfer.annotate.source import open_source, pin_source, public_name
from deepfer.result import COLUMNS

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the Hub's client

NAMES = ["broken.jpg", "clip.mp4", "gray.png", "pair.png", "sub/a.png"]


@pytest.fixture
def photos(tmp_path: Path, photo: Path) -> Path:
    """One face, two faces, no face, a video, a broken file, and files to be skipped."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(photo, folder / "sub/a.png")
    shutil.copy(photo, folder / ".hidden.png")
    Image.fromarray(np.hstack([read_image(photo)] * 2)).save(folder / "pair.png")
    Image.new("L", (40, 30), 90).save(folder / "gray.png")
    (folder / "broken.jpg").write_text("no image")
    (folder / "notes.md").write_text("not an input")
    frames = [frame for frame, _ in clips.crossing(320, 240, 30, people=1)][:10]
    clips.write(folder / "clip.mp4", frames, 10)
    return folder


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message of a command that is refused."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_folder_gives_the_rows_of_the_command_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, out, "--chunk", 2, "--workers", 1) == 1  # for the broken one
    noted = capsys.readouterr().err
    assert noted.endswith(f"deepfer: 5 inputs, 4 faces, 1 failed: {out}\n")
    assert "5/5" in noted  # the progress bar
    assert "inputs/s" in noted or "s/ inputs" in noted
    assert sorted(path.name for path in (out / "data").iterdir()) == [f"train-0000{n}.parquet" for n in range(3)]
    assert each_once(out, NAMES)

    assert command_line.run(photos, "--output", tmp_path / "all.csv", "--workers", 1) == 1
    expected = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text().replace(f"{photos}/", ""))))
    rows = rows_of(out)
    assert len(rows) == len(expected) == 6
    for row, wanted in zip(rows, expected, strict=True):
        assert tuple(row) == COLUMNS
        for name, value in row.items():
            if name in (*STRINGS, *INTEGERS):
                assert ("" if value is None else str(value)) == wanted[name], name
            else:
                assert value is None or value == np.float32(wanted[name])
                assert (value is None) == (wanted[name] == "")

    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.to_list() == rows
    card = (out / "README.md").read_text()
    for line in ("| Inputs | 5 |", "| Faces | 4 |", "| Inputs that could not be read | 1 |", "| happy | 4 | 100.0% |"):
        assert line in card
    assert "python -m deepfer.annotate photos OUT --chunk 2 --model cnn" in card
    assert str(tmp_path) not in card + (out / "manifest.json").read_text()  # nobody's folders are published


def test_a_rerun_keeps_what_is_there_and_mixes_nothing_in(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("clip.mp4", "broken.jpg"):
        (photos / name).unlink()
    out = tmp_path / "out"
    command = [photos, out, "--workers", 1, "--chunk", 2]
    assert run(*command) == 0
    first, second = sorted((out / "data").iterdir())
    (out / "data/.0123456789abcdef.part.parquet").touch()  # of a run that was killed
    second.unlink()
    stamp = first.stat().st_mtime_ns
    assert run(*command) == 0
    assert first.stat().st_mtime_ns == stamp
    assert each_once(out, NAMES[2:])
    assert sorted((out / "data").iterdir()) == [first, second]

    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    hint = "choose another folder, or start again with --no-resume"
    for more, what in (
        (["--model", "resnet50v2"], "another model (cnn; now resnet50v2)"),
        (["--detector", "haar"], "another detector (deepfer; now haar)"),
        (["--chunk", 3], "another chunk size (2; now 3)"),
    ):
        assert refused(capsys, *command, *more) == f"deepfer: {out} holds results of {what}: {hint}"
    shutil.copy(photos / "gray.png", photos / "new.png")
    assert "another number of inputs (3; now 4)" in refused(capsys, *command)
    (photos / "new.png").rename(photos / "gray.png")
    shutil.copy(photos / "pair.png", photos / "gray.png")
    assert "another source (photos; now photos)" in refused(capsys, *command)
    with locked(out):
        assert run(*command) == 1
    assert "another process is writing to" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    assert run(*command[:4], "--chunk", 9, "--no-resume") == 0
    assert sorted(path.name for path in (out / "data").iterdir()) == ["train-00000.parquet"]
    assert each_once(out, NAMES[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing", "out"], "no data set missing: give a folder, a text file of paths"),
        (["empty", "out"], "no images, videos or Parquet files in empty"),
        (["a.png", "out"], "a.png is a single image or video: use `deepfer a.png`"),
        (["words.parquet", "out"], "words.parquet has no column of images: its columns are text"),
        (["damaged.parquet", "out"], "damaged.parquet cannot be read: Parquet magic bytes not found in footer"),
        (["empty.txt", "out"], "empty.txt is not a text file with a path or URL per line"),
        (["boxes.txt", "out"], "dropbox:// cannot be read: "),
        (["nothing://bucket/x", "out"], "nothing://bucket/x cannot be read: Protocol not known: nothing"),
        (["zip://::nothing.zip", "out"], "cannot be read"),
        (["photos", "photos/out"], "is inside the source: choose a folder outside it"),
        (["photos", "other"], "is not from a run of deepfer.annotate: choose another folder"),
        (["photos", "out", "--model", "nonsense"], "no model 'nonsense'"),
        (["photos", "out", "--address", "auto"], "an address needs the engine 'ray'"),
        (["photos", "out", "--push", "name"], "'name' is not a name on the Hub: give user/name"),
        (["photos", "out", "--workers", "0"], "must be an integer >= 1, got '0'"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "photos", "other/data"):
        Path(name).mkdir(parents=True)
    for name in ("a.png", "photos/a.png"):
        shutil.copy(photo, name)
    Path("empty.txt").touch()
    Path("boxes.txt").write_text("a.png\ndropbox://a.png")  # a file system whose package nobody installs here
    Path("damaged.parquet").write_bytes(b"no table of any kind")
    pq.write_table(pa.table({"text": ["word"]}), "words.parquet")
    pq.write_table(pa.table({"text": ["word"]}), "other/data/train-00000.parquet")
    assert message in refused(capsys, *arguments)
    assert not Path("out/data").exists()


# Kinds of sources


def recognized(name: object) -> tuple[list[str], list[str]]:
    """The ids of a source, and what was found in each."""
    source, recognizer = open_source(pin_source(str(name))), EmotionRecognizer.from_pretrained()
    found = []
    for number in range(len(source)):
        rows = recognize_item(recognizer, source.filesystem, source[number])
        assert {row["path"] for row in rows} == {source.item_id(number)}
        if error := rows[0]["error"]:
            assert error.startswith(f"{source.item_id(number)}: ")
        found.append("error" if error else str(rows[0]["faces"]))
    return [source.item_id(number) for number in range(len(source))], found


def bytes_of(photos: Path, *names: str) -> list[bytes]:
    return [(photos / name).read_bytes() for name in names]


def test_a_text_file_of_paths(photos: Path, tmp_path: Path) -> None:
    lines = ["photos/pair.png", str(photos / "sub/a.png"), "", "photos/none.jpg", (photos / "gray.png").as_uri()]
    (tmp_path / "list.txt").write_text("\n".join([*lines, lines[0]]))
    assert recognized(tmp_path / "list.txt") == ([line for line in lines if line], ["2", "1", "error", "0"])


def test_a_tree_below_a_url(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in [*NAMES, "notes.md", "sub/.hidden.png"]:
            archive.write(photos / name.replace(".hidden", "a"), f"photos/{name}")
    url = f"zip://photos::{tmp_path}/photos.zip"
    assert recognized(url) == (NAMES, ["error", "1", "0", "2", "1"])
    assert recognized(photos.as_uri()) == (NAMES, ["error", "1", "0", "2", "1"])


def test_a_response_without_an_end_is_cut_off(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "WAITS_S", ())
    for module in (recognition, video_reader):
        monkeypatch.setattr(module, "MAX_VIDEO_BYTES", 3_000_000)
    with PhotoServer(photo) as server:
        lines = [f"{server.url}/{name}" for name in ("a.png", "b.mp4")]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        source, recognizer = open_source(str(tmp_path / "list.txt")), EmotionRecognizer.from_pretrained()
        assert recognize_item(recognizer, None, source[0])[0]["faces"] == 1
        server.endless = bytes(1_000_000)
        errors = [recognize_item(recognizer, None, source[number])[0]["error"] for number in range(2)]
    assert errors == [f"{lines[0]}: larger than 100 MB", f"{lines[1]}: larger than 0.003 GB"]


def test_a_script_of_a_data_set_is_never_run(photos: Path, tmp_path: Path, hub: HubServer) -> None:
    (image,) = bytes_of(photos, "sub/a.png")
    mark = tmp_path / "run"
    script = f"open({str(mark)!r}, 'w')".encode()
    hub.commit("datasets/user/scripted", {"scripted.py": script, "a.png": image})
    assert recognized("user/scripted") == (["a.png"], ["1"])
    hub.commit("datasets/user/empty", {"empty.py": script})
    with pytest.raises(AnnotationError, match="holds no images, videos or Parquet files"):
        open_source(pin_source("user/empty"))
    assert not mark.exists()
    assert not any(".py" in request for request in hub.requests)


def test_parquet_files_with_a_struct_or_bytes(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    (folder / "more").mkdir(parents=True)
    a, pair, gray, clip = bytes_of(photos, "sub/a.png", "pair.png", "gray.png", "clip.mp4")
    structs = [{"bytes": a, "path": "a.png"}, {"bytes": None, "path": "/etc/passwd"}, {"bytes": clip, "path": "c.mp4"}]
    pq.write_table(pa.table({"label": [0, 1, 2], "photo": structs}), folder / "a.parquet", row_group_size=2)
    pq.write_table(pa.table({"thumb": [gray] * 40, "image": [pair] + [gray] * 38 + [a]}), folder / "more/b.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), folder / "c.parquet")
    ids, found = recognized(folder)
    assert ids == [f"a.parquet#{n}" for n in range(3)] + [f"more/b.parquet#{n}" for n in range(40)]
    assert found == ["1", "error", "1", "2"] + ["0"] * 38 + ["1"]
    source = open_source(str(folder))
    assert source[42].data == a  # from any row on
    assert source[2].is_video
    assert source[3].data == pair
    assert recognized(folder / "more/b.parquet")[0][:2] == ["b.parquet#0", "b.parquet#1"]


def test_a_folder_of_save_to_disk(photos: Path, tmp_path: Path) -> None:
    names = ["pair.png", "sub/a.png", "gray.png"]
    paths = [str(photos / name) for name in names]
    table = datasets.Dataset.from_dict({"label": [0, 1, 0], "image": paths}).cast_column("image", datasets.Image())
    table.save_to_disk(tmp_path / "one")
    assert recognized(tmp_path / "one") == (["train#0", "train#1", "train#2"], ["2", "1", "0"])
    splits = datasets.DatasetDict({"train": table.select([0]), "test": table.select([1, 2])})
    splits.save_to_disk(tmp_path / "two")
    assert recognized(tmp_path / "two") == (["train#0", "test#0", "test#1"], ["2", "1", "0"])
    assert open_source(str(tmp_path / "one")).fingerprint != open_source(str(tmp_path / "two")).fingerprint


def test_from_the_hub_to_the_hub(
    photos: Path, tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    a, pair = bytes_of(photos, "sub/a.png", "pair.png")
    pq.write_table(pa.table({"image": [{"bytes": a, "path": "a.png"}] * 3}), tmp_path / "t.parquet")
    files = {"data/train-0.parquet": (tmp_path / "t.parquet").read_bytes(), "logo.png": pair}
    commit = hub.commit("datasets/user/faces", files)
    out = tmp_path / "out"
    command = ["user/faces", out, "--workers", 1, "--chunk", 2, "--push", "user/emotions"]
    assert run(*command) == 0
    assert capsys.readouterr().err.endswith(f"published: {hub.url}/datasets/user/emotions\n")
    assert each_once(out, [f"data/train-0.parquet#{n}" for n in range(3)])
    published = hub.files("datasets/user/emotions")
    del published[".gitattributes"]
    own = [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]
    assert published == {path.relative_to(out).as_posix(): path.read_bytes() for path in own}
    assert f"user/faces@{commit}" in published["README.md"].decode()

    commits = len(hub.repos["datasets/user/emotions"].commits)
    assert run(*command) == 0  # nothing is left to do
    assert len(hub.repos["datasets/user/emotions"].commits) == commits
    hub.commit("datasets/user/emotions", published | {"data/train-00009.parquet": b"PAR1"})
    assert "has shards that are not in this data set (data/train-00009.parquet)" in refused(capsys, *command)

    hub.commit("datasets/user/photos", {"a/b.png": a, "pair.png": pair, "README.md": b"# Photos"}, "v1")
    assert recognized("user/photos@v1") == (["a/b.png", "pair.png"], ["1", "2"])
    hub.commit("datasets/user/faces", files | {"README.md": b"newer"})
    assert f"another source (user/faces@{commit}; now user/faces@" in refused(capsys, *command)
    assert run("user/missing", out) == 1
    assert "no dataset repo user/missing on the Hub" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("https://me:secret@host/x.parquet?token=1", "https://host/x.parquet"),
        ("ftp://me:p@ss@host/photos", "ftp://host/photos"),
        ("s3://bucket/photos", "s3://bucket/photos"),
        ((ROOT / "tests").as_uri(), "tests"),
        (f"zip://photos::{ROOT}/README.md", "zip://photos::README.md"),
        ("user/faces@main", "user/faces@main"),
        (str(ROOT / "tests"), "tests"),
    ],
)
def test_a_published_name_has_no_secrets(name: str, public: str) -> None:
    assert public_name(name) == public


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"ray.data is not installed: pip install 'deepfer\[scale\]'"):
        annotate(tmp_path, tmp_path / "out", engine="ray")


# Killed


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "deepfer.annotate", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_run_lose_nothing(tmp_path: Path, photo: Path) -> None:
    many, out = tmp_path / "many", tmp_path / "out"
    many.mkdir()
    names = [f"{number:03}.png" for number in range(150)]
    shutil.copy(photo, many / names[0])
    for name in names[1:]:
        (many / name).symlink_to(names[0])
    command = [many, out, "--workers", 2, "--chunk", 5]
    with started(*command) as process:
        assert within(60, lambda: len(list(out.glob("data/train-*"))) >= 2, 0.01)
        workers = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        workers[0].kill()
        assert within(60, lambda: len(list(out.glob("data/train-*"))) >= 5, 0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert within(30, lambda: not any(worker.is_running() for worker in workers))
    kept = {path: path.stat().st_mtime_ns for path in out.glob("data/train-*")}
    assert 5 <= len(kept) < 30
    assert run(*command) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert each_once(out, names)
    assert all(row["error"] is None and row["faces"] == 1 for row in rows_of(out))


@pytest.mark.slow
def test_a_killed_decoder_costs_its_image(tmp_path: Path, photo: Path) -> None:
    job = deadly_job(photo, tmp_path / "out")
    with (
        Annotator(job, EmotionRecognizer.from_pretrained(), 1) as annotator,
        closing(annotator.run(range(2))) as steps,
    ):
        assert sum(steps) == 8
    assert each_once(tmp_path / "out", [f"{number}.png" for number in range(8)])
    errors = {row["path"]: row["error"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert errors == {"3.png": "3.png: the process reading it was killed (Killed)"}
