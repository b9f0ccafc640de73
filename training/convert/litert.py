"""LiteRT: converts a Keras model to the file that is served."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import tempfile
from typing import Any

import keras
import numpy as np

from deepfer.face import LABELS
from training.exceptions import KerasFileError
from training.model.models import FEATURES, HEADS


def as_float32(model: keras.Model) -> keras.Model:
    """Copy a network and its weights, with every layer in float32 and without augmentation layers."""
    keras.mixed_precision.set_global_policy("float32")

    def copied(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.Layer):  # an operation such as x + y, which has no weights
            casts_to_half = getattr(layer, "dtype", None) in ("float16", "bfloat16")
            return layer.from_config({**layer.get_config(), "dtype": "float32"}) if casts_to_half else layer
        if type(layer).__name__.startswith("Random"):  # in an exported file, it would rotate and shift every face
            return keras.layers.Identity(name=layer.name)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def predict_logits(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every output for uint8 `(N, S, S)` images; a colour model gets the gray image in all three channels."""
    repeat = (1, 1, 1, model.input_shape[3])
    parts = [
        model.predict_on_batch(np.tile(images[start : start + 128, ..., None], repeat).astype(np.float32))
        for start in range(0, len(images), 128)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def served_model(model: keras.Model, share: float) -> keras.Model:
    """Build the graph that is served: both heads folded into one Dense layer, and the activation map.

    The geometric blend of two softmaxes is the softmax of the weighted sum of their logits, so it costs nothing.

    Args:
        model: A float32 model of `training.model.models`.
        share: Weight of the FER2013 head, 0 to 1; the FER+ head has the rest.

    Returns:
        Model that maps `(N, S, S, 1)` to `{"logits", "fer2013_logits": (N, 7), "activation_map": (N, h, w, 7)}`.
    """
    weights = {head: model.get_layer(head).get_weights() for head in HEADS}
    kernel, bias = (
        share * fer2013 + (1 - share) * ferplus
        for fer2013, ferplus in zip(weights["fer2013"], weights["ferplus"], strict=True)
    )
    features = model.get_layer(FEATURES).output
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
    logits = keras.layers.Dense(len(LABELS), name="logits")
    fer2013 = keras.layers.Dense(len(LABELS), name="fer2013_logits")
    mapped = keras.layers.Conv2D(len(LABELS), 1, name="activation_map")
    served = keras.Model(
        model.inputs,
        {"logits": logits(pooled), "fer2013_logits": fer2013(pooled), "activation_map": mapped(features)},
    )
    logits.set_weights([kernel, bias])
    fer2013.set_weights(weights["fer2013"])
    mapped.set_weights([kernel[None, None], bias])
    return served


def to_litert(model: keras.Model, quantize: bool) -> bytes:
    """Convert to a LiteRT file. With `quantize`, weights are int8 and activations are quantized on the fly.

    The first convolution stays float32: it is small, and its errors affect everything after it. This halves the number
    of ResNet50V2's labels that int8 changes.

    Raises:
        KerasFileError: LiteRT does not support an operation of the model.
        OSError: There is no disk space for TensorFlow's temporary copy.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    temporary, needed = tempfile.gettempdir(), 3 * 4 * model.count_params() + 10_000_000
    if shutil.disk_usage(temporary).free < needed:  # TensorFlow would raise an unrelated error
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed / 1e6:.0f} MB are needed", temporary)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    tf.get_logger().setLevel("ERROR")
    with contextlib.redirect_stdout(io.StringIO()):  # Keras announces the temporary copy
        try:
            whole = bytes(converter.convert())
        except ConverterError as error:
            unsupported = re.search(r"(?:TF Select|Custom) ops: (.+)", str(error))
            reason = f"LiteRT does not support {unsupported[1]}" if unsupported else " ".join(str(error).split())[:300]
            raise KerasFileError(f"the network cannot be converted: {reason}") from error
        if not quantize:
            return whole
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return _with_float_first_convolution(converter.convert(), whole)


def _with_float_first_convolution(quantized: bytes, whole: bytes) -> bytes:
    """Replace the int8 weights of the first convolution by those of the float32 file."""
    from tensorflow.lite.python.schema_py_generated import TensorType
    from tensorflow.lite.tools import flatbuffer_utils

    small, large = (flatbuffer_utils.read_model_from_bytearray(bytearray(file)) for file in (quantized, whole))
    first = _first_convolution_weights(small)
    if first is not None and first.type == TensorType.INT8:
        small.buffers[first.buffer].data = large.buffers[_first_convolution_weights(large).buffer].data
        first.type, first.quantization = TensorType.FLOAT32, None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(small))


def _first_convolution_weights(file: Any) -> Any:
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    graph = file.subgraphs[0]
    for operator in graph.operators:
        if file.operatorCodes[operator.opcodeIndex].builtinCode == BuiltinOperator.CONV_2D:
            return graph.tensors[operator.inputs[1]]
    return None
