"""Keras file: a user's `.keras` or `.h5` classifier of Keras 2 or 3, loaded without executing code from the file.

The format is recognized by content, not by name. Only the network's description and its weights are read, and both are
checked against limits before Keras sees them.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from deepfer.face import LABELS
from deepfer.resources import limit_memory
from training.convert.keras_config import upgrade_config
from training.exceptions import KerasFileError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

MAX_DESCRIPTION_BYTES = 20_000_000  # the largest in keras.applications has 0.6 MB
MAX_WEIGHT_BYTES = 2_000_000_000  # including the optimizer's state; VGG16 with Adam has 1.6 GB
MAX_LOADING_BYTES = 6_000_000_000  # memory while Keras builds the network
# How pixels of 0 to 255 are scaled for the network. In keras.applications, VGG16 and ResNet50 use "caffe"; DenseNet
# uses "torch".
RESCALE: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "0-1": lambda pixels: keras.layers.Rescaling(1 / 255)(pixels),
    "-1-1": lambda pixels: keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels),
    "none": lambda pixels: pixels,
    "caffe": lambda pixels: keras.applications.imagenet_utils.preprocess_input(pixels, mode="caffe"),
    "torch": lambda pixels: keras.applications.imagenet_utils.preprocess_input(pixels, mode="torch"),
}
PARTS = ("metadata.json", "config.json", "model.weights.h5")  # of a .keras archive


def load(path: Path) -> keras.Model:
    """Load the network in a file, without its optimizer.

    Raises:
        KerasFileError: The file is not a Keras file, exceeds a limit, or needs custom code.
        OSError: The file cannot be read, or its checked copy cannot be written.
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
            unlimit = limit_memory(MAX_LOADING_BYTES)
            try:
                return keras.models.load_model(checked, compile=False, safe_mode=True)
            finally:
                unlimit()
        except (KerasFileError, ImportError):
            raise
        except MemoryError as error:
            raise KerasFileError(f"{path} needs more than {MAX_LOADING_BYTES // 10**9} GB of memory") from error
        except Exception as error:  # Keras, h5py and zipfile raise anything for a damaged file
            raise KerasFileError(f"{path} cannot be loaded: {_root_cause(error)}") from error


def as_served(model: keras.Model, rescale: str) -> keras.Model:
    """Build the graph that is served: rescaling, logits instead of probabilities, and an activation map if possible.

    Args:
        model: A float32 classifier of `(N, S, S, C)`; its last activation is removed in place.
        rescale: A key of `RESCALE`.

    Returns:
        Model that maps `(N, S, S, C)`, 0 to 255, to `{"logits": (N, 7)}`, and to `"activation_map": (N, h, w, 7)` if
        the network ends in global average pooling and one Dense layer.

    Raises:
        KerasFileError: The model does not classify square images into seven labels.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise KerasFileError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one of each"
        )
    given, got = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    if len(given) != 3 or given[0] is None or given[0] != given[1] or given[2] not in (1, 3):
        raise KerasFileError(f"the model's input is {given}; it must be square, with one or three channels last")
    if len(got) != 1:
        raise KerasFileError(f"the model is not a classifier: its output is {got}")
    if got[0] != len(LABELS):
        raise KerasFileError(f"the model has {got[0]} outputs, but there are {len(LABELS)} labels")
    if rescale in ("caffe", "torch") and given[2] != 3:
        raise KerasFileError(f"{rescale} needs three channels; the model has {given[2]}")
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
    # A layer that is called more than once must not be changed: its other calls would change, too.
    if isinstance(last, keras.layers.Dense) and len(last._inbound_nodes) == 1:
        if last.activation is softmax:
            last.activation = keras.activations.linear
        if last.activation is keras.activations.linear:
            return {"logits": model.outputs[0], **_activation_map(last, before)}
    noise = np.random.default_rng(0).integers(0, 256, (8, *rescaled.input_shape[1:])).astype(np.float32)
    answers = np.asarray(model.predict_on_batch(rescaled.predict_on_batch(noise)))
    if not (np.all(answers >= 0) and np.allclose(answers.sum(axis=1), 1, atol=1e-3)):
        raise KerasFileError("the model does not give one label per image: its outputs do not sum to 1")
    return {"logits": keras.ops.log(keras.ops.maximum(model.outputs[0], 1e-30))}


def _maker(tensor: keras.KerasTensor) -> tuple[keras.Operation, keras.KerasTensor]:
    """Return the layer or operation that made a tensor, and its first input.

    `Model.layers` leaves out operations such as `x + y` and `keras.ops.softmax(x)`.
    """
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors[0]


def _activation_map(last: keras.layers.Dense, pooled: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """Apply the Dense layer to every cell that the pooling averages (Zhou et al. 2016)."""
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


def _root_cause(error: BaseException) -> str:
    while error.__context__ is not None:  # Keras wraps the cause once per enclosing layer
        error = error.__context__
    text = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(text.partition("Full object config")[0].partition("config={")[0], 300, placeholder=" …")


def _checked_archive(path: Path, copy: Path) -> Path:
    """Copy the three parts of a .keras archive, with the description upgraded to Keras 3."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if missing := [part for part in PARTS if part not in sizes]:
            raise KerasFileError(f"{path} is not a .keras archive: it lacks {', '.join(missing)}")
        for part, limit in zip(PARTS, (MAX_DESCRIPTION_BYTES, MAX_DESCRIPTION_BYTES, MAX_WEIGHT_BYTES), strict=True):
            if sizes[part] > limit:
                raise KerasFileError(f"{path}: {part} claims {sizes[part]:,} bytes; the limit is {limit:,}")
        weights = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as file:
            _check_weights(path, file)
        config = upgrade_config(json.loads(archive.read("config.json")))
        with zipfile.ZipFile(copy, "w") as out:
            out.writestr("metadata.json", archive.read("metadata.json"))
            out.writestr("config.json", json.dumps(config))
            out.writestr("model.weights.h5", weights)
    return copy


def _checked_hdf5(path: Path, copy: Path) -> Path:
    """Copy the description, upgraded to Keras 3, and the weights of an HDF5 file, without the optimizer."""
    with h5py.File(path, "r") as file, h5py.File(copy, "w") as out:
        _check_weights(path, file)
        config = file.attrs.get("model_config")
        if config is None or "model_weights" not in file:
            raise KerasFileError(f"{path} contains only weights, or is not a Keras file: save the whole model")
        if len(config) > MAX_DESCRIPTION_BYTES:
            raise KerasFileError(f"{path}: the description is longer than {MAX_DESCRIPTION_BYTES:,} bytes")
        out.attrs["model_config"] = json.dumps(upgrade_config(json.loads(config)))
        out.attrs.update({key: file.attrs[key] for key in ("backend", "keras_version") if key in file.attrs})
        file.copy("model_weights", out)
    return copy


def _check_weights(path: Path, file: h5py.File) -> None:
    """Check that the weights are in this file and within the limit.

    Raises:
        KerasFileError: The file refers to other files, or claims too many bytes.
    """
    total = 0

    def check_link(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            raise KerasFileError(f"{path}: {name} is a link into another file")

    def add(name: str, item: object) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise KerasFileError(f"{path}: {name} is stored in another file")
            total += item.nbytes

    file.visititems_links(check_link)
    file.visititems(add)
    if total > MAX_WEIGHT_BYTES:
        raise KerasFileError(f"{path} claims {total:,} bytes of weights; the limit is {MAX_WEIGHT_BYTES:,}")
