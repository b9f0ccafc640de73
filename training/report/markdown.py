"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def percent(share: float | None) -> str:
    """A share between 0 and 1 as a percentage with one decimal, without the sign; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1) -> str:
    """A Markdown table whose first `text_columns` are aligned left and the others, numbers, right."""
    rule = [*["---"] * text_columns, *["---:"] * (len(head) - text_columns)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *rows))
