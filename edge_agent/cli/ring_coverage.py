"""`ring coverage`: which parts of each day are recorded, drawn a character for each half hour."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from edge_agent.cli.context import length
from edge_agent.ring.reader import Gap, RingReader, Span

if TYPE_CHECKING:
    from rich.text import Text

DAY_US = 86_400_000_000
WIDE = 130  # columns; a narrower terminal gets half an hour a character instead of a quarter
NAME_COLUMNS = 10
GAPS_SHOWN = 5
_BLOCKS = "_▁▂▃▄▅▆▇█"
_AHEAD = "·"


class Shade(Enum):
    """How a character is coloured; the shapes say the same to who sees no colours."""

    WHOLE = "green"
    PART = "yellow"
    NOTHING = "bold red"
    AHEAD = "bright_black"


@dataclass(frozen=True, slots=True)
class Day:
    """A camera's day of the site's calendar, microseconds of wall time; after `now_us` nothing is missing."""

    camera: str
    date: str
    from_us: int
    to_us: int
    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...] = ()
    now_us: int = 1 << 62

    @property
    def seconds(self) -> float:
        return sum(s.to_us - s.from_us for s in self.spans) / 1e6

    @property
    def missing_s(self) -> float:
        return max(0.0, (min(self.to_us, self.now_us) - self.from_us) / 1e6 - self.seconds)


def days_back(timezone: str, count: int, now_us: int) -> list[tuple[str, int, int]]:
    """Date, start and end of the last `count` days of the site's calendar, today last."""
    zone = ZoneInfo(timezone)
    today = datetime.fromtimestamp(now_us / 1e6, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=back) for back in reversed(range(count))]
    edges = [(start, (start + timedelta(days=1))) for start in starts]
    return [(f"{a:%Y-%m-%d}", int(a.timestamp() * 1e6), int(b.timestamp() * 1e6)) for a, b in edges]


def read_day(reader: RingReader, camera: str, stream: bytes, day: tuple[str, int, int], now_us: int) -> Day:
    """Raises RingError."""
    date, from_us, to_us = day
    spans = tuple(reader.coverage(stream, from_us, to_us))
    gaps = tuple(reader.gaps(stream, from_us, min(to_us, now_us))) if from_us < now_us else ()
    return Day(camera, date, from_us, to_us, spans, gaps, now_us)


def as_json(day: Day) -> dict[str, Any]:
    return {
        "camera": day.camera,
        "date": day.date,
        "seconds": round(day.seconds, 3),
        "missing_s": round(day.missing_s, 3),
        "spans_us": [[s.from_us, s.to_us] for s in day.spans],
        "gaps_us": [[g.from_us, g.to_us] for g in day.gaps],
    }


def print_days(days: Sequence[Day], timezone: str) -> None:
    """The picture, its legend, totals by camera, and the longest gaps. 80 columns do."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    cells = 96 if shutil.get_terminal_size().columns >= WIDE else 48
    scale = "".join(f"{hour}h".ljust(cells // 8) for hour in range(0, 24, 3))
    console.print(f"{'':{NAME_COLUMNS + 12}}{scale}")
    for _, mine in groupby(days, key=lambda day: day.camera):
        kept = list(mine)
        for day in kept:
            console.print(_row(day, cells))
        console.print(_total(kept), style="bold" if len(kept) > 1 else "")
        for line in _longest(kept, timezone):
            console.print(line, style=Shade.NOTHING.value)
    console.print(_legend())


def picture(day: Day, cells: int) -> str:
    """The day in `cells` characters: a full block is recorded whole, `_` not at all, `.` is yet to come."""
    return "".join(sign for sign, _ in drawn(day, cells))


def drawn(day: Day, cells: int) -> Iterator[tuple[str, Shade]]:
    width = (day.to_us - day.from_us) / cells
    for cell, share in enumerate(_shares(day, cells)):
        if day.from_us + cell * width >= day.now_us:
            yield _AHEAD, Shade.AHEAD
        else:
            eighths = _eighths(share)
            yield _BLOCKS[eighths], {0: Shade.NOTHING, 8: Shade.WHOLE}.get(eighths, Shade.PART)


def _shares(day: Day, cells: int) -> list[float]:
    width = (day.to_us - day.from_us) / cells
    filled = [0.0] * cells
    for span in day.spans:
        first = int((span.from_us - day.from_us) / width)
        last = min(int((span.to_us - 1 - day.from_us) / width), cells - 1)
        for cell in range(first, last + 1):
            start = day.from_us + cell * width
            filled[cell] += max(0.0, min(span.to_us, start + width) - max(span.from_us, start)) / width
    return filled


def _eighths(share: float) -> int:
    """At least one for anything recorded, eight only for all of it."""
    if share >= 0.999:
        return 8
    return 0 if share <= 0 else max(1, min(7, round(share * 8)))


def _row(day: Day, cells: int) -> Text:
    from rich.text import Text

    row = Text(f"{day.camera[:NAME_COLUMNS]:{NAME_COLUMNS}} {day.date} ")
    for sign, shade in drawn(day, cells):
        row.append(sign, shade.value)
    return row.append(f" {_hours(day.seconds)} h")


def _total(days: Sequence[Day]) -> str:
    recorded, missing = sum(d.seconds for d in days), sum(d.missing_s for d in days)
    share = recorded / (recorded + missing) if recorded + missing else 0.0
    gaps = sum(len(day.gaps) for day in days)
    name = days[0].camera[:NAME_COLUMNS]
    in_gaps = f"{gaps} gap{'s' * (gaps != 1)}"
    return f"{name:{NAME_COLUMNS}} {share:.2%} of {len(days)} d, {_hours(missing)} h missing in {in_gaps}"


def _longest(days: Sequence[Day], timezone: str) -> Iterator[str]:
    """A day's gap ends at midnight: one that goes on is two."""
    gaps = sorted((gap for day in days for gap in day.gaps), key=lambda g: g.from_us - g.to_us)
    for gap in sorted(gaps[:GAPS_SHOWN]):
        start, end = (datetime.fromtimestamp(us / 1e6, ZoneInfo(timezone)) for us in (gap.from_us, gap.to_us))
        seconds = (gap.to_us - gap.from_us) / 1e6
        lasted = f"{seconds:.0f} s" if seconds < 120 else length(seconds / 86_400)
        told = ", its reason is sealed" if gap.stated else ""
        yield f"{'':{NAME_COLUMNS}} {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}, {lasted}{told}"
    if len(gaps) > GAPS_SHOWN:
        yield f"{'':{NAME_COLUMNS}} and {len(gaps) - GAPS_SHOWN} shorter ones; --json lists all"


def _legend() -> Text:
    from rich.text import Text

    legend = Text("")
    for sign, shade, word in (
        ("█", Shade.WHOLE, "recorded"), ("▄", Shade.PART, "in part"), ("_", Shade.NOTHING, "nothing"),
        (_AHEAD, Shade.AHEAD, "to come"),
    ):  # fmt: skip
        legend.append(sign, shade.value).append(f" {word}   ")
    return legend


def _hours(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours:2}:{rest // 60:02}"
