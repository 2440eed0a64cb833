"""When must a camera see? Local hours of a week with holidays, turned into moments (pure).

A span such as 20:00-06:00 belongs to the day on which it begins. It begins at the first moment at which the
site's clocks show its start, and ends at the last at which they show its end; a time that clocks jump over
in spring is the moment of the jump. So an hour that comes twice in autumn is due twice, and counts of
minutes are those that really pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ALWAYS = ("00:00-24:00",)
NIGHT = "20:00-06:00"
DAY_MINUTES = 24 * 60
MINUTE_US = 60_000_000
S_US = 1_000_000

Stretch = tuple[int, int]  # [from, to) in microseconds of wall time


@dataclass(frozen=True, slots=True)
class Hours:
    """Spans `HH:MM-HH:MM` in which a camera must see: `holidays` win over `weekdays` (0 is Monday), and
    these over `spans`. No span: closed."""

    spans: tuple[str, ...] = ALWAYS
    weekdays: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    holidays: Mapping[date, tuple[str, ...]] = field(default_factory=dict)

    def on(self, day: date) -> tuple[str, ...]:
        special = self.holidays.get(day)
        return special if special is not None else self.weekdays.get(day.weekday(), self.spans)


ALL_HOURS = Hours()


def due(spans: tuple[str, ...], zone: str, wall_us: int) -> bool:
    """True when the moment lies in any of the daily spans."""
    return is_due(Hours(spans), zone, wall_us)


def is_due(hours: Hours, zone: str, wall_us: int) -> bool:
    return bool(stretches(hours, zone, wall_us, wall_us + 1))


def stretches(hours: Hours, zone: str, from_us: int, to_us: int) -> list[Stretch]:
    """The moments of [from, to) that are due: in order, apart from each other."""
    if from_us >= to_us:
        return []
    where = ZoneInfo(zone)
    days = _days(from_us, to_us, where)
    spans = (_stretch(day, span, where) for day in days for span in hours.on(day))
    return clip(merged(spans), from_us, to_us)


def night(zone: str, evening: date, span: str = NIGHT) -> Stretch:
    """The night that begins in the evening of this day."""
    return _stretch(evening, span, ZoneInfo(zone))


def window(zone: str, evening: date, span: str = NIGHT) -> Stretch:
    """The day that ends with this night: from where the night before ended until this one ends."""
    return night(zone, evening - timedelta(days=1), span)[1], night(zone, evening, span)[1]


def under_way(zone: str, wall_us: int, span: str = NIGHT) -> date:
    """The evening of the night whose day this moment belongs to: today's, or before its end yesterday's."""
    today = local_day(zone, wall_us)
    return today if window(zone, today, span)[0] <= wall_us else today - timedelta(days=1)


def local_day(zone: str, wall_us: int) -> date:
    return _local(wall_us, ZoneInfo(zone)).date()


def merged(found: Iterable[Stretch]) -> list[Stretch]:
    """In order, those that touch or overlap made one, empty ones left out."""
    joined: list[Stretch] = []
    for start, end in sorted(s for s in found if s[0] < s[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def clip(found: Iterable[Stretch], from_us: int, to_us: int) -> list[Stretch]:
    """The parts within [from, to)."""
    inside = ((max(start, from_us), min(end, to_us)) for start, end in found)
    return [s for s in inside if s[0] < s[1]]


def length_us(found: Iterable[Stretch]) -> int:
    return sum(end - start for start, end in found)


def _days(from_us: int, to_us: int, where: ZoneInfo) -> Iterator[date]:
    """Every day whose spans may reach into the range: the one before it, too."""
    day, last = _local(from_us, where).date() - timedelta(days=1), _local(to_us - 1, where).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def _stretch(day: date, span: str, where: ZoneInfo) -> Stretch:
    start, end = _parse(span)
    if end < start:
        end += DAY_MINUTES
    return _moment(day, start, where, last=False), _moment(day, end, where, last=True)


def _moment(day: date, minute: int, where: ZoneInfo, *, last: bool) -> int:
    """When the clocks there show this minute of the day; `last` of two times in autumn."""
    shown = datetime.combine(day, time()) + timedelta(minutes=minute)
    first_s, second_s = (int(shown.replace(tzinfo=where, fold=fold).timestamp()) for fold in (0, 1))
    if first_s > second_s:  # PEP 495: no clock ever shows it
        return _jump_s(second_s, first_s, where) * S_US
    return (second_s if last else first_s) * S_US


def _jump_s(before_s: int, after_s: int, where: ZoneInfo) -> int:
    """The second in (before, after] at which the offset changes."""
    offset = _offset(before_s, where)
    while after_s - before_s > 1:
        middle = (before_s + after_s) // 2
        before_s, after_s = (middle, after_s) if _offset(middle, where) == offset else (before_s, middle)
    return after_s


def _offset(at_s: int, where: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at_s, where).utcoffset()


def _local(wall_us: int, where: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(wall_us // S_US, UTC).astimezone(where)


def _parse(span: str) -> tuple[int, int]:
    start, end = span.split("-")
    return _minutes(start), _minutes(end)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
