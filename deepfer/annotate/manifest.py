"""The manifest records what made the shards in a folder, so that a later run cannot mix in others."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepfer
from deepfer.annotate.errors import AnnotationError, OutputLockedError
from deepfer.annotate.job import Job
from deepfer.annotate.shards import FOLDER, shard_path
from deepfer.annotate.source import public_name
from deepfer.atomic import atomic_write
from deepfer.file_lock import try_lock
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import COLUMNS

MANIFEST, CARD, LOCK = "manifest.json", "README.md", ".lock"
FORMAT_VERSION = 1
SHARD = re.compile(r"train-\d{5,}\.parquet")
PART = re.compile(r"\.[0-9a-f]{16}\.part\.parquet")  # left by a killed run

# What must not differ between runs: the keys in the manifest, and the words for it in the message.
FIXED = {
    ("format_version",): "format",
    ("deepfer",): "deepfer version",
    ("kind",): "kind of source",
    ("length",): "number of inputs",
    ("fingerprint",): "source",
    ("chunk",): "chunk size",
    ("model", "name"): "model",
    ("model", "revision"): "model revision",
    ("model", "sha256"): "model file",
    ("detector", "name"): "detector",
    ("detector", "sha256"): "detector file",
    ("columns",): "set of columns",
}


def manifest_of(job: Job, source: str, recognizer: EmotionRecognizer) -> dict[str, Any]:
    """The manifest of a job.

    Args:
        job: The job.
        source: The source's name.
        recognizer: The job's recognizer.
    """
    model_sha256, detector_sha256 = job.digests
    return {
        "format_version": FORMAT_VERSION,
        "deepfer": deepfer.__version__,
        "source": public_name(source),
        "kind": job.source.kind,
        "length": len(job.source),
        "fingerprint": job.source.fingerprint,
        "chunk": job.chunk,
        "model": {"name": recognizer.model_name, "revision": recognizer.revision, "sha256": model_sha256},
        "detector": {"name": recognizer.detector_name, "sha256": detector_sha256},
        "columns": list(COLUMNS),
    }


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Create the folder of the results if it does not exist, and keep other processes out of it.

    Raises:
        OutputLockedError: Another process is using it.
        OSError: It cannot be created.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "ab") as file:
        if not try_lock(file):
            raise OutputLockedError(f"another process is writing to {out}")
        yield


def open_folder(out: Path, manifest: Mapping[str, Any], resume: bool) -> None:
    """Prepare a locked folder for a run: check or remove what it holds, and write the manifest.

    Raises:
        AnnotationError: It holds shards of another job, or Parquet files that are not ours.
        OSError: It cannot be read or written.
    """
    data = out / FOLDER
    old = read_manifest(out)
    if old is None and data.is_dir() and (other := next(data.glob("*.parquet"), None)):
        raise AnnotationError(f"{other} is not from a run of deepfer.annotate: choose another folder")
    if old is not None and resume:
        _check_same(out, old, manifest)
    elif old is not None:
        for number in range(math.ceil(old["length"] / old["chunk"])):
            shard_path(out, number).unlink(missing_ok=True)
        for name in (CARD, MANIFEST):
            (out / name).unlink(missing_ok=True)
    if data.is_dir():
        for path in data.iterdir():
            if PART.fullmatch(path.name):
                path.unlink()
    if old is None or not resume:
        with atomic_write(out / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest in a folder, or None if there is none.

    Raises:
        AnnotationError: The file is not a manifest.
        OSError: It cannot be read.
    """
    path = out / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["length"] > 0 and manifest["chunk"] > 0:
            return dict(manifest)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    raise AnnotationError(f"{path} is not a manifest of deepfer.annotate: choose another folder")


def _check_same(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for place, words in FIXED.items():
        was, now = _value(old, place), _value(new, place)
        if was != now:
            if place == ("fingerprint",):  # the names say more
                was, now = old.get("source"), new["source"]
            shown = "" if place[-1] in ("sha256", "columns") else f" ({was}; now {now})"
            raise AnnotationError(
                f"{out} holds results of another {words}{shown}: choose another folder, or start again with --no-resume"
            )


def _value(manifest: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        manifest = manifest.get(key) if isinstance(manifest, dict) else None
    return manifest
