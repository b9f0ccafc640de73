"""Whether what was freed goes back to the machine."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import psutil
from ui.memory import give_back

used = lambda: psutil.Process().memory_info().rss / 1e6
before = used()
blocks = [bytearray(100_000) for _ in range(2000)]
kept = blocks[-1]  # at the top of the heap: the C library gives nothing back by itself
del blocks
held = used()
assert give_back()
print(held - before, used() - before)
"""


def test_what_is_free_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=ROOT)
    held, left = map(float, done.stdout.split())
    assert held > 150
    assert left < 20
