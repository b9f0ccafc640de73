"""Limits on the processor time and memory of this process, on systems that support them."""

import contextlib
from collections.abc import Callable
from pathlib import Path


def limit_cpu(seconds: int) -> None:
    """End this process with SIGXCPU after `seconds` of processor time. No effect on Windows."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def limit_memory(extra_bytes: int) -> Callable[[], None]:
    """Limit this process to `extra_bytes` more memory than it has now. No effect where /proc is missing.

    Returns:
        A function that restores the previous limit.
    """
    try:
        import resource

        lines = Path("/proc/self/status").read_text().splitlines()
        (in_use,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (ImportError, OSError, ValueError):
        return lambda: None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (in_use + extra_bytes, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
