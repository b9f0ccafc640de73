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
    """Return whether Keras trains on an accelerator, or on a CPU with bfloat16 instructions.

    Other CPUs emulate bfloat16, which takes several times as long as float32.
    """
    if any(not name.startswith("cpu") for name in keras.distribution.list_devices()):
        return True
    try:
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(cpuinfo.read_text().split())
    except OSError:
        return False
