"""Results as tables: a pandas DataFrame, or CSV that a spreadsheet does not execute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from deepfer.face import Face
from deepfer.result import COLUMNS, FACE_COLUMNS, Result, VideoResult, face_row

if TYPE_CHECKING:
    import pandas

# Spreadsheets treat a cell that begins with one of these as a formula, or drop the character and look at the next one
# (OWASP, "CSV Injection"). The last four are full-width forms, which some locales treat in the same way.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
QUOTE = "'"  # at the start of a cell, this makes a spreadsheet treat the rest as text
NEEDS_QUOTE = (*FORMULA_STARTS, QUOTE)


def to_pandas(results: Result | VideoResult | Iterable[Result | VideoResult | Face]) -> pandas.DataFrame:
    """Convert results to a DataFrame with the columns of the CSV output, one row per face or, in a video, per person.

        to_pandas(recognizer.recognize("photo.jpg"))
        to_pandas(recognizer.recognize_batch(Path("photos").glob("*.jpg")))

    Args:
        results: A result or several of them, with `COLUMNS`; or the faces of one image, with `FACE_COLUMNS`.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas needs pandas: pip install pandas") from error
    items = [results] if isinstance(results, Result | VideoResult) else list(results)
    rows = [
        row
        for number, item in enumerate(items, 1)
        for row in ([face_row(item, number)] if isinstance(item, Face) else item.rows())
    ]
    only_faces = bool(items) and all(isinstance(item, Face) for item in items)
    return pandas.DataFrame(rows, columns=list(FACE_COLUMNS if only_faces else COLUMNS))


def header() -> str:
    """The first line, with its newline."""
    return ",".join(COLUMNS) + "\n"


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    r"""Write rows with `COLUMNS` as keys, each ending in a newline.

    Text that a spreadsheet would treat as a formula, or that begins with `'`, is prefixed with `'`, which `from_csv`
    removes.
    """
    text = io.StringIO()
    # The csv module quotes only line ends that are part of its terminator, but readers end a row at \r and at \n.
    table = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    lines = []
    for row in rows:
        table.writerow({name: _quoted(value) for name, value in row.items()})
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(0)
        text.truncate()
    return "".join(lines)


def from_csv(lines: Iterable[str]) -> Iterator[dict[str, str | None]]:
    r"""Read the output of `header` and `to_csv`, row by row.

    Args:
        lines: The text, split after each \n and nowhere else.

    Yields:
        A dict from column to text; None for the missing columns of a truncated row.

    Raises:
        csv.Error: The text is not CSV.
    """
    for row in csv.DictReader(lines):
        yield {name: _unquoted(value) for name, value in row.items()}


def _quoted(value: Any) -> Any:
    return QUOTE + value if isinstance(value, str) and value.startswith(NEEDS_QUOTE) else value


def _unquoted(text: str | None) -> str | None:
    if isinstance(text, str) and text.startswith(QUOTE) and text[1:].startswith(NEEDS_QUOTE):
        return text[1:]
    return text
