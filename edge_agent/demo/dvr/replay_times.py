"""Recorded times moved to now: the device's clock keeps its error, its subscriptions their length. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_HALF_HOUR = timedelta(minutes=30)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?")
_CURRENT = re.compile(rf"<(?:\w+:)?CurrentTime>\s*(?P<moment>{_MOMENT.pattern})\s*<")
_FIELDS = ("Year", "Month", "Day", "Hour", "Minute", "Second")


def set_clock(text: str, device_now: datetime, taken: datetime) -> str:
    """GetSystemDateAndTime with its clocks at `device_now` (UTC); an impossible time stays as it was told.

    The local time keeps its distance from UTC; alone, its zone is guessed from when the bundle was `taken`.
    """
    utc, local = _read(text, "UTCDateTime"), _read(text, "LocalDateTime")
    zone = timedelta()
    if local is not None:
        zone = round((local - (utc or taken)) / _HALF_HOUR) * _HALF_HOUR
    if utc is not None:
        text = _written(text, "UTCDateTime", device_now)
    if local is not None:
        text = _written(text, "LocalDateTime", device_now + zone)
    return text


def shift(text: str, device_now: datetime) -> str:
    """Every moment of an event reply, moved so that its CurrentTime is `device_now`."""
    found = _CURRENT.search(text)
    current = _parsed(found["moment"]) if found else None
    if current is None:
        return text
    by = device_now.replace(microsecond=0) - current

    def moved(match: re.Match[str]) -> str:
        moment = _parsed(match[0])
        try:
            return (moment + by).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else match[0]
        except OverflowError:
            return match[0]

    return _MOMENT.sub(moved, text)


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?s)<(?P<tag>(?:\w+:)?{name})>(?P<inside>.{{0,2000}}?)</(?P=tag)>")


def _read(text: str, name: str) -> datetime | None:
    found = _block(name).search(text)
    if found is None:
        return None
    numbers = [re.search(rf"<(?:\w+:)?{field}>\s*(\d{{1,4}})\s*<", found["inside"]) for field in _FIELDS]
    try:
        year, month, day, hour, minute, second = (int(n[1]) if n else -1 for n in numbers)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _written(text: str, name: str, moment: datetime) -> str:
    values = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)

    def rewritten(found: re.Match[str]) -> str:
        inside = found[0]
        for field, value in zip(_FIELDS, values, strict=True):
            inside = re.sub(rf"(<(?:\w+:)?{field}>)[^<]*(<)", rf"\g<1>{value}\g<2>", inside, count=1)
        return inside

    return _block(name).sub(rewritten, text, count=1)


def _parsed(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
