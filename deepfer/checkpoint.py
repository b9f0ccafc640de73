"""Checkpoint: a folder with a served model and all that is needed to use it, local or on the Hugging Face Hub."""

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
from deepfer.hub import HUB_ID, pull
from deepfer.limits import MAX_CONFIG_BYTES, MAX_MODEL_BYTES

FORMAT_VERSION = 1
CONFIG = "config.json"
MODEL = "model.tflite"
METRICS = "metrics.json"
EMBEDDED = Path(__file__).parent / "checkpoints"
DEFAULT = "cnn"
DETECTOR = "detector"  # the kind of a face detector's folder, and the name of the embedded one
CONVERT = (
    "only LiteRT files are served, which run no code: a .keras or .h5 file of your own is converted with "
    "`python -m training.export --keras`"
)


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint folder.

    Attributes:
        folder: Where its files are.
        name: What was asked for: "cnn", a path, or "user/name".
        revision: The commit on the Hub that it came from; None for a local one.
        labels: The model's own order of the seven labels.
        input_size: Side of the square input, pixels.
        channels: 1 (gray) or 3.
        outputs: Our name of each output ("logits", and where there are any "fer2013_logits", "activation_map") to the
            model's own.
        temperature: What each logits output is divided by before softmax (Guo et al. 2017).
        geometry: How faces are cut out.
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
    """Find a checkpoint, fetch it where it is on the Hub, and check it.

    Args:
        source: None for the embedded default; the name of an embedded checkpoint; an existing folder; or "user/name" on
            the Hub.
        revision: A branch, tag or commit on the Hub.
        local_files_only: Take a Hub checkpoint from the cache, without any connection.

    Raises:
        ValueError: `source` is none of these, or has no revisions.
        CheckpointError: The folder is no checkpoint that this version can serve.
        HubError: The Hub, the repo or the revision cannot be reached.
    """
    name = DEFAULT if source is None else str(source)
    if revision is not None and (os.path.exists(name) or not HUB_ID.fullmatch(name)):
        raise ValueError(f"revision {revision!r}: models on the Hub alone have one, and {name!r} is not there")
    embedded = [folder.name for folder in embedded_models()]
    if name in embedded:
        return read(EMBEDDED / name, name)
    if name == DETECTOR and not os.path.exists(name):
        raise ValueError(f"{name!r} is the face detector, not a model of emotions: give it as the detector")
    if os.path.exists(name):  # which says no, and no more, to what can be no path
        return read(Path(name), name)
    if HUB_ID.fullmatch(name):
        folder, commit = pull(name, [CONFIG, MODEL], revision, local_files_only, advice=CONVERT)
        try:
            return read(folder, name, commit)
        except _OtherFileError:  # damaged on the way or in the cache: a second copy tells it from a faulty repo
            if local_files_only:
                raise
            folder, commit = pull(name, [CONFIG, MODEL], commit, anew=True)
            return read(folder, name, commit)
    raise ValueError(
        f"no model {name!r}: give {' or '.join(map(repr, embedded)) or 'an embedded name'}, "
        "an existing checkpoint folder, or 'user/name' on the Hugging Face Hub"
    )


def embedded_models() -> list[Path]:
    """The folders of the embedded models of emotions, by name; the face detector beside them is not one."""
    return sorted(path.parent for path in EMBEDDED.glob(f"*/{CONFIG}") if path.parent.name != DETECTOR)


class _OtherFileError(CheckpointError):
    """A file is not the one that was written: its sha256 differs."""


