"""Malicious files, as a checkpoint folder and for `training.export --keras`: a one-line refusal, and no code runs.

They are opened in a process of its own, whose memory and time are bounded. Every payload leaves a marker where it runs;
that it would, were the file loaded carelessly, is shown too.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deepfer import LABELS, CheckpointError, DetectorError, EmotionClassifier, load_detector
from deepfer.checkpoint import CONFIG, DEFAULT, DETECTOR, EMBEDDED, MODEL, encode_config, read, sha256
from deepfer.detector_network import read_detector

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CHILD_BYTES = 10_000_000_000
CHILD_SECONDS = 240


def in_a_child(task: str, folder: Path) -> dict[str, Any]:
    """The outcome of `task`, a function at the end of this file, for each file of a folder."""
    done = subprocess.run(
        [sys.executable, __file__, task, str(folder)],
        capture_output=True, text=True, cwd=ROOT, timeout=CHILD_SECONDS, env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (CHILD_BYTES, CHILD_BYTES)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


# --- files of Keras ---


class Runs:
    """Its pickle runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def keras_files(folder: Path, marker: Callable[[str], Path]) -> dict[str, str]:  # noqa: C901 (a function per attack)
    """Write the hostile files; returns the expected message by file name."""
    import keras
    from keras import layers
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

    def small(*more: keras.Layer) -> keras.Model:
        inputs = keras.Input((48, 48, 1))
        x = inputs
        for layer in more:
            x = layer(x)
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="convolution")(x))
        return keras.Model(inputs, layers.Dense(7, activation="softmax", name="answer")(x))

    harmless, harmless_h5 = folder.parent / "harmless.keras", folder.parent / "harmless.h5"
    small().save(harmless)
    save_model_to_hdf5(small(), str(harmless_h5))

    def archive(name: str, change: Callable[[dict], object] = lambda config: None, **parts: bytes) -> Path:
        with zipfile.ZipFile(harmless) as old, zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as new:
            config = json.loads(old.read("config.json"))
            change(config)
            held = {part: old.read(part) for part in old.namelist()} | {"config.json": json.dumps(config).encode()}
            for part, content in (held | parts).items():
                new.writestr(part, content)
        return folder / name

    def hdf5(name: str, change: Callable[[dict], object] = lambda config: None) -> Path:
        shutil.copy(harmless_h5, folder / name)
        with h5py.File(folder / name, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return folder / name

    said = {}
    for suffix, write in ((".keras", archive), (".h5", hdf5)):
        path = str(marker(f"lambda{suffix}"))
        with_lambda = small(layers.Lambda(eval(f"lambda x: (open({path!r}, 'w').close(), x)[1]")))
        Path(path).unlink()  # building it ran it
        if suffix == ".h5":
            save_model_to_hdf5(with_lambda, str(folder / "lambda.h5"))
        else:
            with_lambda.save(folder / "lambda.keras")
        said[f"lambda{suffix}"] = "ambda"

        command = f"touch {marker(f'os{suffix}')}"
        foreign = {"module": "os", "class_name": "system", "config": {"command": command}, "registered_name": "system"}

        def put(config: dict, layer: dict = foreign) -> None:
            config["config"]["layers"].append({**layer, "name": "x", "inbound_nodes": []})

        write(f"os{suffix}", put)
        said[f"os{suffix}"] = "ystem"

        def activate(config: dict) -> None:
            function = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
            next(x for x in config["config"]["layers"] if x["config"]["name"] == "answer")["config"]["activation"] = (
                function
            )

        write(f"function{suffix}", activate)
        said[f"function{suffix}"] = "ystem"

        source = folder.parent / "source.txt"
        source.write_text("from elsewhere")
        target = marker(f"get_file{suffix}")
        arguments = {
            "fname": target.name,
            "origin": source.as_uri(),
            "cache_dir": str(target.parent),
            "cache_subdir": "",
        }
        fetch = {"module": "keras.utils", "class_name": "get_file", "config": arguments, "registered_name": "get_file"}
        write(f"get_file{suffix}", lambda config, layer=fetch: put(config, layer))
        said[f"get_file{suffix}"] = "get_file"

        (folder / f"pickle{suffix}").write_bytes(pickle.dumps(Runs(f"touch {marker(f'pickle{suffix}')}")))
        said[f"pickle{suffix}"] = "neither a .keras archive nor an HDF5 file"

        def swell(config: dict, units: int = 2_000_000_000) -> None:  # with 4 channels, 32 GB of weights
            next(x for x in config["config"]["layers"] if x["config"]["name"] == "answer")["config"]["units"] = units

        write(f"swollen{suffix}", swell)
        said[f"swollen{suffix}"] = ""

        write(f"nested{suffix}")
        deep = "[" * 100_000 + "]" * 100_000
        if suffix == ".h5":
            with h5py.File(folder / "nested.h5", "r+") as file:
                file.attrs["model_config"] = deep
        else:
            archive("nested.keras", **{"config.json": deep.encode()})
        said[f"nested{suffix}"] = "recursion"

    archive("climbs.keras", **{f"../{marker('climbs.keras').name}": b"out of the folder"})
    said["climbs.keras"] = ""  # the three parts alone are read

    bomb = archive("claims.keras")
    content = bytearray(bomb.read_bytes())
    entry = content.rindex(b"model.weights.h5") - 46  # in the central directory, where the size stands at byte 24
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)
    bomb.write_bytes(content)
    said["claims.keras"] = "claims 4,294,967,280 bytes"
    archive("bomb.keras", **{"config.json": b" " * 100_000_000})
    said["bomb.keras"] = "claims 100,000,000 bytes"

    def spoil(file: h5py.File, how: str) -> None:
        if how == "claims":
            file.create_dataset("layers/more/vars/0", (2_500_000_000,), "f4", chunks=(1000,))
        elif how == "outside":
            file.create_dataset("layers/more/vars/0", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        else:
            file["layers/more"] = h5py.ExternalLink("/etc/passwd", "/")

    for how, words in (("claims", "10,000,"), ("outside", "in another file"), ("link", "link into another file")):
        buffer = io.BytesIO(zipfile.ZipFile(harmless).read("model.weights.h5"))
        with h5py.File(buffer, "r+") as file:
            spoil(file, how)
        archive(f"weights-{how}.keras", **{"model.weights.h5": buffer.getvalue()})
        with h5py.File(hdf5(f"weights-{how}.h5"), "r+") as file:
            spoil(file["model_weights"], how)
        said |= {f"weights-{how}.keras": words, f"weights-{how}.h5": words}
    return said


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str], dict[str, Any]]:
    top = tmp_path_factory.mktemp("hostile")
    (top / "files").mkdir()
    (top / "markers").mkdir()
    said = keras_files(top / "files", lambda name: top / "markers" / name)
    assert list((top / "markers").iterdir()) == []
    return top / "files", top / "markers", said, in_a_child("convert", top / "files")


