"""Makes the nightly record at a quarter past the night's end, or at the next start. Main thread only.

`schedule` rings by the site's wall clock, which may be stepped by hours. So ringing only says: look what is
missing. What is missing is what the ledger does not hold; each night is made once, whatever the clock did.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytz
import schedule
from pydantic import JsonValue

from edge_agent.agent.nights_reading import backwards, leaves_since
from edge_agent.errors import FormatError
from edge_agent.health import duty
from edge_agent.health.nights import Schedule, night_record
from edge_agent.health.nights_leaf import NightPart, join, read_part, to_leaves
from edge_agent.health.nights_words import MADE_MINUTES
from edge_agent.health.scribe import chronicle
from edge_agent.ledger.leaf import Leaf
from edge_agent.model import ClockTrust, Instant

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

AFTER_MINUTES = MADE_MINUTES
BACK_NIGHTS = 7  # how many missed nights are made up for
STEP_US = 60_000_000
AGAIN_S = 300.0
PATIENCE_S = 7200.0  # for a clock that is not set: NTP comes with the link


@dataclass(frozen=True, slots=True)
class Made:
    """The leaves of one night that was missing."""

    evening: date
    leaves: tuple[dict[str, JsonValue], ...]


class NightsDesk:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._scheduler = schedule.Scheduler()
        self._made: set[date] = set()
        self._due_s: float | None = owner.parts.clock.monotonic()  # the box may have been off at the time
        self._asked = False
        self._not_before_s = 0.0
        self._offset_us: int | None = None
        self.rearm()

    def rearm(self) -> None:
        """Ring by the hours that hold now. `schedule` plans by the clock, so also when that was stepped."""
        zone = self._schedule.zone
        end = self._schedule.night.split("-")[1]
        at = _later(end, AFTER_MINUTES)
        self._scheduler.clear()
        try:
            self._scheduler.every().day.at(at, zone).do(self._ring)
        except pytz.UnknownTimeZoneError:  # `schedule` asks pytz, which may know fewer zones than we do
            self._scheduler.every().hour.do(self._ring)

    def tick(self, now: Instant) -> None:
        self._watch_clock(now)
        self._scheduler.run_pending()
        seconds = now.boot_ns / 1e9
        if self._due_s is None or self._asked or seconds < self._not_before_s:
            return
        if now.trust >= ClockTrust.NTP or seconds - self._due_s > PATIENCE_S:
            self._ask(now)

    @property
    def _schedule(self) -> Schedule:
        return self._owner.policy.demand.schedule

    def _ring(self) -> None:
        self._due_s = self._owner.parts.clock.monotonic()

    def _watch_clock(self, now: Instant) -> None:
        offset_us = now.wall_us - now.boot_ns // 1000
        if self._offset_us is not None and abs(offset_us - self._offset_us) > STEP_US:
            self.rearm()
            self._ring()
        self._offset_us = offset_us

    def _ask(self, now: Instant) -> None:
        """Reading weeks of leaves takes a second: not here."""
        log_, held, made = self._owner.parts.ledger.log, self._schedule, frozenset(self._made)
        evenings = [e for e in over(held, now.wall_us) if e not in made]
        self._asked = True

        def look() -> list[Made]:
            if not evenings:
                return []
            from_us = duty.window(held.zone, evenings[0], held.night)[0]
            leaves = leaves_since(backwards(log_.entries, log_.size), from_us)
            return missing(leaves, held, evenings, now.wall_us)

        self._owner.parts.chores.ask(look, self._note, self._failed)

    def _note(self, found: list[Made]) -> None:
        self._asked, self._due_s = False, None
        for night in found:
            self._made.add(night.evening)
            log.info("the record of the night of %s is made", night.evening)
            for leaf in night.leaves:
                self._owner.journal.night(leaf)

    def _failed(self, reason: str) -> None:
        self._asked = False
        self._not_before_s = self._owner.parts.clock.monotonic() + AGAIN_S
        log.error("the nightly record cannot be made now: %s", reason)


def over(held: Schedule, now_us: int) -> list[date]:
    """The evenings whose nights have been over for a while, oldest first."""
    today = duty.local_day(held.zone, now_us)
    days = [today - timedelta(days=back) for back in range(BACK_NIGHTS, -1, -1)]
    rest_us = AFTER_MINUTES * duty.MINUTE_US
    return [d for d in days if duty.night(held.zone, d, held.night)[1] + rest_us <= now_us][-BACK_NIGHTS:]


def missing(leaves: Sequence[Leaf], held: Schedule, evenings: Sequence[date], now_us: int) -> list[Made]:
    """Records of those evenings which the ledger holds none of, and of which it tells anything. Pure."""
    known = recorded(leaves)
    told = chronicle(leaves)
    if not leaves:
        return []
    found = []
    for evening in evenings:
        record = night_record(told, held, evening, now_us)
        if evening in known or not record.whole or told.begun_us >= record.to_us or not record.sights:
            continue
        found.append(Made(evening, tuple(to_leaves(record))))
    return found


def recorded(leaves: Sequence[Leaf]) -> set[date]:
    """The evenings of which all parts are in the ledger."""
    parts: dict[tuple[date, int], list[NightPart]] = {}
    for leaf in leaves:
        if leaf.kind == "night":
            try:
                part = read_part(leaf.data)
            except FormatError:
                continue
            parts.setdefault((part.night, part.parts), []).append(part)
    return {evening for (evening, _), found in parts.items() if join(found) is not None}


def _later(clock: str, minutes: int) -> str:
    hour, minute = (int(part) for part in clock.split(":"))
    total = (hour * 60 + minute + minutes) % (24 * 60)
    return f"{total // 60:02}:{total % 60:02}"
