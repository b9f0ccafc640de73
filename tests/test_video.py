"""Reading, recognizing and writing videos of every format, damaged ones too, without leaving files behind."""

import csv
import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import clips
import cv2
import numpy as np
import psutil
import pytest

from deepfer import LABELS, EmotionRecognizer, VideoError, recognize_video
from deepfer.result import COLUMNS, VideoResult
from deepfer.video import TABLE_COLUMNS
from deepfer.video_reader import VideoReader
from deepfer.video_writer import VideoWriter, video_suffix

FPS = 20


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained()


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One astronaut walks past in 2 s at 20 frames per second."""
    frames = [frame for frame, _ in clips.crossing(480, 270, 2 * FPS, people=1)]
    return clips.write(tmp_path_factory.mktemp("walk") / "walk.mp4", frames, FPS)


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two astronauts cross within 4 s."""
    frames = [frame for frame, _ in clips.crossing(640, 360, 4 * FPS)]
    return clips.write(tmp_path_factory.mktemp("cross") / "cross.mp4", frames, FPS)


def recognize(recognizer: EmotionRecognizer, source: Path, **files: Path) -> VideoResult:
    *_, last = recognize_video(recognizer, source, **files)
    assert last.result is not None
    return last.result


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_person_walks(recognizer: EmotionRecognizer, walk: Path, tmp_path: Path, no_ffmpeg: None) -> None:
    found = recognize(recognizer, walk, video=str(tmp_path / "out.webm"), table=str(tmp_path / "timeline.csv"))
    assert (found.width, found.height, found.frames, found.fps) == (480, 270, 40, FPS)
    assert found.duration_s == pytest.approx(2)
    assert (found.warning, found.error, found.detector) == (None, None, "deepfer")
    (person,) = found.people
    assert (person.track_id, person.emotion) == (1, "happy")
    assert person.seen_s == pytest.approx(2, abs=0.3)
    assert tuple(person.seconds) == tuple(person.probabilities) == LABELS
    assert sum(person.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert person.timeline.shape == (round(person.seen_s / person.bin_s), 7)
    assert np.nansum(person.timeline, axis=1) == pytest.approx(1, abs=1e-5)

    rows = table(tmp_path / "timeline.csv")
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert [float(row["time_s"]) for row in rows] == [round(i / FPS, 3) for i in range(40)]
    assert {row["track_id"] for row in rows} == {"1"}
    truth = [middles[0] for _, middles in clips.crossing(480, 270, 40, people=1)]
    offsets = [(int(row["x1"]) + int(row["x2"])) / 2 - x for row, x in zip(rows, truth, strict=True)]
    assert np.ptp(offsets) < 12  # the box moves along, also in the frames between two detections
    for row in rows:
        values = {label: float(row[label]) for label in LABELS}
        assert sum(values.values()) == pytest.approx(1, abs=1e-3)
        assert row["emotion"] == max(values, key=values.__getitem__)
        assert float(row["confidence"]) == max(values.values())

    drawn, times = clips.read(tmp_path / "out.webm")
    assert times == pytest.approx([i / FPS for i in range(40)], abs=0.002)
    assert drawn[0].shape == (270, 480, 3)
    original, _ = clips.read(walk)
    x1, y1, x2 = (int(rows[20][key]) for key in ("x1", "y1", "x2"))
    changed = np.abs(drawn[20].astype(int) - original[20]).max(axis=2) > 60
    assert changed[y1 : y1 + 6, x1 + 10 : x2 - 10].any(axis=0).mean() > 0.8  # the upper side of the box
    assert changed.mean() < 0.1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.webm", "timeline.csv"]


def test_two_people_cross_and_keep_their_numbers(recognizer: EmotionRecognizer, cross: Path, tmp_path: Path) -> None:
    found = recognize(recognizer, cross, table=tmp_path / "timeline.csv")
    assert [person.track_id for person in found.people] == [1, 2]
    assert all(person.seen_s > 2.5 for person in found.people)
    place: dict[str, list[float]] = {"1": [], "2": []}
    for row in table(tmp_path / "timeline.csv"):
        place[row["track_id"]].append((int(row["x1"]) + int(row["x2"])) / 2)
    ends = {number: xs[-1] - xs[0] for number, xs in place.items()}
    assert max(ends.values()) > 250
    assert min(ends.values()) < -250


def test_nobody_in_it(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    gray = [np.full((120, 160, 3), 90, np.uint8)] * 10
    found = recognize(recognizer, clips.write(tmp_path / "gray.mp4", gray, 10), table=tmp_path / "t.csv")
    assert found.people == []
    assert found.line().endswith("gray.mp4  160x120  1.0 s  no face found")
    assert found.rows() == [{key: value for key, value in found.to_dict().items() if key in COLUMNS} | {"faces": 0}]
    assert table(tmp_path / "t.csv") == []


def test_the_result_of_a_video(recognizer: EmotionRecognizer, walk: Path) -> None:
    found = recognize(recognizer, walk)
    told = json.loads(json.dumps(found.to_dict()))
    assert list(told)[:6] == ["path", "width", "height", "model", "revision", "detector"]
    assert told["people"][0]["seconds"]["happy"] == pytest.approx(found.people[0].seen_s, abs=1e-3)
    assert "1 face tracked: #1 seen 2.0 s, mostly happy (100%)" in found.line()
    (row,) = found.rows()
    assert set(row) < set(COLUMNS)
    assert (row["faces"], row["face"], row["emotion"]) == (1, 1, "happy")


def test_progress_rises_and_ends(recognizer: EmotionRecognizer, cross: Path) -> None:
    steps = list(recognize_video(recognizer, cross))
    assert [step.result is None for step in steps] == [True] * (len(steps) - 1) + [False]
    done = [step.done_s for step in steps]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(4)
    assert {step.total_s for step in steps} == {4.0}


@pytest.mark.parametrize("with_ffmpeg", [False, True])
def test_closing_early_leaves_no_files(
    recognizer: EmotionRecognizer, cross: Path, tmp_path: Path, with_ffmpeg: bool, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("ffmpeg" if with_ffmpeg else "no_ffmpeg")
    before = threads_and_children()
    steps = recognize_video(recognizer, cross, video=tmp_path / f"a{video_suffix()}", table=tmp_path / "t.csv")
    next(steps)
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())  # nothing half written under its name
    assert any(tmp_path.iterdir())
    steps.close()
    assert list(tmp_path.iterdir()) == []
    assert threads_and_children()[1] <= before[1]


def threads_and_children() -> tuple[int, int]:
    process = psutil.Process()
    return process.num_threads(), len(process.children())


def test_an_unsupported_output_suffix_is_refused(recognizer: EmotionRecognizer, walk: Path, no_ffmpeg: None) -> None:
    assert video_suffix() == ".webm"
    with pytest.raises(ValueError, match=r"must end in \.webm"):
        next(recognize_video(recognizer, walk, video=Path("out.mp4")))
    with pytest.raises(FileNotFoundError):
        next(recognize_video(recognizer, walk, video=Path("/nowhere/out.webm")))


def test_h264_with_its_sound(recognizer: EmotionRecognizer, walk: Path, tmp_path: Path, ffmpeg: str) -> None:
    loud = tmp_path / "loud.mkv"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    encode(ffmpeg, "-i", walk, *tone, "-c:v", "libx264", "-c:a", "flac", loud)
    assert video_suffix() == ".mp4"
    found = recognize(recognizer, loud, video=tmp_path / "out.mp4")
    assert found.warning is None
    told = streams(ffmpeg, tmp_path / "out.mp4")
    assert "Video: h264" in told
    assert "yuv420p" in told
    assert "Audio: aac" in told
    pcm = subprocess.run(
        [ffmpeg, "-v", "error", "-i", tmp_path / "out.mp4", "-vn", "-f", "s16le", "-ac", "1", "-ar", "8000", "-"],
        check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    heard = np.frombuffer(pcm, np.int16).astype(float)
    assert len(heard) / 8000 == pytest.approx(2, abs=0.1)
    assert np.abs(np.fft.rfft(heard)).argmax() / (len(heard) / 8000) == pytest.approx(440, abs=3)
    frames, times = clips.read(tmp_path / "out.mp4")
    assert len(frames) == 40
    assert times[-1] == pytest.approx(39 / FPS, abs=0.01)


def test_odd_sides_and_no_sound(recognizer: EmotionRecognizer, tmp_path: Path, ffmpeg: str) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (8, 61, 81, 3), dtype=np.uint8))
    with VideoWriter(tmp_path / "out.mp4", (81, 61), 10) as writer:
        for i, frame in enumerate(noise):
            writer.write(i / 10, frame)
        assert writer.finish(0.8, clips.write(tmp_path / "silent.mp4", noise, 10)) is None
    frames, _ = clips.read(tmp_path / "out.mp4")
    assert (len(frames), frames[0].shape) == (8, (62, 82, 3))


def encode(program: str, *arguments: object) -> None:
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def streams(program: str, path: Path) -> str:
    return subprocess.run([program, "-hide_banner", "-i", path], capture_output=True, text=True).stderr


def test_irregular_frame_times(recognizer: EmotionRecognizer, walk: Path, tmp_path: Path, ffmpeg: str) -> None:
    """A second without new frames: the annotated video repeats one and stays in sync."""
    gap = tmp_path / "gap.mkv"  # into MP4, some versions of ffmpeg fill the second with copies
    encode(ffmpeg, "-i", walk, "-vf", "select=not(between(n\\,10\\,25))", gap)
    found = recognize(recognizer, gap, video=tmp_path / "out.mp4", table=tmp_path / "t.csv")
    assert found.frames == 24
    assert found.fps == pytest.approx(FPS)
    assert found.duration_s == pytest.approx(2, abs=0.02)
    times = [float(row["time_s"]) for row in table(tmp_path / "t.csv")]
    assert max(np.diff(times)) == pytest.approx(17 / FPS, abs=0.01)
    assert sum(person.seen_s for person in found.people) == pytest.approx(2, abs=0.2)  # by time, not by frames
    drawn, drawn_times = clips.read(tmp_path / "out.mp4")
    assert len(drawn) == 40
    assert drawn_times[-1] == pytest.approx(39 / FPS, abs=0.01)
    assert np.abs(drawn[12].astype(int) - drawn[24]).mean() < 2 < np.abs(drawn[24].astype(int) - drawn[30]).mean()


def rotate(path: Path) -> None:
    """Set a rotation by 90 degrees clockwise in the header of an MP4's first track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix (ISO/IEC 14496-12, 8.3.2)
    one = 1 << 16
    quarter = (0, one, 0, -one & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in quarter)
    path.write_bytes(data)


def test_rotation_is_respected(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    """Stored sideways, as by a phone, with a rotation matrix in the track's header."""
    upright = [frame for frame, _ in clips.crossing(270, 480, 10, people=1)]
    lying = [cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE) for frame in upright]
    path = clips.write(tmp_path / "phone.mp4", lying, 10)
    rotate(path)
    found = recognize(recognizer, path)
    assert (found.width, found.height) == (270, 480)
    with VideoReader(path) as reader:
        _, first = next(reader.frames())
    assert np.abs(first[..., ::-1].astype(int) - upright[0]).mean() < 6


