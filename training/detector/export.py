"""Export: writes a trained detector as a checkpoint folder for `deepfer`, after a parity check against Keras."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np

from deepfer.checkpoint import CONFIG, DETECTOR, FORMAT_VERSION, MODEL, encode_config, sha256
from deepfer.detection import load_detector
from deepfer.detector_network import decode
from deepfer.grid_network import GridNetwork
from training.detector.recorded import record
from training.exceptions import ParityError

MAX_DIFFERENCE = 0.05  # in any number of a grid, between Keras and the exported file, whose weights are float16
EXPORT_SIDE = 64  # pixels; the file takes any multiple of 32


class Enlarge(keras.layers.Layer):
    """Repeats each cell 2 x 2 with operations that leave the exported file's input size free."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        import tensorflow as tf

        return tf.nn.depth_to_space(tf.concat([inputs] * 4, axis=-1), 2)


def to_litert(detector: keras.Model) -> bytes:
    """Convert to a LiteRT file of any input size, with float16 weights and float32 arithmetic."""
    import tensorflow as tf

    def exported(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.UpSampling2D):
            return Enlarge(name=layer.name, dtype="float32")
        config = layer.get_config()
        if isinstance(layer, keras.layers.InputLayer):
            config["batch_shape"] = (1, EXPORT_SIDE, EXPORT_SIDE, 3)
        return layer.__class__.from_config({**config, "dtype": "float32"})

    fixed = keras.models.clone_model(detector, clone_function=exported)
    fixed.set_weights(detector.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    tf.get_logger().setLevel("ERROR")
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the path of its temporary copy
        return bytes(converter.convert())


def write(
    detector: keras.Model,
    folder: Path,
    images: Sequence[np.ndarray],
    about: dict[str, Any],
    recorded: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> float:
    """Write a detector's `model.tflite` and `config.json`, after checking that the file's output is the model's.

    Args:
        detector: A model of `training.detector.network`.
        folder: The folder to write to.
        images: RGB uint8 `(H, W, 3)`, used for the comparison.
        about: Further fields of `config.json`; must include `thresholds`.
        recorded: Photos by name; the number of faces found in each is recorded in `config.json`.

    Returns:
        The largest difference of any number in any grid.

    Raises:
        ParityError: The file's output differs too much.
        OSError: The folder cannot be written.
    """
    content = to_litert(detector)
    network = GridNetwork(content, decode)
    apart = max(_difference(detector, network, image) for image in images)
    if apart > MAX_DIFFERENCE:
        raise ParityError(
            f"the exported detector differs from Keras by {apart:.3f}; at most {MAX_DIFFERENCE} is allowed"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content)
    config = {
        "format_version": FORMAT_VERSION,
        "kind": DETECTOR,
        **about,
        "parameters": detector.count_params(),
        "parity": {"images": len(images), "largest_difference": round(apart, 4)},
        "sha256": {MODEL: sha256(folder / MODEL)},
    }
    (folder / CONFIG).write_bytes(encode_config(config))
    found = record(load_detector(folder), recorded or {})
    (folder / CONFIG).write_bytes(encode_config({**config, "recorded": found}))
    return apart


def _difference(detector: keras.Model, network: GridNetwork, image: np.ndarray) -> float:
    height, width = (side // 32 * 32 for side in image.shape[:2])
    part = image[:height, :width]
    expected = [np.asarray(grid)[0] for grid in detector.predict_on_batch(part[None].astype(np.float32))]
    return max(float(np.abs(a - b).max()) for a, b in zip(network.grids(part), expected, strict=True))
