"""Keras config: converts Keras 2's description of a network to that of Keras 3."""

from __future__ import annotations

from typing import Any

MODELS = ("Functional", "Model", "Sequential")


def upgrade_config(config: Any) -> Any:
    """Convert a description by Keras 2 or 3 to one that Keras 3 reads.

    Keras 2 names the input's shape `batch_input_shape`, identifies classes by their module, lists the axis of a
    normalization, and counts the calls of nested models from 1.
    """
    if isinstance(config, list):
        return [upgrade_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: upgrade_config(value) for key, value in config.items()}
    name, inner = config.get("class_name"), config.get("config")
    if name in ("Functional", "Model") and "module" in config:
        config |= {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
    if isinstance(inner, dict):
        if name == "InputLayer" and "batch_input_shape" in inner:
            kept = {key: inner[key] for key in ("dtype", "name") if key in inner}
            config["config"] = {"batch_shape": inner["batch_input_shape"], **kept}
        if name == "BatchNormalization" and isinstance(inner.get("axis"), list):
            (inner["axis"],) = inner["axis"]
        layers = [layer for layer in inner.get("layers") or () if isinstance(layer, dict)]
        _drop_repeated_shapes(layers)
        _count_calls_from_0(layers)
    return config


def _drop_repeated_shapes(layers: list[dict[str, Any]]) -> None:
    """Remove the input's shape from other layers if there is an input layer."""
    if any(layer.get("class_name") == "InputLayer" for layer in layers):
        for layer in layers:
            if isinstance(layer.get("config"), dict):
                layer["config"].pop("batch_input_shape", None)


def _count_calls_from_0(layers: list[dict[str, Any]]) -> None:
    nested = [layer.get("name") for layer in layers if layer.get("class_name") in MODELS]
    nodes = (node for layer in layers for node in layer.get("inbound_nodes") or () if isinstance(node, list))
    for call in (call for node in nodes for call in node):  # a node is a dict in Keras 3
        if isinstance(call, list) and len(call) > 2 and call[0] in nested and isinstance(call[1], int):
            call[1] = max(0, call[1] - 1)
