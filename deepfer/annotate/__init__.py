"""Annotates a data set of any size: reads photos and videos, writes Parquet files with a row per face.

    from deepfer.annotate import annotate
    summary = annotate("photos/", "faces/")

The same on the command line: `python -m deepfer.annotate photos/ faces/`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import cv2
from tqdm import tqdm

from deepfer.annotate.card import write_card
from deepfer.annotate.errors import AnnotationError, require
from deepfer.annotate.job import Job, digests
from deepfer.annotate.local import Annotator
from deepfer.annotate.manifest import locked, manifest_of, open_folder
from deepfer.annotate.shards import read_summary
from deepfer.annotate.source import open_source, pin_source
from deepfer.annotate.summary import Summary
from deepfer.recognizer import EmotionRecognizer

__all__ = ["AnnotationError", "Summary", "annotate"]

CHUNK = 1000  # inputs per shard: a killed run repeats at most one chunk per worker
ENGINES = ("local", "ray")


def annotate(
    source: str | Path,
    out: str | Path,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    chunk: int = CHUNK,
    model: str | None = None,
    revision: str | None = None,
    detector: str = "auto",
    resume: bool = True,
) -> Summary:
    """Annotate every image and video of a data set.

    Writes `data/train-00000.parquet` and so on, with a row per face and the columns of the command line's CSV, one row
    for an image without a face, and one with `error` for an input that could not be read; `README.md`, a data-set card;
    and `manifest.json`. `datasets.load_dataset(out)` reads them. A progress bar is shown on stderr. If a run is
    interrupted, the same call continues it: finished shards are kept.

    Args:
        source: A folder of images and videos, of Parquet files with a column of images, or of `datasets.save_to_disk`;
            a text file with a path or URL per line; a Parquet file; any URL that fsspec reads; or a data set on the
            Hub, "user/name" or "user/name@revision".
        out: The folder of the results. With Ray, every node must reach it.
        engine: "local" (processes on this machine) or "ray" (a cluster).
        workers: The number of processes; one per core if None.
        address: The address of a running Ray cluster; None starts Ray on this machine.
        chunk: Inputs per shard.
        model: As for `EmotionRecognizer.from_pretrained`.
        revision: The model's branch, tag or commit on the Hub.
        detector: As for `EmotionRecognizer.from_pretrained`.
        resume: Keep the finished shards in `out`; if False, they are removed first.

    Returns:
        What `out` contains at the end.

    Raises:
        AnnotationError: An argument is wrong, the source cannot be read, a package is missing, or `out` holds something
            else or results of another source, model or detector.
        OutputLockedError: Another process is writing to `out`.
        DeepFERError: As for `EmotionRecognizer.from_pretrained`.
        OSError: `out` cannot be written.
    """
    out = Path(out).absolute()
    _check(Path(source).absolute(), out, engine, workers, address, chunk)
    try:
        recognizer = EmotionRecognizer.from_pretrained(model, revision=revision, detector=detector)
    except ValueError as error:  # no such model, revision or detector
        raise AnnotationError(str(error)) from error
    name = pin_source(str(source))
    opened = open_source(name)
    job = Job(opened, out, chunk, model, recognizer.revision, str(detector), digests(recognizer))
    with locked(out):
        manifest = manifest_of(job, name, recognizer)
        open_folder(out, manifest, resume)
        todo = [number for number in range(job.chunks) if not job.shard(number).exists()]
        left = sum(len(job.numbers(number)) for number in todo)
        steps = _run(job, recognizer, engine, workers, address, todo)
        shown = {"initial": len(opened) - left, "unit": " inputs", "mininterval": 0.1 if sys.stderr.isatty() else 10}
        with closing(steps), tqdm(total=len(opened), **shown) as bar:
            for count in steps:
                bar.update(count)
        summary = read_summary(map(job.shard, range(job.chunks)))
        write_card(out, manifest, summary)
    return summary


def _check(source: Path, out: Path, engine: str, workers: int | None, address: str | None, chunk: int) -> None:
    if engine not in ENGINES:
        raise AnnotationError(f"no engine {engine!r}: give {' or '.join(map(repr, ENGINES))}")
    if chunk < 1 or (workers is not None and workers < 1):
        raise AnnotationError("chunk and workers must be at least 1")
    if address is not None and engine != "ray":
        raise AnnotationError("an address needs the engine 'ray'")
    require("annotate", "pyarrow", "datasets")
    if engine == "ray":
        require("scale", "ray.data")
    if source.is_dir() and (source == out or source in out.parents):
        raise AnnotationError(f"{out} is inside the source: choose a folder outside it")


def _run(
    job: Job, recognizer: EmotionRecognizer, engine: str, workers: int | None, address: str | None, todo: list[int]
) -> Generator[int, None, None]:
    """Annotate chunks. Yields the number of inputs finished since the last step."""
    if not todo:
        return
    if engine == "ray":
        from deepfer.annotate import ray_engine

        yield from ray_engine.run(job, todo, workers, address)
        return
    with Annotator(job, recognizer, workers or cv2.getNumberOfCPUs()) as annotator:
        yield from annotator.run(todo)
