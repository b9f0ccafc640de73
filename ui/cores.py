"""Cores: how many this process may use."""

import os
from pathlib import Path


def usable_cores() -> int:
    """The number of cores that this process may use: its CPU affinity, within its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # not Linux, cgroup v1, or "max"
        return count
