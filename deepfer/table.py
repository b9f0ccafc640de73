"""Results as CSV: rows that a spreadsheet shows without running them, and those rows read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from deepfer.result import COLUMNS

# A spreadsheet takes a cell that begins with one of these for a formula, or drops the character and looks again (OWASP,
# "CSV Injection"). The last four are full-width forms, which some locales treat alike.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
QUOTE = "'"  # in front of a cell, it tells a spreadsheet that the rest is text
NEEDS_QUOTE = (*FORMULA_STARTS, QUOTE)


def header() -> str:
    """The first line, with its newline."""
    return ",".join(COLUMNS) + "\n"


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Write rows by `COLUMNS`, one record each, which ends in a newline.

    Text that a spreadsheet would take for a formula, or that begins with `'`, gets a `'` in front. `from_csv` takes it
    off again.
    """
    text = io.StringIO()
    # The csv module quotes only the line ends that its own terminator holds, and readers end a row at either.
    table = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    lines = []
    for row in rows:
        table.writerow({name: _neutral(value) for name, value in row.items()})
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(0)
        text.truncate()
    return "".join(lines)


def from_csv(lines: Iterable[str]) -> Iterator[dict[str, str | None]]:
    """Read what `header` and `to_csv` wrote, row by row.

    Args:
        lines: The text, split after each newline; what stands between two carriage returns is no line of its own.

    Yields:
        Column -> text; None for the columns that a row cut short lacks.

    Raises:
        csv.Error: The text is not CSV.
    """
    for row in csv.DictReader(lines):
        yield {name: _original(value) for name, value in row.items()}


def _neutral(value: Any) -> Any:
    return QUOTE + value if isinstance(value, str) and value.startswith(NEEDS_QUOTE) else value


def _original(text: str | None) -> str | None:
    if isinstance(text, str) and text.startswith(QUOTE) and text[1:].startswith(NEEDS_QUOTE):
        return text[1:]
    return text
