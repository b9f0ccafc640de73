"""Checkpoint: a folder with a model and everything needed to use it, local or on the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfer.alignment import CropGeometry
from deepfer.errors import CheckpointError
from deepfer.face import LABELS
from deepfer.hub import HUB_ID, download
from deepfer.limits import MAX_CONFIG_BYTES, MAX_MODEL_BYTES

FORMAT_VERSION = 1
CONFIG = "config.json"
MODEL = "model.tflite"
METRICS = "metrics.json"
EMBEDDED = Path(__file__).parent / "checkpoints"
DEFAULT = "cnn"
DETECTOR = "detector"  # the kind of a face detector's folder, and the name of the embedded one
CONVERT = (
    "only LiteRT files are served, because they run no code: convert your own .keras or .h5 file with "
    "`python -m training.export --keras`"
)


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint folder.

    Attributes:
        folder: The folder.
        name: What was requested: "cnn", a path, or "user/name".
        revision: The commit on the Hub; None for a local folder.
        labels: The model's own order of the seven labels.
        input_size: Side of the square input, pixels.
        channels: 1 (gray) or 3.
        outputs: Maps our name of each output ("logits", perhaps "fer2013_logits", "activation_map") to the model's own.
        temperature: The divisor of each logits output before softmax (Guo et al. 2017).
        geometry: How faces are cropped.
    """

    folder: Path
    name: str
    revision: str | None
    labels: tuple[str, ...]
    input_size: int
    channels: int
    outputs: Mapping[str, str]
    temperature: Mapping[str, float]
    geometry: CropGeometry

    @property
    def model_file(self) -> Path:
        """The LiteRT file."""
        return self.folder / MODEL


def resolve(source: str | Path | None, revision: str | None = None, local_files_only: bool = False) -> Checkpoint:
    """Find a checkpoint, download it if it is on the Hub, and check it.

    Args:
        source: None for the embedded default; the name of an embedded checkpoint; an existing folder; or "user/name" on
            the Hub.
        revision: A branch, tag or commit on the Hub.
        local_files_only: Use a cached Hub checkpoint without opening a connection.

    Raises:
        ValueError: `source` is none of these, or there is a `revision` but `source` is not on the Hub.
        CheckpointError: The folder is not a checkpoint that this version can serve.
        HubError: The Hub, the repo or the revision cannot be reached.
    """
    name = DEFAULT if source is None else str(source)
    if revision is not None and (os.path.exists(name) or not HUB_ID.fullmatch(name)):
        raise ValueError(f"revision {revision!r}: only models on the Hub have revisions, and {name!r} is not one")
    embedded = [folder.name for folder in embedded_models()]
    if name in embedded:
        return read(EMBEDDED / name, name)
    if name == DETECTOR and not os.path.exists(name):
        raise ValueError(f"{name!r} is the face detector, not an emotion model: pass it as the detector")
    if os.path.exists(name):  # False, not an error, for an impossible path
        return read(Path(name), name)
    if HUB_ID.fullmatch(name):
        folder, commit = download(name, [CONFIG, MODEL], revision, local_files_only, advice=CONVERT)
        try:
            return read(folder, name, commit)
        except _HashError:  # damaged in transit or in the cache, unless a second download is the same
            if local_files_only:
                raise
            folder, commit = download(name, [CONFIG, MODEL], commit, force=True)
            return read(folder, name, commit)
    raise ValueError(
        f"no model {name!r}: pass {' or '.join(map(repr, embedded)) or 'an embedded name'}, "
        "an existing checkpoint folder, or 'user/name' on the Hugging Face Hub"
    )


def embedded_models() -> list[Path]:
    """The folders of the embedded emotion models, sorted by name; the face detector is not one."""
    return sorted(path.parent for path in EMBEDDED.glob(f"*/{CONFIG}") if path.parent.name != DETECTOR)


class _HashError(CheckpointError):
    """A file is not the one that was written: its sha256 differs."""


class _FieldError(ValueError):
    """A field of `config.json` is missing or invalid."""


def read(folder: Path, name: str | None = None, revision: str | None = None) -> Checkpoint:
    """Read and check a checkpoint folder.

    Raises:
        CheckpointError: A file or field is missing, damaged or out of range; the message says which.
    """
    config = read_config(folder)
    try:
        checkpoint = _parse(config, folder, name or str(folder), revision)
        _check_outputs(checkpoint)
        _check_geometry(checkpoint.geometry)
        changed = CONFIG in config["sha256"] and config["sha256"][CONFIG] != config_sha256(config)
    except (_FieldError, RecursionError) as error:
        message = str(error)
        raise CheckpointError(f"{folder / CONFIG}: {message if len(message) < 400 else message[:399] + '…'}") from error
    _check_files(folder, config["sha256"], changed)
    return checkpoint


def _parse(config: dict[str, Any], folder: Path, name: str, revision: str | None) -> Checkpoint:
    if config.get("kind") == DETECTOR:
        raise _FieldError("this is a face detector, not an emotion model: pass it as the detector")
    version = config.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:  # first, because another format may lack any of the fields
        raise _FieldError(f"format_version {version!r}, but this version reads {FORMAT_VERSION}: update deepfer")
    try:
        config["format_version"], config["sha256"].items()
        crop = config["crop"]
        center_x, center_y = crop["center"]
        template = tuple((float(x), float(y)) for x, y in crop["template"])
        geometry = CropGeometry(template, float(crop["margin"]), (float(center_x), float(center_y)))
        return Checkpoint(
            folder,
            name,
            revision,
            tuple(config["labels"]),
            config["input"]["size"],
            config["input"]["channels"],
            dict(config["outputs"]),
            dict(config["temperature"]),
            geometry,
        )
    except KeyError as error:
        raise _FieldError(f"the field {error} is missing") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _FieldError(f"a field has the wrong type: {error}") from error


