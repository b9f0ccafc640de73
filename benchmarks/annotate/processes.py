"""What the processes of a command use: processor time, waits, and memory, as Linux counts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """A process up to now.

    Attributes:
        is_worker: Whether it is one that recognizes faces.
        cpu_s: Processor time of all its threads.
        main_cpu_s: Of its main thread.
        main_queue_s: How long its main thread has waited for a processor that others had.
    """

    is_worker: bool
    cpu_s: float
    main_cpu_s: float
    main_queue_s: float


def usage(pid: int) -> dict[int, Usage]:
    """Process id to usage, for a process and all below it."""
    found = {}
    for one in _family(pid):
        try:
            tasks = Path(f"/proc/{one.pid}/task")
            threads = {task.name: _schedule(task) for task in tasks.iterdir()}
            main = threads[str(one.pid)]
            is_worker = "spawn_main" in " ".join(one.cmdline())
            found[one.pid] = Usage(is_worker, sum(cpu for cpu, _ in threads.values()), *main)
        except (OSError, KeyError, psutil.Error):  # it has just exited
            continue
    return found


def memory_mb(pid: int) -> float:
    """The memory of a process and all below it; what they share counts once."""
    total = 0
    for one in _family(pid):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that recognize faces."""
    return [one for one in _family(pid) if "spawn_main" in " ".join(_command(one))]


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _schedule(task: Path) -> tuple[float, float]:
    """A thread's seconds on a processor, and waiting for one."""
    cpu, queue, _ = (task / "schedstat").read_text().split()
    return int(cpu) / 1e9, int(queue) / 1e9
