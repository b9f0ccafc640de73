"""Tries another person's model in a separate process before it is loaded in this one.

A LiteRT file can be crafted to crash the process that runs it. The probe is not a sandbox: it contains crashes, not
code execution.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepfer.errors import CheckpointError
from deepfer.limits import MAX_TENSOR_BYTES, MODEL_TRIAL_S
from deepfer.resources import limit_cpu, limit_memory

OUT_OF_TIME = -24  # the exit status of a process ended by SIGXCPU

_passed: set[tuple[Any, ...]] = set()  # probes that succeeded: the loader, the model's hash and the arguments


def probe(load: Callable[..., Any], content: bytes, *args: Any, file: Path) -> None:
    """Call `load(content, *args)` in another process. It takes half a second, so a model is probed only once.

    Args:
        load: A function or class at module level; it raises `CheckpointError` for a model that cannot be served.
        content: The model file.
        args: Further arguments, with a meaningful `repr`; they are pickled.
        file: The model's path, for messages.

    Raises:
        CheckpointError: The model cannot be served, crashes its process, or takes too long.
    """
    key = load.__qualname__, hashlib.sha256(content).digest(), repr(args)
    if key in _passed:
        return
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from deepfer.model_probe import main; main()"],
            input=pickle.dumps((load, content, args)),
            capture_output=True,
            timeout=12 * MODEL_TRIAL_S,  # for a model that sleeps; on a busy machine, real time exceeds processor time
            env=os.environ | {"PYTHONPATH": path},
        )
        status = done.returncode
    except subprocess.TimeoutExpired:
        status = OUT_OF_TIME
    if status == OUT_OF_TIME:
        raise CheckpointError(f"{file} does not answer within {MODEL_TRIAL_S} s of processor time")
    if status:
        end = f"signal {-status}" if status < 0 else f"status {status}"
        raise CheckpointError(
            done.stdout.decode(errors="replace").strip()
            or f"{file} crashes the process that runs it ({end}): it is damaged or malicious"
        )
    _passed.add(key)


def main() -> None:
    """The other process's work. It prints the message of a `CheckpointError` and exits with 1."""
    limit_resources()
    load, content, args = pickle.load(sys.stdin.buffer)
    try:
        load(content, *args)
    except CheckpointError as error:
        sys.stdout.buffer.write(str(error).encode(errors="replace"))
        sys.exit(1)


def limit_resources(seconds: int = MODEL_TRIAL_S) -> None:
    """Limit this process to `seconds` of processor time, and to `MAX_TENSOR_BYTES` more memory than it has now."""
    limit_cpu(seconds)
    limit_memory(MAX_TENSOR_BYTES)
