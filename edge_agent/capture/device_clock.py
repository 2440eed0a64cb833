"""What time a device believes it is, from GetSystemDateAndTime (ONVIF Core, section 8) or its HTTP Date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from edge_agent.capture import soap
from edge_agent.errors import EdgeAgentError

_HALF_HOUR = timedelta(minutes=30)
_WIDEST_ZONE = timedelta(hours=14)


def read_clock(body: bytes, http_date: str, ours: datetime) -> datetime | None:
    """The device's UTC; None when neither the reply nor the HTTP header tells a possible time.

    `ours` (UTC) only helps to guess the time zone of a device that tells nothing but its local time.
    """
    try:
        answer = soap.find(soap.reply(body), "SystemDateAndTime")
    except EdgeAgentError:
        answer = None  # some demand a password for their clock, some answer with a web page
    if answer is not None:
        utc = _moment(answer, "UTCDateTime")
        if utc is not None:
            return utc
        local = _moment(answer, "LocalDateTime")
        if local is not None:
            return _without_zone(local, ours)
    return _http_date(http_date)


def spoken(offset_s: float) -> str:
    """How wrong a device's clock is, for people, after "its clock is". A second is the reply's own grain."""
    amount = abs(offset_s)
    if amount < 2:
        return "right"
    if amount < 120:
        told = f"{amount:.0f} s"
    elif amount < 7200:
        told = f"{amount / 60:.0f} min"
    elif amount < 172_800:
        told = f"{amount / 3600:.1f} h"
    else:
        told = f"{amount / 86_400:.0f} days"
    return f"{told} {'ahead' if offset_s > 0 else 'behind'}"


def _moment(answer: soap.Element, name: str) -> datetime | None:
    node = soap.find(answer, name)
    if node is None:
        return None
    fields = [soap.text(node, "Date", part) for part in ("Year", "Month", "Day")]
    fields += [soap.text(node, "Time", part) for part in ("Hour", "Minute", "Second")]
    try:
        year, month, day, hour, minute, second = (int(f) for f in fields)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:  # minute 61, year 0, an empty element
        return None


def _without_zone(local: datetime, ours: datetime) -> datetime:
    """Take off the whole half hours that can be a time zone; what remains is the clock's error."""
    difference = local - ours
    if abs(difference) > _WIDEST_ZONE:
        return local
    return local - round(difference / _HALF_HOUR) * _HALF_HOUR


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text[:60])
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
