"""Arguments of the command lines that are checked as they are read."""

import argparse
from collections.abc import Callable


def bounded_int(least: int, most: int | None = None) -> Callable[[str], int]:
    """What `argparse` may take as a `type`: a whole number from `least` to `most`, or from `least` on.

    What it gives raises an `ArgumentTypeError` for any other text.
    """
    allowed = f"from {least} on" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number {allowed}")
        return int(text)

    return read
