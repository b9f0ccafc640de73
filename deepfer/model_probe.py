"""Try another person's model in a process of its own before loading it here.

A LiteRT file can be made so that it crashes whoever runs it. The probe is not a sandbox: it contains crashes, not code
execution.
"""

from __future__ import annotations

import contextlib
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

OUT_OF_TIME = -24  # the exit status of a process that got SIGXCPU

_passed: set[tuple[Any, ...]] = set()  # models that were tried, each by its content and how it is loaded


def probe(load: Callable[..., Any], content: bytes, *args: Any, file: Path) -> None:
    """Call `load(content, *args)` in another process, once for each model in this process: it takes half a second.

    Args:
        load: A function or class at the top of a module; it raises `CheckpointError` for a model that cannot be served.
        content: The model file.
        args: What else it takes; it must be hashable by `repr`, and be pickled.
        file: The model's path, for messages.

    Raises:
        CheckpointError: The model cannot be served, crashes its process, or takes too long.
    """
    trial = load.__qualname__, hashlib.sha256(content).digest(), repr(args)
    if trial in _passed:
        return
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from deepfer.model_probe import main; main()"],
            input=pickle.dumps((load, content, args)),
            capture_output=True,
            timeout=12 * MODEL_TRIAL_S,  # for a model that waits without using the processor; a busy machine is slow
            env=os.environ | {"PYTHONPATH": path},
        )
        status = done.returncode
    except subprocess.TimeoutExpired:
        status = OUT_OF_TIME
    if status == OUT_OF_TIME:
        raise CheckpointError(f"{file} gives no answer within {MODEL_TRIAL_S} s of processor time")
    if status:
        end = f"signal {-status}" if status < 0 else f"status {status}"
        raise CheckpointError(
            done.stdout.decode(errors="replace").strip()
            or f"{file} crashes the process that runs it ({end}): it is damaged, or made to do harm"
        )
    _passed.add(trial)


def main() -> None:
    """What the other process does; an error's message goes to standard output."""
    limit_resources()
    load, content, args = pickle.load(sys.stdin.buffer)
    try:
        load(content, *args)
    except CheckpointError as error:
        sys.stdout.buffer.write(str(error).encode(errors="replace"))
        sys.exit(1)


def limit_resources(seconds: int = MODEL_TRIAL_S) -> None:
    """Limit this process to so much processor time, and to `MAX_TENSOR_BYTES` more memory than it has now."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows; macOS does not say
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        lines = Path("/proc/self/status").read_text().splitlines()
        (held,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        bound = held + MAX_TENSOR_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (bound if most == resource.RLIM_INFINITY else min(bound, most), most))
