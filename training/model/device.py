"""The device that Keras trains on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import keras


def device_name() -> str:
    """Name the device that Keras trains on, and the processor."""
    found = keras.distribution.list_devices()
    return f"{', '.join(found) or 'cpu:0'} ({platform.processor() or platform.machine()}, {os.cpu_count()} cores)"


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether Keras trains on an accelerator, or on a CPU on which bfloat16 is faster than float32.

    CPUs without such instructions emulate bfloat16, which takes several times as long as float32. Intel's AVX-512
    instructions for it are slower than float32, too (a step of the CNN took 1.4 times as long); AMX is faster.
    """
    if any(not name.startswith("cpu") for name in keras.distribution.list_devices()):
        return True
    try:
        found = set(cpuinfo.read_text().split())
    except OSError:
        return False
    if "GenuineIntel" in found:
        return "amx_bf16" in found
    return not {"avx512_bf16", "bf16"}.isdisjoint(found)