def test_a_hostile_keras_file_gets_one_message(hostile: tuple[Path, Path, dict[str, str], dict[str, Any]]) -> None:
    files, markers, said, outcomes = hostile
    assert set(outcomes) == set(said) == {path.name for path in files.iterdir() if path.is_file()}
    for name, words in said.items():
        if name == "climbs.keras":
            assert outcomes[name]["code"] == 0
            continue
        assert outcomes[name]["code"] == 1, name
        assert words in outcomes[name]["error"], name
        assert outcomes[name]["error"].startswith("error: "), name
        assert outcomes[name]["error"].count("\n") == 1, name
        assert len(outcomes[name]["error"]) < 600, name
        assert outcomes[name]["seconds"] < 60, name
    assert list(markers.iterdir()) == []
    assert not (files.parent / "climbs.keras").exists()


def test_a_careless_loader_would_execute_them(hostile: tuple[Path, Path, dict[str, str], dict[str, Any]]) -> None:
    files, markers, *_ = hostile
    in_a_child("carelessly", files)
    left = {path.name for path in markers.iterdir()}
    assert left == {f"{kind}{s}" for kind in ("lambda", "os", "get_file", "pickle") for s in (".keras", ".h5")}
    for path in markers.iterdir():
        path.unlink()


# --- checkpoint folders ---


def tensors(change: Callable[[Any], object], name: str = DEFAULT) -> bytes:
    """An embedded model with changes to its graph."""
    return described(lambda model: change(model.subgraphs[0]), name)


def described(change: Callable[[Any], object], name: str = DEFAULT) -> bytes:
    """An embedded model with changes anywhere in its FlatBuffer."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((EMBEDDED / name / MODEL).read_bytes()))
    change(model)
    builder = flatbuffers.Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def claim(graph: Any) -> None:
    """A tensor between two layers claims to be huge."""
    graph.tensors[graph.operators[3].outputs[0]].shape = np.array([1, 40_000, 40_000, 16], np.int32)


def swollen() -> bytes:
    """Its tensors truly take 6 GB."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 48, 48, 1), tf.float32, "image")])
    def serve(image: Any) -> dict[str, Any]:
        large = tf.image.resize(image, (40_000, 40_000))
        return {"logits": tf.reduce_mean(large, axis=(1, 2)) * tf.ones((1, 7))}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    return converter.convert()


