"""Freed memory is returned to the system."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import psutil
from ui.memory import trim_heap

used = lambda: psutil.Process().memory_info().rss / 1e6
before = used()
blocks = [bytearray(100_000) for _ in range(2000)]
kept = blocks[-1]  # at the top of the heap, so the C library returns nothing by itself
del blocks
held = used()
assert trim_heap()
print(held - before, used() - before)
"""


def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=ROOT)
    held, left = map(float, done.stdout.split())
    assert held > 150
    assert left < 20
