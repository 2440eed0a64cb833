"""The nights of a site, from the leaves that the mirror keeps and has cosigned. Blocking: not in a loop.

A night is told by the box's own `night` leaves. Where they are missing (the box is off, or the line is), it
is counted here from what leaves there are, as if every camera had to see always: what is not told is unknown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from edge_agent.agent.nights_reading import backwards, leaves_since
from edge_agent.errors import FormatError, LedgerError
from edge_agent.health import duty
from edge_agent.health.nights import NightRecord, Schedule, night_record
from edge_agent.health.nights_leaf import NightPart, join, read_part
from edge_agent.health.scribe import chronicle
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Origin
from edge_agent.ledger import leaf as leaves_

_NIGHT = b'{"v":1,"type":"night",'
MAX_BACK = 50_000  # leaves; a month of minutes
AFTER_US = 15 * 60_000_000


@dataclass(frozen=True, slots=True)
class SiteNights:
    """`told_us`: the newest leaf's time, 0 without any. `own`: the evenings that the box itself recorded.
    `installed_us`: the box's first start, 0 unless one of the nights asked for lies before it."""

    records: tuple[NightRecord, ...]
    own: frozenset[date]
    told_us: int
    installed_us: int = 0


def last_evening(zone: str, now_us: int) -> date:
    """The newest night that is over."""
    today = duty.local_day(zone, now_us)
    days = (today - timedelta(days=back) for back in range(3))
    return next(day for day in days if duty.night(zone, day)[1] + AFTER_US <= now_us)


class NightShelf:
    """Reads one store. Open it for a moment: SQLite connections belong to one thread."""

    def __init__(self, path: Path) -> None:
        self._store = LedgerStore(path)

    def __enter__(self) -> NightShelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def sites(self) -> list[str]:
        return sorted(origin.site for origin in self._store.sites())

    def nights(self, site: str, zone: str, evenings: Sequence[date], now_us: int) -> SiteNights:
        """`evenings` in order. Raises LedgerError for a site without a ledger, sqlite3.Error."""
        origin = self._store.of_site(site)
        size = origin.noted.size if origin.noted else 0
        own = self._own(origin, size, set(evenings))
        missing = [evening for evening in evenings if evening not in own]
        counted: dict[date, NightRecord] = {}
        told_us, installed_us = self._newest_us(origin, size), 0
        if missing and size:
            schedule = Schedule(zone)
            from_us = duty.window(zone, missing[0])[0]
            told = chronicle(leaves_since(self._backwards(origin, size), from_us))
            made = (night_record(told, schedule, evening, now_us) for evening in missing)
            counted = {r.evening: r for r in made if told.begun_us < r.to_us}  # else it was not there yet
            installed_us = told.installed_us
        records = (own.get(e) or counted.get(e) for e in evenings)
        return SiteNights(tuple(r for r in records if r is not None), frozenset(own), told_us, installed_us)

    def _own(self, origin: Origin, size: int, wanted: set[date]) -> dict[date, NightRecord]:
        parts: dict[tuple[date, int], list[NightPart]] = {}
        found: dict[date, NightRecord] = {}
        for number, entry in enumerate(self._backwards(origin, size)):
            if number >= MAX_BACK or len(found) == len(wanted):
                break
            if not entry.startswith(_NIGHT):
                continue
            try:
                part = read_part(leaves_.decode(entry).data)
                if part.night not in wanted or part.night in found:
                    continue
                kept = parts.setdefault((part.night, part.parts), [])
                kept.append(part)
                record = join(kept)
            except FormatError:
                continue
            if record is not None:
                found[part.night] = record
        return found

    def _newest_us(self, origin: Origin, size: int) -> int:
        for number, entry in enumerate(self._backwards(origin, size)):
            try:
                return leaves_.decode(entry).at.wall_us
            except FormatError:
                if number > MAX_BACK:
                    break
        return 0

    def _backwards(self, origin: Origin, size: int) -> Iterator[bytes]:
        return backwards(lambda first, count: self._store.leaves(origin.name, first, count), size)


def read(path: Path, site: str, zone: str, evenings: Sequence[date], now_us: int) -> SiteNights:
    """As `NightShelf.nights`, with a connection of its own. Raises LedgerError."""
    if not path.exists():
        raise LedgerError(f"{path}: the registrars keep no ledger there yet")
    try:
        with NightShelf(path) as shelf:
            return shelf.nights(site, zone, evenings, now_us)
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error
