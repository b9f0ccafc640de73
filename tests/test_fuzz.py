"""Random changes to all input from outside: the result is an answer or a named error, within limits of time and memory.

Images, a checkpoint's description and its model, a face detector, the command line's arguments, and what anyone may
post to the page. Each kind runs in a process of its own, as what breaks may take that along. An input is made from seed
and number alone:
`python tests/test_fuzz.py KIND 0 SEED NUMBER` repeats the one that a failure names.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import dataclasses
import faulthandler
import io
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("DEEPFER_FUZZ_S", "3"))  # for each kind
SEED = int(os.environ.get("DEEPFER_FUZZ_SEED", "0"))
MOST_S = 5.0  # of processor time for one input
HANGS_S = 180.0  # for one input, even on a busy machine: a model's trial waits for 120
MOST_BYTES = 1_000_000_000
REFUSED, BROKEN = 3, 4  # how a fork ends

Call = Callable[[np.random.Generator], bool]  # takes one input; whether it was refused


# --- how things are altered ---

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 40_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


def altered(rng: np.random.Generator, whole: bytes, other: bytes) -> bytes:
    """A file with bytes changed, removed, repeated or copied from another, and with forged numbers in its header."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        head = rng.random() < 0.7
        place = int(rng.integers(min(len(data), 600) if head else len(data)))
        length = int(rng.integers(1, 64))
        match rng.integers(7):
            case 0:
                for at in rng.integers(min(len(data), 600) if head else len(data), size=rng.integers(1, 8)):
                    data[at] = rng.integers(256)
            case 1:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:  # a width, a length, an offset
                size = int(rng.choice((1, 2, 4, 8)))
                value = EXTREMES[rng.integers(len(EXTREMES))] & (1 << 8 * size) - 1
                data[place : place + size] = value.to_bytes(size, "big" if rng.random() < 0.5 else "little")
            case 3:
                del data[place : None if rng.random() < 0.5 else place + length]
            case 4:
                data[place:place] = data[place : place + length] * int(rng.integers(1, 4))
            case 5:
                start = int(rng.integers(max(1, len(other))))
                data[place : place + length] = other[start : start + length]
            case 6:
                data[place : place + length] = bytes([rng.choice((0, 255))]) * length
    return bytes(data)