def _check_outputs(checkpoint: Checkpoint) -> None:
    labels, size, channels = checkpoint.labels, checkpoint.input_size, checkpoint.channels
    if sorted(map(str, labels)) != sorted(LABELS):
        raise _FieldError(f"the labels are {list(labels)} instead of {list(LABELS)}")
    if not (type(size) is type(channels) is int and 8 <= size <= 1024 and channels in (1, 3)):
        raise _FieldError(
            f"the input has {size!r} pixels and {channels!r} channels; it must be 8 to 1024 pixels and 1 or 3 channels"
        )
    if not all(isinstance(own_name, str) and len(own_name) <= 200 for own_name in checkpoint.outputs.values()):
        raise _FieldError("outputs must map our names to the model's")
    if "logits" not in checkpoint.outputs:
        raise _FieldError("outputs must contain 'logits'")
    if set(checkpoint.temperature) != {key for key in checkpoint.outputs if key.endswith("logits")}:
        raise _FieldError("each logits output needs a temperature")
    # Beyond these bounds, which are far from any real value, probabilities would overflow.
    if not all(isinstance(t, int | float) and 1e-3 < t < 1e6 for t in checkpoint.temperature.values()):
        raise _FieldError("a temperature is not a number between 0.001 and 1,000,000")


def _check_geometry(geometry: CropGeometry) -> None:
    if len(geometry.template) != 5 or not 0.1 < geometry.margin < 10:
        raise _FieldError("crop needs a template of 5 points and a margin between 0.1 and 10")
    if not all(abs(x) <= 10 for point in (*geometry.template, geometry.center) for x in point):
        raise _FieldError("a point in crop is not a number from -10 to 10")
    if max(math.dist(point, geometry.template[0]) for point in geometry.template) < 0.05:
        raise _FieldError("the points of the template coincide")


def _check_files(folder: Path, hashes: dict[str, Any], changed: bool) -> None:
    if changed:
        raise _HashError(
            f"{folder / CONFIG} was changed after it was written: its sha256 differs; fetch or export it again (if you "
            f"changed it on purpose, remove {CONFIG!r} from the hashes in it)"
        )
    if not (folder / MODEL).is_file():
        raise CheckpointError(f"{folder} contains no {MODEL}; {CONVERT}")
    if (folder / MODEL).stat().st_size > MAX_MODEL_BYTES:
        raise CheckpointError(f"{folder / MODEL} is larger than {MAX_MODEL_BYTES / 1e6:g} MB")
    if sha256(folder / MODEL) != hashes.get(MODEL):
        raise _HashError(
            f"{folder / MODEL} is not the file that {CONFIG} names: its sha256 differs; fetch or export it again, "
            "and if that does not help, tell its author"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint folder's `config.json`.

    Raises:
        CheckpointError: It is missing or not a JSON object.
    """
    try:
        return _read_object(folder / CONFIG)
    except OSError as error:
        raise CheckpointError(
            f"{folder} is not a checkpoint folder: {CONFIG} cannot be read ({error.strerror})"
        ) from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint folder's `metrics.json`.

    Raises:
        CheckpointError: It is missing, not a JSON object, or was measured with another model file.
    """
    try:
        metrics = _read_object(folder / METRICS)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} contains no {METRICS}: create it with training.evaluate --out {folder}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{folder / METRICS} cannot be read: {error.strerror}") from error
    hashes = read_config(folder).get("sha256")
    if not isinstance(hashes, dict) or metrics.get("model_sha256") != hashes.get(MODEL):
        raise CheckpointError(f"{folder / METRICS} is for another model file: measure this one with training.evaluate")
    return metrics


def measured(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metrics of a checkpoint, downloaded if it is on the Hub.

    Raises:
        CheckpointError: As for `read_metrics`.
        HubError: The repo contains no metrics, or cannot be reached.
    """
    if checkpoint.revision:
        return read_metrics(download(checkpoint.name, [METRICS], checkpoint.revision)[0])
    return read_metrics(checkpoint.folder)


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        OSError: It cannot be read.
        CheckpointError: It is not a JSON object, or too large.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_CONFIG_BYTES // 1000} kB")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return content


def encode_config(config: Mapping[str, Any]) -> bytes:
    """The content of a new `config.json`, with a hash of the config itself, which `read` checks.

    The hash detects accidental changes, to the label order for example. It does not detect a forgery, because anyone
    can compute a new hash; a pinned commit on the Hub does.

    Args:
        config: All fields, with the sha256 of each model file in `config["sha256"]`.
    """
    hashes = {**config["sha256"], CONFIG: config_sha256(config)}
    return (json.dumps({**config, "sha256": hashes}, indent=2) + "\n").encode()


def config_sha256(config: Mapping[str, Any]) -> str:
    """The sha256 of a config without its own hash, independent of key order and white space."""
    hashes = {name: value for name, value in config["sha256"].items() if name != CONFIG}
    return hashlib.sha256(json.dumps({**config, "sha256": hashes}, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
