"""Keras file: a person's own `.keras` or `.h5` classifier, read without running anything that it brings along.

Files of Keras 3 and of Keras 2 are taken. A file is judged by its content, not by its name; only its description and
its weights are read, and both are held against limits before Keras sees them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepfer.face import LABELS
from training.errors import KerasFileError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

MAX_CONFIG_BYTES = 20_000_000  # the largest of keras.applications takes 0.6 MB
MAX_WEIGHT_BYTES = 2_000_000_000  # with an optimizer's state; VGG16 and Adam's take 1.6 GB
MAX_LOADING_BYTES = 6_000_000_000  # of memory while Keras builds the network that a file describes
# What was done to pixels of 0 to 255 before the network saw them. The last two are what VGG16 and ResNet50 (caffe) and
# DenseNet (torch) of keras.applications take.
RESCALE: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "0-1": lambda pixels: keras.layers.Rescaling(1 / 255)(pixels),
    "-1-1": lambda pixels: keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels),
    "none": lambda pixels: pixels,
    "caffe": lambda pixels: keras.applications.imagenet_utils.preprocess_input(pixels, mode="caffe"),
    "torch": lambda pixels: keras.applications.imagenet_utils.preprocess_input(pixels, mode="torch"),
}
PARTS = ("metadata.json", "config.json", "model.weights.h5")  # what a .keras archive is made of


def load(path: Path) -> keras.Model:
    """The network in a file, without its optimizer.

    Raises:
        KerasFileError: It is no Keras file, one past a limit, or one that needs code from elsewhere.
        OSError: It cannot be read, or its checked copy not be written.
    """
    with path.open("rb") as file:
        magic = file.read(8)
    with tempfile.TemporaryDirectory(prefix="deepfer-keras-") as folder:
        try:
            if magic.startswith(b"PK"):
                checked = _checked_archive(path, Path(folder, "model.keras"))
            elif magic == b"\x89HDF\r\n\x1a\n":
                checked = _checked_hdf5(path, Path(folder, "model.h5"))
            else:
                raise KerasFileError(f"{path} is neither a .keras archive nor an HDF5 file")
            with _bounded_memory(MAX_LOADING_BYTES):
                return keras.models.load_model(checked, compile=False, safe_mode=True)
        except (KerasFileError, ImportError):
            raise
        except MemoryError as error:
            raise KerasFileError(f"{path} asks for more memory than {MAX_LOADING_BYTES // 10**9} GB") from error
        except Exception as error:  # whatever Keras, h5py and zipfile make of a damaged or foreign file
            raise KerasFileError(f"{path} cannot be loaded: {_line(error)}") from error


def as_served(model: keras.Model, rescale: str) -> keras.Model:
    """The graph that is served: rescaling inside, logits instead of probabilities, and the map where it can be had.

    Args:
        model: A float32 classifier of `(N, S, S, C)`; its last activation is taken off in place.
        rescale: A key of `RESCALE`.

    Returns:
        Model of `(N, S, S, C)`, 0 to 255, to `{"logits": (N, 7)}`, and `"activation_map": (N, h, w, 7)` where the
        network ends in global average pooling and one Dense layer.

    Raises:
        KerasFileError: It is no classifier of square pictures into seven labels.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise KerasFileError(f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one of each")
    given, got = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    if len(given) != 3 or given[0] is None or given[0] != given[1] or given[2] not in (1, 3):
        raise KerasFileError(f"its input is {given}; square pictures of one or three channels, the last, are served")
    if len(got) != 1:
        raise KerasFileError(f"it is no classifier: its output is {got}")
    if got[0] != len(LABELS):
        raise KerasFileError(f"it has {got[0]} outputs, but {len(LABELS)} labels")
    if rescale in ("caffe", "torch") and given[2] != 3:
        raise KerasFileError(f"{rescale} is for three channels; it has {given[2]}")
    image = keras.Input(given, name="image")
    pixels = RESCALE[rescale](image)
    return keras.Model(image, keras.Model(model.inputs, _outputs(model, keras.Model(image, pixels)))(pixels))


def _outputs(model: keras.Model, rescaled: keras.Model) -> dict[str, keras.KerasTensor]:
    last, before = _maker(model.outputs[0])
    softmax = keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and last.activation is softmax
    ):
        return {"logits": before}
    if isinstance(last, keras.layers.Dense) and len(last._inbound_nodes) == 1:  # or its other call would change too
        if last.activation is softmax:
            last.activation = keras.activations.linear
        if last.activation is keras.activations.linear:
            return {"logits": model.outputs[0], **_activation_map(last, before)}
    noise = np.random.default_rng(0).integers(0, 256, (8, *rescaled.input_shape[1:])).astype(np.float32)
    answers = np.asarray(model.predict_on_batch(rescaled.predict_on_batch(noise)))
    if not (np.all(answers >= 0) and np.allclose(answers.sum(axis=1), 1, atol=1e-3)):
        raise KerasFileError("it is no classifier of one label per picture: its outputs do not sum to 1")
    return {"logits": keras.ops.log(keras.ops.maximum(model.outputs[0], 1e-30))}


def _maker(tensor: keras.KerasTensor) -> tuple[keras.Operation, keras.KerasTensor]:
    """The layer or operation that made a tensor, and the first tensor it was made from.

    Not every step is a layer: `x + y` and `keras.ops.softmax(x)` are operations, which `Model.layers` leaves out.
    """
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors[0]