def with_checksums(png: bytes) -> bytes:
    """A PNG with valid checksums for its altered chunks, so that the fuzzing reaches more than the checksum test."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        out += png[at:end] + zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


VALUES = (
    None, True, -1, 0, 1, 3.7, 1e-300, 1e300, -1e300, 10**400, float("nan"), float("inf"), "", "x", "logits", "\ud800",
    "a" * 10_000, [], [1], [[]], {}, {"a": {}}, [None] * 7, [[0.1, 0.2]] * 5, [[1e300, -1e300]] * 5,
)  # fmt: skip


def changed(rng: np.random.Generator, tree: Any) -> Any:
    """A JSON value with one part changed, removed or moved."""
    parts = [(tree, key) for key in _keys(tree)]
    for holder, key in parts:
        parts += [(holder[key], inner) for inner in _keys(holder[key])]
    if not parts:
        return copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    holder, key = parts[rng.integers(len(parts))]
    match rng.integers(4):
        case 0:
            del holder[key]
        case 1:
            other, its = parts[rng.integers(len(parts))]
            with contextlib.suppress(KeyError, IndexError):
                holder[key] = copy.deepcopy(other[its])
        case 2 if isinstance(holder[key], int | float):
            with contextlib.suppress(OverflowError):  # an int past all floats
                holder[key] *= float(rng.choice((-1, 0, 1e-9, 0.1, 2, 1000, 1e9)))
        case _:
            holder[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return tree


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def check_told(error: Exception | str) -> None:
    """The message is one readable line."""
    assert str(error), repr(error)
    assert "\n" not in str(error), str(error)
    assert len(str(error)) < 1000, str(error)


# --- images ---


def picture_files() -> list[bytes]:
    """Files of every supported kind, in variants that exercise different code in their readers."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
    rgb = rgb.resize((60, 45), Image.Resampling.BICUBIC)
    gray, bits, palette = rgb.convert("L"), rgb.convert("1"), rgb.quantize(16)
    alpha = rgb.copy()
    alpha.putalpha(gray)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described " * 20
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    film: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(90), rgb], "duration": 40}
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "JPEG", {"exif": exif}), (rgb, "JPEG", {"progressive": True}), (rgb.convert("CMYK"), "JPEG", {}),
        (gray, "JPEG", {}), (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        (rgb, "PNG", {"exif": exif}), (palette, "PNG", {"transparency": 3}), (deep, "PNG", {}), (alpha, "PNG", film),
        (bits, "PNG", {}), (rgb, "WEBP", {"exif": exif}), (alpha, "WEBP", {"lossless": True}), (rgb, "WEBP", film),
        (rgb, "AVIF", {"exif": exif}), (alpha, "AVIF", {}), (palette, "GIF", {"transparency": 3}), (rgb, "GIF", film),
        (rgb, "BMP", {}), (palette, "BMP", {}), (alpha, "BMP", {}), (rgb, "DIB", {}), (rgb, "TIFF", {"exif": exif}),
        (deep, "TIFF", {}), (gray.convert("F"), "TIFF", {}), (gray.convert("I"), "TIFF", {}), (alpha, "TIFF", {}),
        (Image.new("LAB", (60, 45)), "TIFF", {}), (rgb.convert("CMYK"), "TIFF", {}),
        (bits, "TIFF", {"compression": "group4"}),
        (rgb, "TIFF", {"compression": "jpeg"}), (palette, "TIFF", {"compression": "packbits"}),
        (gray, "TIFF", {"compression": "tiff_lzw"}), (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (rgb, "PPM", {}), (gray, "PPM", {}), (bits, "PPM", {}), (deep, "PPM", {}), (gray.convert("F"), "PPM", {}),
        (rgb, "JPEG2000", {}), (rgb, "JPEG2000", {"no_jp2": True, "irreversible": True}), (alpha, "JPEG2000", {}),
    ]  # fmt: skip
    files = []
    for image, kind, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def pictures(folder: Path) -> Call:
    from deepfer import ImageError, read_image

    files = picture_files()

    def call(rng: np.random.Generator) -> bool:
        whole, other = files[rng.integers(len(files))], files[rng.integers(len(files))]
        data = altered(rng, whole, other)
        if data.startswith(b"\x89PNG") and rng.random() < 0.7:
            data = with_checksums(data)
        try:
            rgb = read_image(data, max_side=1280 if rng.random() < 0.2 else None)
        except ImageError as error:
            check_told(error)
            return True
        assert rgb.dtype == np.uint8
        assert rgb.shape[2:] == (3,)
        assert rgb.size
        return False

    return call


# --- checkpoints ---


def use(classifier: Any, rgb: np.ndarray) -> None:
    """A model that was accepted gives valid probabilities."""
    from deepfer import Face

    checkpoint = classifier.checkpoint
    points = ((30.0, 30.0), (50.0, 31.0), (40.0, 42.0), (32.0, 52.0), (49.0, 52.0))
    for face in (Face((20, 15, 60, 65), 0.9, points), Face((0, 0, 9, 80))):
        crop = checkpoint.geometry.crop(rgb, face, checkpoint.input_size, checkpoint.channels)
        assert crop.shape[:2] == (checkpoint.input_size,) * 2
        (probabilities,) = classifier.predict(crop[None])
        assert np.isfinite(probabilities).all(), probabilities
        assert abs(probabilities.sum() - 1) < 1e-5, probabilities


def descriptions(folder: Path) -> Call:
    from deepfer import CheckpointError, EmotionClassifier
    from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, read

    own = Path(shutil.copytree(EMBEDDED / DEFAULT, folder / "checkpoint"))
    served = ("format_version", "labels", "input", "outputs", "temperature", "crop", "sha256")
    good = {key: value for key, value in json.loads((own / CONFIG).read_text()).items() if key in served}
    good["sha256"].pop(CONFIG)  # or every change would be refused for its sake
    rgb = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)

    def call(rng: np.random.Generator) -> bool:
        config = copy.deepcopy(good)
        for _ in range(rng.integers(1, 3)):
            config = changed(rng, config)
        text = json.dumps(config).encode()
        if rng.random() < 0.3:
            text = altered(rng, text, text)
        (own / CONFIG).write_bytes(text)
        try:
            classifier = EmotionClassifier(read(own))
        except CheckpointError as error:
            check_told(error)
            return True
        use(classifier, rgb)
        return False

    return call


