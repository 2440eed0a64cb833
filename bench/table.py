"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = Sequence[object]


def table(title: str, head: Sequence[str], rows: Iterable[Row]) -> str:
    lines = [f"### {title}", "", _line(head), _line(["---"] * len(head))]
    return "\n".join([*lines, *map(_line, rows), ""])


def _line(cells: Row) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
