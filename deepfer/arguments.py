"""Argument types for `argparse`."""

import argparse
from collections.abc import Callable


def bounded_int(least: int, most: int | None = None) -> Callable[[str], int]:
    """A `type` for `argparse`: an integer from `least` to `most`; None means no upper bound.

    The returned function raises an `ArgumentTypeError` for any other text.
    """
    allowed = f">= {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"must be an integer {allowed}, got {text!r}")
        return int(text)

    return parse
