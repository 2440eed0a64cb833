"""When must a camera see? Local wall time against spans such as 20:00-06:00 (pure)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

ALWAYS = ("00:00-24:00",)


def due(spans: tuple[str, ...], zone: str, wall_us: int) -> bool:
    """True when the moment lies in any span; a span whose end is before its start passes midnight."""
    local = datetime.fromtimestamp(wall_us / 1e6, UTC).astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    return any(_within(minute, *_parse(span)) for span in spans)


def _within(minute: int, start: int, end: int) -> bool:
    if start <= end:
        return start <= minute < end
    return minute >= start or minute < end


def _parse(span: str) -> tuple[int, int]:
    start, end = span.split("-")
    return _minutes(start), _minutes(end)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
