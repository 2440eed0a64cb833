"""The nightly records as a table: one row a camera and night, for spreadsheets. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from edge_agent.health.chronicle import DARK, UNKNOWN, UNUSABLE
from edge_agent.health.nights import Minutes, NightRecord, Sight

COLUMNS = (
    "night", "site", "camera", "name",
    "due_min", "seen_min", "dark_min", "unusable_min", "unknown_min", "muted_min",
    "night_due_min", "night_seen_min", "night_dark_min", "night_unusable_min", "night_unknown_min",
    "night_muted_min", "main_verdict", "verdicts", "policy_version", "complete",
)  # fmt: skip

Cell = str | int
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")
FROM_OUTSIDE = frozenset(("site", "camera", "cameras", "name", "department", "kind", "address", "contact"))
_MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?"
    "|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?)"
)
_NO_TEXT = re.compile(  # read as a number, a date, a time or a truth: `0571 2400001`, `12/4`, `4 Mar`, `1e5`
    rf"N\dN(e[+-]?\d+)?|true|false|N{_MONTH}N\dN|N\dN{_MONTH}N".replace("N", r"[\W\d_]*"), re.IGNORECASE
)


def rows(site: str, names: Mapping[str, str], records: Iterable[NightRecord]) -> list[tuple[Cell, ...]]:
    """As `COLUMNS`: ISO dates, whole minutes, words."""
    return [_row(site, names, record, sight) for record in records for sight in record.sights]


def csv_text(columns: Sequence[str], table: Iterable[Iterable[Cell]]) -> str:
    """CSV (RFC 4180) that spreadsheets open right: with a byte order mark, no cell that is a formula, and
    words from outside as words: a telephone number keeps its zero, a house number becomes no date."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_safe(cell, name) for cell, name in zip(row, columns, strict=True)] for row in table)
    return "\ufeff" + out.getvalue()


def _row(site: str, names: Mapping[str, str], record: NightRecord, sight: Sight) -> tuple[Cell, ...]:
    told = verdicts(sight.whole)
    return (
        record.evening.isoformat(), site, sight.camera, names.get(sight.camera, ""),
        *_counts(sight.whole), *_counts(sight.night),
        told[0][0] if told else "", "; ".join(f"{word} {count}" for word, count in told),
        record.policy, "yes" if record.whole else "no",
    )  # fmt: skip


def verdicts(minutes: Minutes) -> list[tuple[str, int]]:
    """Of the minutes not seen, by verdict, the longest first; what is only unknown comes last."""
    seen_not = sorted([*minutes.dark.items(), *minutes.unusable.items()], key=lambda item: -item[1])
    return [*seen_not, *sorted(minutes.unknown.items(), key=lambda item: -item[1])]


def _counts(minutes: Minutes) -> tuple[int, ...]:
    states = (minutes.of(state) for state in (DARK, UNUSABLE, UNKNOWN))
    return (minutes.due, minutes.seen, *states, minutes.muted)


def _safe(cell: Cell, column: str) -> Cell:
    """A name from outside must not become a formula in an officer's spreadsheet."""
    if not isinstance(cell, str):
        return cell
    as_other = column in FROM_OUTSIDE and _NO_TEXT.fullmatch(cell)
    return "'" + cell if as_other or cell.startswith(_RISKY) else cell