def numbers(part: Any) -> list[tuple[Any, str]]:
    """Every number and list of numbers in a model's graph: the object that holds it, and its name there."""
    found = []
    for name, value in vars(part).items():
        if isinstance(value, bool | int | float | np.ndarray):
            found.append((part, name))
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "__dict__"):
                found += numbers(inner)
    return found


def another_graph(rng: np.random.Generator, model: Any) -> None:
    """Change shapes, types, connections and options, which neither a checksum nor the file format validates."""
    places = [(part, name) for part, name in numbers(model) if type(part).__name__ != "BufferT"]
    for _ in range(rng.integers(1, 4)):
        part, name = places[rng.integers(len(places))]
        value = getattr(part, name)
        new = (
            int(rng.integers(0, 40))
            if rng.random() < 0.5
            else int(rng.choice((-(2**31), -1, 0, 1000, 2**24, 2**31 - 1)))
        )
        if isinstance(value, np.ndarray):
            value = np.append(value, value[-1:])[: len(value) + int(rng.integers(-1, 2))]
            if value.size:
                value.flat[rng.integers(value.size)] = np.array(new).astype(value.dtype)
            setattr(part, name, value)
        else:
            setattr(part, name, not value if isinstance(value, bool) else type(value)(new))


def another_model(rng: np.random.Generator, good: bytes) -> bytes:
    """A LiteRT file with changes in its bytes, its graph or its trailing metadata."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = altered(rng, good, good)
    if rng.random() < 0.5:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(good))
        another_graph(rng, model)
        builder = flatbuffers.Builder(1 << 21)
        with contextlib.suppress(TypeError, OverflowError):  # a number that its place cannot hold
            builder.Finish(model.Pack(builder), b"TFL3")
            content = bytes(builder.Output())
    elif rng.random() < 0.5:  # the description stands at the end, behind the weights
        tail = len(good) - 60_000
        content = good[:tail] + altered(rng, good[tail:], good)
    return content


def models(folder: Path) -> Call:
    from deepfer import CheckpointError, EmotionClassifier
    from deepfer.checkpoint import DEFAULT, EMBEDDED, MODEL, read

    checkpoint = dataclasses.replace(read(EMBEDDED / DEFAULT), folder=folder)
    good = (EMBEDDED / DEFAULT / MODEL).read_bytes()
    rgb = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)

    def call(rng: np.random.Generator) -> bool:
        (folder / MODEL).write_bytes(another_model(rng, good))
        return unharmed(load)

    def load() -> bool:
        try:
            use(EmotionClassifier(checkpoint), rgb)  # refuses a bad weight that shows only in some answers
        except CheckpointError as error:
            check_told(error)
            return True
        return False

    return call


def detectors(folder: Path) -> Call:
    from deepfer import DetectorError
    from deepfer.checkpoint import DETECTOR, EMBEDDED, MODEL
    from deepfer.detector_network import load_network, read_detector

    checkpoint = dataclasses.replace(read_detector(EMBEDDED / DETECTOR), folder=folder)
    good = (EMBEDDED / DETECTOR / MODEL).read_bytes()
    rgb = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)

    def call(rng: np.random.Generator) -> bool:
        (folder / MODEL).write_bytes(another_model(rng, good))
        return unharmed(load)

    def load() -> bool:
        try:
            found = load_network(checkpoint).detect(rgb, checkpoint.threshold)
        except DetectorError as error:
            check_told(error)
            return True
        except MemoryError:
            return True
        assert found.shape[1] == 15
        assert np.isfinite(found).all()
        return False

    return call


def unharmed(load: Callable[[], bool]) -> bool:
    """The outcome of `load` in a fork of this process, without the trial in another process.

    If the fork dies, `load` runs again here, with that trial. So a hundred files are tried in the time of ten.
    """
    from deepfer import classifier, detector_network, limits, model_probe

    child = os.fork()
    if not child:
        status = BROKEN
        try:
            model_probe.limit_resources(4 * limits.MODEL_TRIAL_S)  # it answers three times
            classifier.probe = detector_network.probe = lambda *_, **__: None
            refused = load()
            assert peak() < MOST_BYTES, f"took {peak():,} bytes"
            status = REFUSED if refused else 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) in (0, REFUSED), "see above"
        return os.WEXITSTATUS(status) == REFUSED
    assert load(), f"ends its process by signal {os.WTERMSIG(status)}, and is taken"
    return True


# --- the command line ---


def arguments(folder: Path) -> Call:
    from deepfer.cli import main

    os.chdir(folder)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    for name in ("a.png", "b.jpg", "größe 🙂.png", "more/a.png", "more/deep/c.bmp"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(name)
    Path("broken.jpg").write_bytes(b"no picture")
    Path("clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    os.mkfifo("fifo.png")
    words = [
        "a.png", "b.jpg", "größe 🙂.png", "more", "more/a.png", "broken.jpg", "clip.mp4", "fifo.png", "missing.jpg",
        ".", "--json", "--output", "out.jsonl", "out.csv", "--output=o.csv", "--resume", "--save", "saved",
        "--save=a.png", "--model", "cnn", "user/name", "more", "--revision", "main", "--detector", "haar",
        "auto", "deepfer", "yunet", "x.onnx",
        "--debug", "--version", "--help", "--", "-", "", " ", "a" * 300, "nul\0.png", "two\nlines", "caf\udce9.png",
        "--mod", "-h", "--outp", "@a.png", "%s{}", "0", "--json=1",
    ]  # fmt: skip
    likely = ["a.png", "more", "--detector", "deepfer"]

    def call(rng: np.random.Generator) -> bool:
        given = [words[i] for i in rng.integers(len(words), size=rng.integers(0, 7))]
        if rng.random() < 0.7:
            given = [*likely[: rng.integers(5)], *given] if rng.random() < 0.5 else [*given, *likely]
        if given and rng.random() < 0.2:  # within a folder of its own: nothing that climbs out of it
            place = rng.integers(len(given))
            text = altered(rng, given[place].encode("utf-8", "surrogateescape"), b"--output=.csv")
            given[place] = os.fsdecode(text).lstrip("/").replace("..", ".")
        printed, noted = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(noted):
                code = main([*given, "--debug"] if "--" not in given else given)
        except SystemExit as end:
            code = end.code
        assert code in (0, 1, 2), (given, code, noted.getvalue())
        assert "Traceback" not in noted.getvalue(), (given, noted.getvalue())
        assert code == 0 or noted.getvalue().strip(), given
        assert not [path for path in Path().rglob(".*.part*")], given
        return code != 0

    return call


# --- the page ---


def posts(folder: Path) -> Call:
    import httpx
    from gradio.routes import App

    import app
    from deepfer import LABELS
    from ui.server import guarded

    app.demo.max_file_size = app.MAX_UPLOAD_BYTES  # as `launch` does
    server = guarded(App.create_app(app.demo), "127.0.0.1")
    camera = next(block for block in app.demo.blocks.values() if hasattr(block, "recognize_frame"))
    file = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 128, np.uint8)).save(file, "JPEG")
    good = {
        "data": {"token": "0123456789abcdef" * 2, "time_s": 1.0, "frame": base64.b64encode(file.getvalue()).decode()},
        "component_id": camera._id,
        "fn_name": "recognize_frame",
        "session_hash": "x",
    }
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://127.0.0.1")

    def multipart(message: Any) -> bytes:
        parts = [(key, value) for key, value in message.items() if key != "data"] if isinstance(message, dict) else []
        head = b"".join(
            f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode(errors="replace")
            for key, value in parts
        )
        frame = b'--b\r\nContent-Disposition: form-data; name="frame"; filename="f.jpg"\r\n\r\n' + file.getvalue()
        return head + frame + b"\r\n--b--\r\n"

    def call(rng: np.random.Generator) -> bool:
        message: Any = copy.deepcopy(good)
        message["data"]["time_s"] = float(rng.random() * 1e6)
        if rng.random() < 0.2:
            frame = altered(rng, file.getvalue(), b"\x89PNG\r\n\x1a\n")
            message["data"]["frame"] = base64.b64encode(frame).decode()
        elif rng.random() < 0.8:
            message["data"] = changed(rng, message["data"])
        else:
            message = changed(rng, message)
        kind, body = "application/json", json.dumps(message).encode()
        if rng.random() < 0.15:
            kind, body = "multipart/form-data; boundary=b", multipart(message)
        if rng.random() < 0.2:
            body = altered(rng, body, body)
        answer = loop.run_until_complete(
            client.post("/gradio_api/component_server/", content=body, headers={"Content-Type": kind})
        )
        if answer.status_code != 200:
            assert 400 <= answer.status_code < 500, (answer.status_code, body[:2000])
            return True
        found = answer.json()
        assert list(found) in (["faces"], ["late"], ["busy"], ["error"]), found
        for face in found.get("faces", []):
            assert list(face["probabilities"]) == list(LABELS)
        if "error" in found:
            check_told(found["error"])
        return "error" in found

    return call


# --- running them ---

KINDS: dict[str, Callable[[Path], Call]] = {
    "pictures": pictures,
    "descriptions": descriptions,
    "models": models,
    "detectors": detectors,
    "arguments": arguments,
    "posts": posts,
}


def peak() -> int:
    """The peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert match
    return 1000 * int(match[1])