def _activation_map(last: keras.layers.Dense, pooled: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The Dense layer applied to every cell that the pooling averages (Zhou et al. 2016)."""
    operation, cells = _maker(pooled)
    while isinstance(operation, keras.layers.Dropout | keras.layers.Identity):
        operation, cells = _maker(cells)
    if not isinstance(operation, keras.layers.GlobalAveragePooling2D):
        return {}
    mapped = keras.layers.Conv2D(len(LABELS), 1, use_bias=last.use_bias, name="activation_map")
    activation_map = mapped(cells)
    kernel, *bias = last.get_weights()
    mapped.set_weights([kernel[None, None], *bias])
    return {"activation_map": activation_map}


def _line(error: BaseException) -> str:
    while error.__context__ is not None:  # Keras wraps the fault in its own words for every layer around it
        error = error.__context__
    text = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(text.partition("Full object config")[0].partition("config={")[0], 300, placeholder=" …")


def _checked_archive(path: Path, copy: Path) -> Path:
    """A copy of a .keras archive: its three parts alone, its description in the words of Keras 3."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if missing := [part for part in PARTS if part not in sizes]:
            raise KerasFileError(f"{path} is no .keras archive: it holds no {', '.join(missing)}")
        for part, limit in zip(PARTS, (MAX_CONFIG_BYTES, MAX_CONFIG_BYTES, MAX_WEIGHT_BYTES), strict=True):
            if sizes[part] > limit:
                raise KerasFileError(f"{path}: {part} claims {sizes[part]:,} bytes; {limit:,} are read")
        weights = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as file:
            _check_weights(path, file)
        config = in_keras_3(json.loads(archive.read("config.json")))
        with zipfile.ZipFile(copy, "w") as out:
            out.writestr("metadata.json", archive.read("metadata.json"))
            out.writestr("config.json", json.dumps(config))
            out.writestr("model.weights.h5", weights)
    return copy


def _checked_hdf5(path: Path, copy: Path) -> Path:
    """A copy of an HDF5 file of Keras: description, in the words of Keras 3, and weights, without an optimizer."""
    with h5py.File(path, "r") as file, h5py.File(copy, "w") as out:
        _check_weights(path, file)
        config = file.attrs.get("model_config")
        if config is None or "model_weights" not in file:
            raise KerasFileError(f"{path} holds weights alone, or is no file of Keras: save the whole model")
        if len(config) > MAX_CONFIG_BYTES:
            raise KerasFileError(f"{path}: its description is longer than {MAX_CONFIG_BYTES:,} bytes")
        out.attrs["model_config"] = json.dumps(in_keras_3(json.loads(config)))
        out.attrs.update({key: file.attrs[key] for key in ("backend", "keras_version") if key in file.attrs})
        file.copy("model_weights", out)
    return copy


def _check_weights(path: Path, file: h5py.File) -> None:
    """Nothing outside the file, and no more than the limit.

    Raises:
        KerasFileError: It reaches into other files, or claims too much.
    """
    total = 0

    def look(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            raise KerasFileError(f"{path}: {name} is a link into another file")

    def add(name: str, item: object) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise KerasFileError(f"{path}: {name} lies in another file")
            total += item.nbytes

    file.visititems_links(look)
    file.visititems(add)
    if total > MAX_WEIGHT_BYTES:
        raise KerasFileError(f"{path} claims {total:,} bytes of weights; {MAX_WEIGHT_BYTES:,} are read")


def in_keras_3(config: Any) -> Any:
    """A description in the words of Keras 3, whichever of Keras 2 and 3 wrote it.

    Keras 2 calls the input's shape `batch_input_shape`, names classes by where they are defined, lists the axis of a
    normalization, and counts the calls of a model inside a model from 1.
    """
    if isinstance(config, list):
        return [in_keras_3(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: in_keras_3(value) for key, value in config.items()}
    name, inner = config.get("class_name"), config.get("config")
    if name in ("Functional", "Model") and "module" in config:
        config |= {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
    if not isinstance(inner, dict):
        return config
    if name == "InputLayer" and "batch_input_shape" in inner:
        kept = {key: inner[key] for key in ("dtype", "name") if key in inner}
        config["config"] = {"batch_shape": inner["batch_input_shape"], **kept}
    if name == "BatchNormalization" and isinstance(inner.get("axis"), list):
        (inner["axis"],) = inner["axis"]
    members = [layer for layer in inner.get("layers") or () if isinstance(layer, dict)]
    if any(layer.get("class_name") == "InputLayer" for layer in members):  # then the first layer need not repeat it
        for layer in members:
            if isinstance(layer.get("config"), dict):
                layer["config"].pop("batch_input_shape", None)
    models = ("Functional", "Model", "Sequential")
    nested = [layer.get("name") for layer in members if layer.get("class_name") in models]
    for layer in members:
        for node in layer.get("inbound_nodes") or ():
            for call in node if isinstance(node, list) else ():  # Keras 3 writes a dict
                if isinstance(call, list) and len(call) > 2 and call[0] in nested and isinstance(call[1], int):
                    call[1] = max(0, call[1] - 1)
    return config


@contextlib.contextmanager
def _bounded_memory(more: int) -> Iterator[None]:
    """Let this process take `more` bytes on top of what it has and no more, where the system can hold it to that."""
    try:
        import resource

        in_use = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (in_use + more, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
