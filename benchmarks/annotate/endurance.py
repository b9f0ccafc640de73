"""A long run whose worker and driver are killed: memory over time, and whether every input is there exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from benchmarks.annotate.processes import memory_mb, workers_of
from benchmarks.annotate.throughput import command, finish, shards_in, start

LOOK_S = 0.05  # between two looks at the finished shards
SAMPLE_S = 2.0  # between two samples of memory: reading it takes a while
TELL_S = 30.0  # between two printed lines


def measure(source: Path, inputs: int, chunk: int, workers: int) -> dict[str, Any]:
    """Annotate a folder; kill a worker at a third, and the driver at two thirds; run it again, and check the rows.

    Raises:
        RuntimeError: The command failed, or a row is missing, doubled or an error.
    """
    _mark_unread(source)
    total = -(-inputs // chunk)
    memory: list[tuple[float, float]] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside, "out")
        words = command(source, out, "--chunk", chunk, "--workers", workers)
        process = start(words)
        _watch(process, out, total // 3, memory, begun)
        _workers(process)[0].kill()
        _watch(process, out, 2 * total // 3, memory, begun)
        left = _workers(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs(left, timeout=60)
        kept = {path: path.stat().st_mtime_ns for path in shards_in(out)}
        twice = _read(source) - chunk * len(kept)
        process = start(words)
        _watch(process, out, total, memory, begun)
        finish(process)
        seconds = time.perf_counter() - begun
        if {path: path.stat().st_mtime_ns for path in kept} != kept:
            raise RuntimeError("the second run changed finished shards")
        faces = _check(out, {path.name for path in source.iterdir()})
    fifth = max(1, len(memory) // 5)
    return {
        "inputs": inputs,
        "faces": faces,
        "chunk": chunk,
        "workers": workers,
        "seconds": seconds,
        "kept_shards": len(kept),
        "shards": total,
        "read_twice": twice,
        "memory_mb": [[round(at), round(used)] for at, used in memory[:: max(1, len(memory) // 50)]],
        "memory_first_mb": max(used for _, used in memory[:fifth]),
        "memory_last_mb": max(used for _, used in memory[-fifth:]),
    }


def _watch(process: subprocess.Popen, out: Path, shards: int, memory: list[tuple[float, float]], begun: float) -> None:
    """Sample memory until there are so many shards."""
    sampled = told = -TELL_S
    while (count := len(shards_in(out))) < shards and process.poll() is None:
        time.sleep(LOOK_S)
        if (at := time.perf_counter() - begun) - sampled < SAMPLE_S or not workers_of(process.pid):
            continue
        sampled, used = at, memory_mb(process.pid)
        memory.append((at, used))
        if at - told >= TELL_S:
            print(f"{at:6.0f} s  {count} shards  {used:.0f} MB", flush=True)
            told = at


def _workers(process: subprocess.Popen) -> list[psutil.Process]:
    if found := workers_of(process.pid):
        return found
    raise RuntimeError("the run ended before it could be killed: give it more inputs")


def _mark_unread(source: Path) -> None:
    """Set each file's access time before its last change: then Linux updates it when the file is read."""
    for path in source.iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns))


def _read(source: Path) -> int:
    """How many files were read since."""
    return sum(path.stat().st_atime_ns > 0 for path in source.iterdir())


def _check(out: Path, names: set[str]) -> int:
    """The number of faces, if every input is there exactly once, no face twice, and nothing failed."""
    inputs: Counter[str] = Counter()
    faces: set[tuple[str, int]] = set()
    count = 0
    for path in shards_in(out):
        columns = pq.read_table(path, columns=["path", "face", "error"]).to_pydict()
        inputs.update(set(columns["path"]))  # an input is in one shard
        rows = [(name, face) for name, face in zip(columns["path"], columns["face"], strict=True)]
        count += len(rows)
        faces.update(rows)
        if any(columns["error"]):
            raise RuntimeError(f"{path.name}: {next(filter(None, columns['error']))}")
    if inputs.keys() != names or max(inputs.values()) != 1:
        raise RuntimeError("an input is missing, or in two shards")
    if len(faces) != count:
        raise RuntimeError("a face is there twice")
    return sum(face is not None for _, face in faces)