def twofold() -> bytes:
    """A model with two outputs for each crop."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 48, 48, 1), tf.float32, "image")])
    def serve(image: Any) -> dict[str, Any]:
        return {"logits": tf.reduce_mean(image) * tf.ones((2, 7))}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    return converter.convert()


def model_files() -> dict[str, bytes]:
    good = (EMBEDDED / DEFAULT / MODEL).read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
    return {
        "cut": good[: len(good) // 2],
        "head": good[:64],
        "noise": noise,
        "noise after the magic": good[:8] + noise,
        "noise in the middle": good[:2000] + noise[:2000] + good[4000:],
        "pickle": pickle.dumps(Runs("false")),
        "claims": tensors(claim),
        "swollen": swollen(),
        "twofold": twofold(),
        "another input": tensors(
            lambda graph: setattr(graph.tensors[graph.inputs[0]], "shape", np.array([1, 64, 64, 1], np.int32))
        ),
        "no outputs": tensors(lambda graph: setattr(graph, "outputs", np.array([], np.int32))),
        "outputs that are not there": tensors(lambda graph: setattr(graph, "outputs", np.array([99_999], np.int32))),
        "operations on what is not there": tensors(
            lambda graph: setattr(graph.operators[5], "inputs", np.array([99_999, -7, 3], np.int32))
        ),
        "a signature of a graph that is not there": described(
            lambda model: setattr(model.signatureDefs[0], "subgraphIndex", 16)
        ),
        "a signature of a tensor that is not there": described(
            lambda model: setattr(model.signatureDefs[0].inputs[0], "tensorIndex", 1000)
        ),
        "a signature of a tensor past all numbers": described(
            lambda model: setattr(model.signatureDefs[0].inputs[0], "tensorIndex", 4_090_231_168)
        ),
        "a signature of a tensor that is no output": described(
            lambda model: setattr(model.subgraphs[0], "outputs", model.subgraphs[0].outputs[:1])
        ),
        "a window past all pictures": tensors(huge_window),
        "a name that is no text": good.replace(b"StatefulPartitionedCall", b"Stateful\xff\xff\xff\x7fitionedCall"),
        "weights that are no numbers": described(without_numbers),
    }


def huge_window(graph: Any) -> None:
    """A pooling window so high that LiteRT would need 3 GB to list its rows."""
    window = [op.builtinOptions for op in graph.operators if hasattr(op.builtinOptions, "filterHeight")][1]
    window.filterHeight = 1 << 24


def without_numbers(model: Any) -> None:
    """All floating-point weights are NaN."""
    from ai_edge_litert.schema_py_generated import TensorType

    for kind, form in ((TensorType.FLOAT32, np.float32), (TensorType.FLOAT16, np.float16)):
        floats = [tensor for tensor in model.subgraphs[0].tensors if tensor.type == kind]
        held = [model.buffers[tensor.buffer] for tensor in floats if model.buffers[tensor.buffer].data is not None]
        for buffer in held:
            buffer.data = np.full(len(buffer.data) // np.dtype(form).itemsize, np.nan, form).view(np.uint8)


def test_a_hostile_model_file_gets_one_message(tmp_path: Path) -> None:
    files = model_files()
    for name, content in files.items():
        folder = shutil.copytree(EMBEDDED / DEFAULT, tmp_path / name)
        (folder / MODEL).write_bytes(content)
        config = json.loads((folder / CONFIG).read_text())
        config["sha256"] = {MODEL: sha256(folder / MODEL)}
        if name in ("swollen", "twofold"):
            config |= {"outputs": {"logits": "logits"}, "temperature": {"logits": 1.0}}
        (folder / CONFIG).write_text(json.dumps(config))
    outcomes = in_a_child("serve", tmp_path)
    assert set(outcomes) == set(files)
    for name, words in outcomes.items():
        assert words["error"], name
        assert "\n" not in words["error"], name
        assert words["seconds"] < 30, name
    assert "is not a LiteRT model" in outcomes["a signature of a tensor past all numbers"]["error"]
    assert "processor time" not in outcomes["a window past all pictures"]["error"]  # it gets no memory, long before
    assert "has no output" in outcomes["a signature of a tensor that is no output"]["error"]
    assert "do not have the declared shapes" in outcomes["twofold"]["error"]
    for name in ("claims", "swollen"):
        assert "bytes of memory" in outcomes[name]["error"]
    assert (
        "crashes the process that runs it (signal 11)" in outcomes["a signature of a graph that is not there"]["error"]
    )
    assert "are not finite" in outcomes["weights that are no numbers"]["error"]


# --- detector folders ---


def shifting() -> bytes:
    """A detector whose grids have the right shape in the trial, but another for larger images."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32, "image")])
    def serve(image: Any) -> dict[str, Any]:
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        columns = tf.where(height > 64, 1, 15)
        grids = {f"stride{s}": tf.ones(tf.stack([1, height // s, width // s, columns])) * 9.0 for s in (8, 16, 32)}
        return {name: grid + 0 * tf.reduce_mean(image) for name, grid in grids.items()}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    return converter.convert()


def detector_files() -> dict[str, bytes]:
    good = (EMBEDDED / DETECTOR / MODEL).read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
    return {
        "cut": good[: len(good) // 2],
        "noise": noise,
        "noise after the magic": good[:8] + noise,
        "pickle": pickle.dumps(Runs("false")),
        "a model of emotions": (EMBEDDED / DEFAULT / MODEL).read_bytes(),
        "shifting": shifting(),
        "no inputs": tensors(lambda graph: setattr(graph, "inputs", np.array([], np.int32)), DETECTOR),
        "no outputs": tensors(lambda graph: setattr(graph, "outputs", np.array([], np.int32)), DETECTOR),
        "one output": tensors(lambda graph: setattr(graph, "outputs", graph.outputs[:1]), DETECTOR),
        "outputs that are not there": tensors(
            lambda graph: setattr(graph, "outputs", np.array([99_999], np.int32)), DETECTOR
        ),
        "operations on what is not there": tensors(
            lambda graph: setattr(graph.operators[5], "inputs", np.array([99_999, -7, 3], np.int32)), DETECTOR
        ),
        "weights that are no numbers": described(without_numbers, DETECTOR),
    }


def test_a_hostile_detector_gets_one_message(tmp_path: Path) -> None:
    files = detector_files()
    for name, content in files.items():
        folder = shutil.copytree(EMBEDDED / DETECTOR, tmp_path / name)
        (folder / MODEL).write_bytes(content)
        config = json.loads((folder / CONFIG).read_text())
        config["sha256"][MODEL] = sha256(folder / MODEL)
        (folder / CONFIG).write_bytes(encode_config(config))
    outcomes = in_a_child("find_faces", tmp_path)
    assert set(outcomes) == set(files)
    for name, words in outcomes.items():
        assert words["error"], name
        assert "\n" not in words["error"], name
        assert words["seconds"] < 30, name
    assert "not finite" in outcomes["weights that are no numbers"]["error"]


def test_a_detector_that_gives_no_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfer.model_probe.MODEL_TRIAL_S", 0.001)
    folder = shutil.copytree(EMBEDDED / DETECTOR, tmp_path / "detector")
    with (folder / MODEL).open("ab") as file:
        file.write(b"unlike any that was tried")
    config = json.loads((folder / CONFIG).read_text())
    config["sha256"][MODEL] = sha256(folder / MODEL)
    (folder / CONFIG).write_bytes(encode_config(config))
    with pytest.raises(DetectorError, match="does not answer within"):
        load_detector(folder)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        json.dumps({"format_version": 1, "labels": [["angry"], 7, None]}),
        '{"format_version": ' + "9" * 5000 + "}",
        b"\xff\xfe\x00".decode("latin-1"),
    ],
)
def test_a_hostile_config_is_refused(content: str, tmp_path: Path) -> None:
    for load, fault in ((read, CheckpointError), (read_detector, DetectorError)):
        (tmp_path / CONFIG).write_text(content, encoding="utf-16")
        with pytest.raises(fault):
            load(tmp_path)
        (tmp_path / CONFIG).write_text(content)
        with pytest.raises(fault) as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value)


WRONG = [None, True, -1, 0, 3.7, 10**400, float("nan"), float("inf"), "", "x", [], [1], [[]], {}, {"a": {}}, [None] * 7]


def test_values_of_wrong_types_are_refused_without_a_traceback(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / DEFAULT, tmp_path / "checkpoint"))
    good = json.loads((folder / CONFIG).read_text())
    del good["sha256"][CONFIG]  # or every change would be refused for its sake
    places = [(key,) for key in ("format_version", "labels", "input", "outputs", "temperature", "crop", "sha256")]
    places += [("input", "size"), ("input", "channels"), ("outputs", "logits"), ("temperature", "logits")]
    places += [("crop", "template"), ("crop", "margin"), ("crop", "center"), ("crop", "center", 0), ("labels", 3)]
    places += [("crop", "template", 2), ("crop", "template", 2, 1), ("sha256", MODEL)]
    fine = {("format_version",): (True,), ("temperature", "logits"): (True, 3.7), ("crop", "margin"): (True, 3.7)}
    fine |= {("crop", "center", 0): (True, -1, 0, 3.7), ("crop", "template", 2, 1): (True, -1, 0, 3.7)}
    crops = np.zeros((1, 48, 48), np.uint8)
    for place in places:
        for wrong in WRONG:
            config = json.loads(json.dumps(good))
            at: Any = config
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = wrong
            (folder / CONFIG).write_text(json.dumps(config))
            if any(wrong is value or (type(wrong) is type(value) and wrong == value) for value in fine.get(place, ())):
                assert EmotionClassifier(read(folder)).predict(crops).shape == (1, len(LABELS))
                continue
            with pytest.raises(CheckpointError) as caught:  # noqa: PT012
                EmotionClassifier(read(folder))
                pytest.fail(f"{place}: {wrong!r} passed")
            assert "\n" not in str(caught.value)


def test_no_wrong_value_in_a_detectors_config_passes(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / DETECTOR, tmp_path / "detector"))
    good = json.loads((folder / CONFIG).read_text())
    for place in ("kind", "format_version", "thresholds", "sha256", ("thresholds", "photo"), ("sha256", MODEL)):
        for wrong in WRONG:
            config = json.loads(json.dumps(good))
            if isinstance(place, str):
                config[place] = wrong
            else:
                config[place[0]][place[1]] = wrong
            text = json.dumps(config)
            if isinstance(config["sha256"], dict):  # each is judged by itself, not by the config's hash
                text = encode_config(config).decode()
            (folder / CONFIG).write_text(text)
            if place == "format_version" and wrong is True:  # equal to 1
                continue
            with pytest.raises(DetectorError) as caught:
                load_detector(folder)
            assert "\n" not in str(caught.value), (place, wrong)


