"""What the driver does for each input and each chunk: it limits how many workers a run can use."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.environments import ROOT
from deepfer import EmotionRecognizer
from deepfer.annotate.file_sources import folder_source
from deepfer.annotate.job import Job, digests
from deepfer.annotate.recognition import recognize_item
from deepfer.annotate.shards import read_summary, write_shard

CHUNK = 1000  # the default of `annotate`
FILES = 50_000
RAY_CHUNKS = 400

# Prints the driver's processor seconds from the first to the last result of chunks that are finished already, so that
# only Ray's part is left, and the seconds on the clock.
RAY = """
import pickle, sys, time
from deepfer.annotate import ray_engine
job = pickle.load(open(sys.argv[1], "rb"))
for number, _ in enumerate(ray_engine.run(job, range(job.chunks), 2, None)):
    last = time.process_time(), time.perf_counter()
    first = first if number else last
print(last[0] - first[0], last[1] - first[1])
"""


def measure(photos: Path) -> dict[str, float | None]:
    """Processor seconds, and bytes.

    Args:
        photos: A folder of photos with a face each.

    Returns:
        `list_s` and `job_bytes`: per input, to list a folder, and what each actor is sent; `write_s` and `read_s`:
        per chunk, to write its shard, and to read its summary at the end; `ray_cpu_s` and `ray_s`: per chunk, for Ray,
        with two actors on this machine, of processor time and on the clock, or None.
    """
    recognizer = EmotionRecognizer.from_pretrained()
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside, "photos")
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number:07}.jpg").touch()
        with _seconds() as listing:
            source = folder_source(folder)
        out = Path(aside, "out")
        job = Job(source, out, FILES // RAY_CHUNKS, None, None, "auto", digests(recognizer))
        item = folder_source(photos)[0]
        rows = recognize_item(recognizer, None, item) * CHUNK
        write_shard(job.shard(0), rows)  # once without measuring: it imports pyarrow
        with _seconds() as writing:
            write_shard(job.shard(0), rows)
        for chunk in range(1, RAY_CHUNKS):
            job.shard(chunk).hardlink_to(job.shard(0))
        with _seconds() as reading:
            read_summary(map(job.shard, range(RAY_CHUNKS)))
        ray_s = _ray_s(job, Path(aside, "job.pickle")) if importlib.util.find_spec("ray") else (None, None)
        return {
            "list_s": listing() / FILES,
            "job_bytes": len(pickle.dumps(job)) / FILES,
            "write_s": writing(),
            "read_s": reading() / RAY_CHUNKS,
            "ray_cpu_s": ray_s[0],
            "ray_s": ray_s[1],
        }


def _ray_s(job: Job, file: Path) -> tuple[float, float]:
    file.write_bytes(pickle.dumps(job))
    done = subprocess.run([sys.executable, "-c", RAY, file], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    cpu, clock = map(float, done.stdout.split())
    return cpu / (RAY_CHUNKS - 1), clock / (RAY_CHUNKS - 1)


@contextmanager
def _seconds() -> Iterator[Callable[[], float]]:
    """Yields a function that returns the processor seconds of the block, after it."""
    start, taken = time.process_time(), [0.0]
    yield lambda: taken[0]
    taken[0] = time.process_time() - start