def test_pixels_that_are_not_square(tmp_path: Path, walk: Path, ffmpeg: str) -> None:
    encode(ffmpeg, "-i", walk, "-vf", "scale=240:270,setsar=2", tmp_path / "narrow.mp4")
    with VideoReader(tmp_path / "narrow.mp4") as reader:
        assert (reader.width, reader.height) == (480, 270)
        assert next(reader.frames())[1].shape == (270, 480, 3)


def test_rotated_pixels_that_are_not_square(tmp_path: Path, walk: Path, ffmpeg: str) -> None:
    path = tmp_path / "phone.mp4"
    encode(ffmpeg, "-i", walk, "-vf", "scale=256:512,setsar=2", "-frames:v", "5", path)  # shown as 512x512
    rotate(path)
    with VideoReader(path) as reader:
        assert (reader.width, reader.height) == (512, 512)
        assert next(reader.frames())[1].shape == (512, 512, 3)


def test_a_video_trimmed_without_reencoding(
    recognizer: EmotionRecognizer, tmp_path: Path, walk: Path, ffmpeg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames start at a key frame long before the start in its edit list."""
    encode(ffmpeg, "-stream_loop", "4", "-i", walk, "-c:v", "libx264", "-g", "1000", tmp_path / "whole.mp4")
    trimmed = tmp_path / "trimmed.mp4"
    encode(ffmpeg, "-ss", "7", "-i", tmp_path / "whole.mp4", "-t", "2", "-c", "copy", trimmed)
    assert cv2.VideoCapture(str(trimmed)).get(cv2.CAP_PROP_FRAME_COUNT) / FPS > 8
    monkeypatch.setattr("deepfer.video_reader.MAX_VIDEO_S", 5.0)
    *steps, last = recognize_video(recognizer, trimmed)
    assert [step.total_s for step in steps] == pytest.approx([2] * len(steps), abs=0.15)
    assert last.result.warning is None
    assert last.result.duration_s == pytest.approx(2, abs=0.15)
    monkeypatch.setattr("deepfer.video_reader.MAX_VIDEO_FRAMES", 100)  # hidden ones count too
    with pytest.raises(VideoError, match="more than 100 frames"):
        VideoReader(trimmed)


def test_an_mp4_of_tiny_boxes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08free" * 2_000_000)
    start = time.thread_time()
    with pytest.raises(VideoError, match="truncated MP4"):
        VideoReader(path)
    assert time.thread_time() - start < 0.5


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx", "libvpx-vp9", "mpeg4", "mpeg2video", "wmv2", "flv"])
def test_kinds(tmp_path: Path, walk: Path, ffmpeg: str, codec: str) -> None:
    kind = {"libvpx": "webm", "libvpx-vp9": "mkv", "mpeg4": "avi", "mpeg2video": "mpg", "wmv2": "wmv", "flv": "flv"}
    path = tmp_path / f"clip.{kind.get(codec, 'mov')}"
    # A rate before the input renumbers its frames. After it, ffmpeg would resample, and versions differ in that.
    encode(ffmpeg, "-r", "25", "-i", walk, "-frames:v", "12", "-c:v", codec, path)
    with VideoReader(path) as reader:
        times = [time_s for time_s, _ in reader.frames()]
        assert (reader.width, reader.height, round(reader.rate)) == (480, 270, 25)
    assert len(times) == 12
    assert np.diff(times) == pytest.approx(0.04, abs=0.003)


def test_a_browser_recording_without_a_duration(
    recognizer: EmotionRecognizer, walk: Path, tmp_path: Path, ffmpeg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recorded.webm"
    told = ["-v", "error", "-i", "-", "-c:v", "libvpx", "-deadline", "realtime", "-f", "webm", "-live", "1", "-"]
    with walk.open("rb") as source, path.open("wb") as target:
        subprocess.run([ffmpeg, *told], check=True, stdin=source, stdout=target)
    steps = list(recognize_video(recognizer, path))
    assert {step.total_s for step in steps[:-1]} <= {None}
    assert steps[-1].result.duration_s == pytest.approx(2, abs=0.06)
    assert steps[-1].result.warning is None
    monkeypatch.setattr("deepfer.video_reader.MAX_VIDEO_S", 1.0)  # found out only on the way
    found = recognize(recognizer, path)
    assert found.frames == FPS
    assert "only the first" in (found.warning or "")


def test_a_truncated_video_gives_what_is_there(
    recognizer: EmotionRecognizer, cross: Path, tmp_path: Path, no_ffmpeg: None
) -> None:
    frames, _ = clips.read(cross)
    whole = clips.write(tmp_path / "whole.webm", frames, FPS, "VP80").read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) // 2])
    found = recognize(recognizer, tmp_path / "cut.webm", video=tmp_path / "out.webm", table=tmp_path / "t.csv")
    assert 1 < found.duration_s < 3
    assert "truncated or damaged" in (found.warning or "")
    assert "of 4.0 s could be read" in (found.warning or "")
    assert len(found.people) >= 1
    drawn, _ = clips.read(tmp_path / "out.webm")
    assert len(drawn) == found.frames


def test_damage_in_the_middle(recognizer: EmotionRecognizer, cross: Path, tmp_path: Path) -> None:
    data = bytearray(cross.read_bytes())
    chance = np.random.default_rng(0)
    for at in chance.integers(len(data) // 4, len(data) // 2, 200):  # within the frames
        data[at] ^= 0xFF
    (tmp_path / "damaged.mp4").write_bytes(data)
    found = recognize(recognizer, tmp_path / "damaged.mp4")
    assert found.frames > 20


def faults(tmp_path: Path, walk: Path) -> dict[str, tuple[Path, str]]:
    whole = walk.read_bytes()
    made = {
        "missing": (None, "No such file"),
        "empty": (b"", "the file is empty"),
        "text": (b"these are words, and no clip\n" * 10, "not a video of a supported format"),
        "playlist": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not a video of a supported format"),
        "concat": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a video of a supported format"),
        "no index": (whole[: len(whole) // 2], "the index (moov) is missing"),
        "head": (whole[:40], "the index (moov) is missing"),
        "noise": (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x10moov" + bytes(3000), "no readable video"),
        "matroska": (b"\x1a\x45\xdf\xa3" + bytes(200), "no readable video"),
        "codec": (whole.replace(b"mp4v", b"zzzz").replace(b"esds", b"zzzz"), "no readable video"),
    }
    found = {}
    for name, (content, message) in made.items():
        path = tmp_path / f"{name}.mp4"
        if content is not None:
            path.write_bytes(content)
        found[name] = (path, message)
    return found


def test_a_file_that_is_not_a_video_gets_one_message(
    recognizer: EmotionRecognizer, walk: Path, tmp_path: Path, no_ffmpeg: None
) -> None:
    for name, (path, message) in faults(tmp_path, walk).items():
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        with pytest.raises(VideoError, match=re.escape(message)) as caught:
            list(recognize_video(recognizer, path, video=out / "out.webm", table=out / "t.csv"))
        assert str(path) in str(caught.value), name
        assert "\n" not in str(caught.value)
        assert list(out.iterdir()) == []
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, message in [
        (tmp_path / "pipe.mp4", "not a regular file"),
        (tmp_path, "a folder"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(VideoError, match=re.escape(message)):
            next(recognize_video(recognizer, path))


def test_only_sound(recognizer: EmotionRecognizer, tmp_path: Path, ffmpeg: str) -> None:
    encode(ffmpeg, "-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.m4a")
    with pytest.raises(VideoError, match="only sound"):
        next(recognize_video(recognizer, tmp_path / "sound.m4a"))


def test_limits(recognizer: EmotionRecognizer, tmp_path: Path, walk: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(VideoError, match=message):
            next(recognize_video(recognizer, path))

    black = [np.zeros((4320, 7680, 3), np.uint8)]
    refused(clips.write(tmp_path / "8k.avi", black, 10, "MJPG"), r"more than 17 megapixels \(7680x4320\)")
    refused(clips.write(tmp_path / "8.mp4", [np.zeros((8, 8, 3), np.uint8)] * 2, 10), "smaller than 16 pixels")
    still = [np.zeros((16, 16, 3), np.uint8)] * 700
    refused(clips.write(tmp_path / "long.mp4", still, 1), r"longer than 10 minutes \(11.7\)")
    big = tmp_path / "big.mp4"
    big.write_bytes(walk.read_bytes())
    os.truncate(big, 2_000_000_001)  # it takes no room
    refused(big, "larger than 2 GB")


@pytest.mark.slow
def test_a_4k_video_is_scaled(recognizer: EmotionRecognizer, tmp_path: Path, no_ffmpeg: None) -> None:
    frames = [frame for frame, _ in itertools.islice(clips.crossing(3840, 2160, 60, people=1), 6)]
    path = clips.write(tmp_path / "4k.mp4", frames, 10)
    output, table = tmp_path / f"out{video_suffix()}", tmp_path / "table.csv"
    *_, last = recognize_video(recognizer, path, video=output, table=table)
    assert last.result is not None
    assert (last.result.width, last.result.height, last.result.count) == (3840, 2160, 1)
    written, _ = clips.read(output)
    assert written[0].shape[1] < 1920
    with VideoReader(path) as reader:
        assert reader.original == (3840, 2160)
        assert {frame.shape for _, frame in reader.frames()} == {(1080, 1920, 3)}
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    expected = EmotionRecognizer.from_pretrained().recognize(frames[3][:, :, ::-1].copy())[0].box
    (found,) = [row for row in rows if float(row["time_s"]) == 0.3]
    assert [int(found[name]) for name in ("x1", "y1", "x2", "y2")] == pytest.approx(expected, abs=60)
    assert "3840x2160" in last.result.line()


def test_portrait_is_scaled_within_the_decoding_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clips.write(tmp_path / "5k.avi", [np.full((5120, 2880, 3), 90, np.uint8)] * 2, 10, "MJPG")
    with VideoReader(path) as reader:
        ((_, first), _) = reader.frames()
        assert first.shape == (reader.height, reader.width, 3)
        assert 1900 < reader.height <= 1928
    monkeypatch.setattr("deepfer.video_reader.MAX_VIDEO_DECODED_PIXELS", 20_000_000)
    with pytest.raises(VideoError, match=r"more than 1 frames of 2880x5120 \(2\)"):
        VideoReader(path)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Six times the length takes no more memory. In separate processes, because memory is released late."""
    frames = [frame for frame, _ in clips.crossing(640, 360, 20, people=1)]
    peaks = []
    for seconds in (2, 12):
        path = clips.write(
            tmp_path / f"{seconds}.mp4", list(itertools.islice(itertools.cycle(frames), 10 * seconds)), 10
        )
        program = (
            "import resource, sys; from pathlib import Path; from deepfer import EmotionRecognizer, recognize_video\n"
            "recognizer = EmotionRecognizer.from_pretrained()\n"
            "*_, last = recognize_video(recognizer, sys.argv[1], table=Path(sys.argv[1] + '.csv'))\n"
            "print(last.result.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        told = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True).stdout
        read, peak = map(int, told.split())
        assert read == 10 * seconds
        peaks.append(peak)
    assert peaks[1] < 1.1 * peaks[0]