def check_time(call: Callable[[], object]) -> None:
    """Whether it is faster when repeated: the machine may have been busy."""
    spent = []
    for _ in range(3):
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    assert min(spent) < MOST_S, f"took {min(spent):.1f} s"


def run(kind: str, seconds: float, seed: int, only: int | None = None) -> None:
    """Try inputs until the time is up; the file "number" always holds the number of the current one."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        marker = os.open(os.environ.get("FUZZ_NUMBER", os.devnull), os.O_WRONLY)
        call = KINDS[kind](Path(folder))
        refused, watched, end = 0, 0.0, time.monotonic() + seconds
        for tried in itertools.count():
            if tried and time.monotonic() > end:
                break
            number = tried if only is None else only
            os.pwrite(marker, str(number).encode(), 0)
            if time.monotonic() > watched + 1:  # resetting the watchdog takes longer than many calls
                faulthandler.dump_traceback_later(HANGS_S, exit=True)
                watched = time.monotonic()
            refused += call(np.random.default_rng((seed, number)))
            if time.monotonic() > watched + MOST_S:
                check_time(lambda number=number: call(np.random.default_rng((seed, number))))
            assert peak() < MOST_BYTES, f"took {peak():,} bytes"
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"tried": tried, "refused": refused, "peak": peak()}))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_breaks(kind: str, tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.touch()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "FUZZ_NUMBER": str(number), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
        "GRADIO_TEMP_DIR": str(tmp_path / "uploads"), "GRADIO_ANALYTICS_ENABLED": "False",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, kind, str(SECONDS), str(SEED)],
        capture_output=True, text=True, errors="replace", cwd=ROOT, env=environment,
    )  # fmt: skip
    at = f"{kind}, seed {SEED}, input {number.read_text()}, status {done.returncode}"
    assert done.returncode == 0, f"{at}:\n{done.stderr[-4000:]}"
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["tried"] >= SECONDS
    assert 0 < outcome["refused"] < outcome["tried"]  # otherwise one of the two was never tried


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None)