def read(folder: Path, name: str | None = None, revision: str | None = None) -> Checkpoint:
    """Read and check a checkpoint folder.

    Raises:
        CheckpointError: A file or field is missing, damaged or out of range; the line says which.
    """
    config = read_config(folder)

    def fail(what: str) -> CheckpointError:
        return CheckpointError(f"{folder / CONFIG}: {what if len(what) < 400 else what[:399] + '…'}")

    if config.get("kind") == DETECTOR:
        raise fail("this is a face detector, not a model of emotions: give it as the detector")
    version = config.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:  # before the fields, any of which another format may lack
        raise fail(f"format_version {version!r}, but this version reads {FORMAT_VERSION}: update deepfer")
    try:
        _, size, channels = config["format_version"], config["input"]["size"], config["input"]["channels"]
        labels, outputs, temperature = tuple(config["labels"]), dict(config["outputs"]), dict(config["temperature"])
        crop, hashes = config["crop"], dict(config["sha256"])
        changed = CONFIG in hashes and hashes[CONFIG] != config_sha256(config)
        template = tuple((float(x), float(y)) for x, y in crop["template"])
        x, y = crop["center"]
        geometry = CropGeometry(template, float(crop["margin"]), (float(x), float(y)))
    except KeyError as error:
        raise fail(f"the field {error} is missing") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise fail(f"a field has another form than it should: {error}") from error
    if sorted(map(str, labels)) != sorted(LABELS):
        raise fail(f"labels {list(labels)} are not the seven of {list(LABELS)}")
    if not (type(size) is type(channels) is int and 8 <= size <= 1024 and channels in (1, 3)):
        raise fail(f"input of {size!r} pixels and {channels!r} channels; 8 to 1024 and 1 or 3 are served")
    if not all(isinstance(own_name, str) and len(own_name) <= 200 for own_name in outputs.values()):
        raise fail("outputs name each of ours by one of the model's own")
    if "logits" not in outputs or set(temperature) != {key for key in outputs if key.endswith("logits")}:
        raise fail("outputs need 'logits', and each logits output a temperature")
    # Past these bounds, which no honest one comes near, probabilities and places would overflow.
    if not all(isinstance(t, int | float) and 1e-3 < t < 1e6 for t in temperature.values()):
        raise fail("a temperature is not a positive number, or one out of all proportion")
    if len(geometry.template) != 5 or not 0.1 < geometry.margin < 10:
        raise fail("crop needs a template of 5 points, and a margin from 0.1 to 10")
    if not all(abs(x) <= 10 for point in (*geometry.template, geometry.center) for x in point):
        raise fail("a place in crop is far from it, or not a number")
    if max(math.dist(point, geometry.template[0]) for point in geometry.template) < 0.05:
        raise fail("the template's points lie in one place")
    if changed:
        raise _OtherFileError(
            f"{folder / CONFIG} was changed after it was written: its sha256 differs; fetch or export it again (if you "
            f"changed it on purpose, remove {CONFIG!r} from the hashes in it)"
        )
    if not (folder / MODEL).is_file():
        raise CheckpointError(f"{folder} holds no {MODEL}; {CONVERT}")
    if (folder / MODEL).stat().st_size > MAX_MODEL_BYTES:
        raise CheckpointError(f"{folder / MODEL} is larger than {MAX_MODEL_BYTES / 1e6:g} MB")
    if sha256(folder / MODEL) != hashes.get(MODEL):
        raise _OtherFileError(
            f"{folder / MODEL} is not the file that {CONFIG} names: its sha256 differs; fetch or export it again, "
            "and if that does not help, tell who made it"
        )
    return Checkpoint(
        folder, name or str(folder), revision, labels, size, channels, outputs, temperature, geometry
    )  # fmt: skip


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint folder's `config.json` as it is.

    Raises:
        CheckpointError: It is not there, or no JSON object.
    """
    try:
        return _read_object(folder / CONFIG)
    except OSError as error:
        raise CheckpointError(
            f"{folder} is no checkpoint folder: {CONFIG} cannot be read ({error.strerror})"
        ) from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """A checkpoint folder's `metrics.json` as it is, where it is of the model file that `config.json` names.

    Raises:
        CheckpointError: It is not there, no JSON object, or of another model file.
    """
    try:
        metrics = _read_object(folder / METRICS)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} holds no {METRICS}: measure it with training.evaluate --out {folder}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{folder / METRICS} cannot be read: {error.strerror}") from error
    hashes = read_config(folder).get("sha256")
    if not isinstance(hashes, dict) or metrics.get("model_sha256") != hashes.get(MODEL):
        raise CheckpointError(f"{folder / METRICS} is of another model file: measure this one with training.evaluate")
    return metrics


def measured(checkpoint: Checkpoint) -> dict[str, Any]:
    """What was measured of a checkpoint, as `read_metrics` has it; of one on the Hub it is fetched.

    Raises:
        CheckpointError: As `read_metrics`.
        HubError: It holds none, or they cannot be fetched.
    """
    if checkpoint.revision:
        return read_metrics(pull(checkpoint.name, [METRICS], checkpoint.revision)[0])
    return read_metrics(checkpoint.folder)


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        OSError: It cannot be read.
        CheckpointError: It is no JSON object, or larger than one of ours would be.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_CONFIG_BYTES // 1000} kB: none of ours")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return found


def encode_config(config: Mapping[str, Any]) -> bytes:
    """The content of a new `config.json`: the config and, among its hashes, one of itself, which `read` checks.

    So a label order or a temperature that somebody changes later does not pass unnoticed. The hash does not protect
    from a deliberate forgery, as anyone can compute a new one; a pinned commit on the Hub does.

    Args:
        config: All fields, with the sha256 of each model file in `config["sha256"]`.
    """
    hashes = {**config["sha256"], CONFIG: config_sha256(config)}
    return (json.dumps({**config, "sha256": hashes}, indent=2) + "\n").encode()


def config_sha256(config: Mapping[str, Any]) -> str:
    """The sha256 of a config's content without its own hash; the order of keys and the white space do not matter."""
    hashes = {name: value for name, value in config["sha256"].items() if name != CONFIG}
    return hashlib.sha256(json.dumps({**config, "sha256": hashes}, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
