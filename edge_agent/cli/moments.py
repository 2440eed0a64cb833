"""Moments as people write them, in the site's own time, and how far a long walk through footage has got."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_agent.errors import EdgeAgentError
from edge_agent.seal.record import Kind, Record

if TYPE_CHECKING:
    from rich.progress import TaskID

LONGEST_US = 6 * 3_600_000_000


def moment(text: str, timezone: str) -> int:
    """`2026-11-22 20:00[:30]` in the site's time, or RFC 3339 with an offset: microseconds of wall time."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise EdgeAgentError(f"{text!r} is no moment; write it as 2026-11-22 20:00") from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(timezone))
    return round(found.timestamp() * 1_000_000)


def window(start: str, end: str, timezone: str) -> tuple[int, int]:
    """Both ends, checked. Raises EdgeAgentError with what to write instead."""
    from_us, to_us = moment(start, timezone), moment(end, timezone)
    if to_us <= from_us:
        raise EdgeAgentError(f"{end} is not after {start}")
    if to_us - from_us > LONGEST_US:
        raise EdgeAgentError("one package holds at most 6 hours; export the time in several")
    return from_us, to_us


def local(wall_us: int, timezone: str) -> str:
    return f"{datetime.fromtimestamp(wall_us / 1e6, ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S}"


@contextmanager
def percents(what: str) -> Iterator[Callable[[int], None]]:
    """For work that tells how far it is: a function that hears percents; silent where nobody watches."""
    shown = Bar(0, 100)
    with shown.progress:
        task = shown.task(what)
        yield lambda percent: shown.reach(task, percent)


class Bar:
    """Shows how much of a window has been walked through; silent where nobody watches."""

    def __init__(self, from_us: int, to_us: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._from_us, self._span_us = from_us, to_us - from_us
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip

    def task(self, what: str) -> TaskID:
        return self.progress.add_task(what, total=100)

    def reach(self, task: TaskID, wall_us: int) -> None:
        """The walk has come to this moment of the window."""
        share = (wall_us - self._from_us) / self._span_us
        self.progress.update(task, completed=max(0.0, min(1.0, share)) * 100)

    def through(self, records: Iterable[Record], what: str) -> Iterator[Record]:
        task = self.task(what)
        for record in records:
            if record.header.kind is Kind.FRAGMENT:
                self.reach(task, record.header.wall_us)
            yield record
        self.progress.update(task, completed=100)


@contextmanager
def bar(from_us: int, to_us: int) -> Iterator[Bar]:
    shown = Bar(from_us, to_us)
    with shown.progress:
        yield shown