# --- what the child does ---


def convert(path: Path) -> dict[str, Any]:
    from training import export

    errors = io.StringIO()
    labels = ",".join(LABELS)
    with contextlib.redirect_stderr(errors):
        code = export.main(
            [
                "--keras",
                str(path),
                "--labels",
                labels,
                "--rescale",
                "0-1",
                "--float32",
                "--out",
                f"{path.parent}-out/{path.name}",
            ]
        )
    return {"code": code, "error": errors.getvalue()}


def serve(folder: Path) -> dict[str, Any]:
    try:
        EmotionClassifier(read(folder)).predict(np.zeros((1, 48, 48), np.uint8))
    except CheckpointError as error:
        return {"error": str(error)}
    return {"error": None}


def find_faces(folder: Path) -> dict[str, Any]:
    try:
        load_detector(folder).detect(np.zeros((480, 640, 3), np.uint8))
    except DetectorError as error:
        return {"error": str(error)}
    return {"error": None}


def carelessly(path: Path) -> None:
    """Load the files unsafely, as each payload expects."""
    import keras

    if path.stem == "pickle":
        pickle.loads(path.read_bytes())
    elif path.stem == "lambda":
        keras.models.load_model(path, safe_mode=False, compile=False)
    elif path.stem in ("os", "get_file"):
        if path.suffix == ".keras":
            config = json.loads(zipfile.ZipFile(path).read("config.json"))
        else:
            with h5py.File(path) as file:
                config = json.loads(file.attrs["model_config"])
        layer = config["config"]["layers"][-1]
        getattr(importlib.import_module(layer["module"]), layer["class_name"])(**layer["config"])


if __name__ == "__main__":
    for entry in sorted(Path(sys.argv[2]).iterdir()):
        start = time.monotonic()
        result = {"convert": convert, "serve": serve, "find_faces": find_faces, "carelessly": carelessly}[sys.argv[1]](
            entry
        ) or {}
        print(json.dumps([entry.name, result | {"seconds": time.monotonic() - start}]), flush=True)
