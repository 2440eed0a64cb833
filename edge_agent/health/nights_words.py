"""Nightly records in words for people who were not there. Pure; docs/nights.md.

A sentence says what was observed. None says who: the box cannot see people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from edge_agent.health import wording
from edge_agent.health.chronicle import DARK, MUTED, UNKNOWN, UNUSABLE
from edge_agent.health.duty import MINUTE_US, Stretch
from edge_agent.health.nights import Minutes, NightRecord, Outage, Sight

STATES = {DARK: "dark", UNUSABLE: "without a usable picture", UNKNOWN: "not known", MUTED: "planned work"}
MAX_SENTENCES = 6
NO_NAMES: Mapping[str, str] = {}
MADE_MINUTES = 15  # after the night's end its record is made: what was seen last has been told by then


def duration(minutes: int) -> str:
    """`6 h 12 min`"""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def clock(us: int, zone: str, beside_us: int | None = None) -> str:
    """`22:04`, with the day when it is not that of `beside_us`."""
    at = _local(us, zone)
    if beside_us is not None and abs(us - beside_us) > 24 * 3_600_000_000:
        return f"{at.day} {at:%b} {at:%H:%M}"
    return f"{at:%H:%M}"


def iso(us: int, zone: str) -> str:
    """`2026-11-21 22:04:00`, as spreadsheets know a time; local to the site."""
    return f"{_local(us, zone):%Y-%m-%d %H:%M:%S}"


def evening(day: date) -> str:
    """`Sat 21 Nov 2026`"""
    return f"{day:%a} {day.day} {day:%b %Y}"


def zone_name(us: int, zone: str) -> str:
    return f"{_local(us, zone):%Z}"


def headline(record: NightRecord) -> str:
    """`3 of 8 cameras were dark for up to 6 h 12 min of the night.` Of one that is not over: `So far ...`, of
    the day too."""
    parts = [part for state in (DARK, UNUSABLE, UNKNOWN) if (part := _share(record, state))]
    if not parts:
        return _all_well(record)
    total = len(record.sights)
    (count, what), *rest = parts
    which = f"All {total} cameras" if count == total > 1 else f"{count} of {total} camera{'s' * (total != 1)}"
    first = f"{which} {'was' if count == 1 else 'were'} {what}{' of the night' if record.whole else ''}"
    first = first if record.whole else f"So far {first[:1].lower()}{first[1:]}"
    return "; ".join([first, *(f"{count} {what}" for count, what in rest)]) + "."


def _all_well(record: NightRecord) -> str:
    due = any(counted(record, sight).due for sight in record.sights)
    if not record.whole:
        return "So far every camera saw." if due else "So far no camera was to see."
    if not due:
        return "No camera was to see that night."
    worked = any(sight.night.muted for sight in record.sights)
    return f"Every camera saw all night{', but for planned work' if worked else ''}."


def counted(record: NightRecord, sight: Sight) -> Minutes:
    """What headlines count: the night; while it lasts, all that there is."""
    return sight.night if record.whole else sight.whole


def sentences(record: NightRecord, names: Mapping[str, str] = NO_NAMES) -> list[str]:
    """What befell the site or a camera, the longest first: a line an incident, even if it came again."""
    told = gathered(o for o in record.outages if o.state != MUTED)
    told.sort(key=lambda group: (-sum(_within_us(record, o) for o in group), group[0].since_us))
    lines = [account(record, group, names) for group in told[:MAX_SENTENCES]]
    more = len(told) - len(lines) + record.left_out
    lines += [f"{more} more, see the list."] if more else []
    return [*lines, installed(record)] if record.installed_us else lines


def gathered(outages: Iterable[Outage]) -> list[list[Outage]]:
    """Those of one incident that took the same cameras along, again and again, are one."""
    groups: dict[object, list[Outage]] = {}
    for number, o in enumerate(outages):
        same = (o.incident, o.cameras, o.state, o.verdict) if o.incident else number
        groups.setdefault(same, []).append(o)
    return list(groups.values())


def account(record: NightRecord, group: Sequence[Outage], names: Mapping[str, str]) -> str:
    """`Gate, 40 times from 22:00 to 23:09, 40 min in all: no pictures came from this camera (70 % sure).`"""
    first, last = group[0], group[-1]
    if len(group) == 1:
        return sentence(record, first, names)
    until_us = record.to_us if last.until_us is None else last.until_us
    spent_us = sum(end - start for start, end in (o.within(record.from_us, record.to_us) for o in group))
    when = (
        f"{clock(first.since_us, record.zone, record.to_us)} to {clock(until_us, record.zone, record.to_us)}"
    )
    times = f"{len(group)} times from {when}, {duration(round(spent_us / MINUTE_US))} in all"
    return f"{cameras(record, first, names)}, {times}: {_told(last)}."


def installed(record: NightRecord) -> str:
    """`No record before 22 Nov 2026, 15:20: this box was installed then.`"""
    return not_before(record.installed_us, record.zone)


def not_before(installed_us: int, zone: str) -> str:
    at = _local(installed_us, zone)
    return f"No record before {at.day} {at:%b %Y}, {at:%H:%M}: this box was installed then."


def first_night(zone: str, span: Stretch) -> str:
    """While no night is over yet: when the first will be, and what is to be found then."""
    begins, ends = _local(span[0], zone), _local(span[1], zone)
    made = _local(span[1] + MADE_MINUTES * MINUTE_US, zone)
    return (
        f"No night is over yet. The first, of {begins:%a} {begins.day} {begins:%b} from "
        f"{begins:%H:%M}, ends on {ends:%a} {ends.day} {ends:%b} at {ends:%H:%M}; its record, with what each "
        f"camera saw and why not the rest, is here from {made:%H:%M} on."
    )


def sentence(record: NightRecord, outage: Outage, names: Mapping[str, str] = NO_NAMES) -> str:
    """`All cameras, 22:04 to 04:16: the recorder could not be reached (60 % sure).`"""
    return f"{cameras(record, outage, names)}, {span(record, outage)}: {_told(outage)}."


def span(record: NightRecord, outage: Outage) -> str:
    """`22:04 to 04:16`, or `since 22:04`."""
    since = clock(outage.since_us, record.zone, record.to_us)
    if outage.until_us is None:
        return f"since {since}"
    return f"{since} to {clock(outage.until_us, record.zone, record.to_us)}"


def cameras(record: NightRecord, outage: Outage, names: Mapping[str, str] = NO_NAMES) -> str:
    """`All cameras`, or up to four names."""
    if len(outage.cameras) > 1 and len(outage.cameras) == len(record.sights):
        return "All cameras"
    shown = [names.get(camera) or camera for camera in outage.cameras]
    return ", ".join(shown) if len(shown) <= 4 else f"{', '.join(shown[:3])} and {len(shown) - 3} more"


def _told(outage: Outage) -> str:
    sure = f" ({outage.confidence} % sure)" if outage.confidence is not None else ""
    return f"{wording.then(outage.verdict)}{sure}"


def spent(minutes: Iterable[tuple[str, int]]) -> str:
    """`the recorder was off 5 h 40 min; ...`, the longest first."""
    ordered = sorted(minutes, key=lambda item: -item[1])
    return "; ".join(f"{wording.then(word)} {duration(count)}" for word, count in ordered)


def _share(record: NightRecord, state: str) -> tuple[int, str] | None:
    """How many cameras, and for how long at most."""
    hit = [minutes for s in record.sights if (minutes := counted(record, s).of(state))]
    if not hit:
        return None
    span = duration(max(hit)) if min(hit) == max(hit) else f"up to {duration(max(hit))}"
    return len(hit), f"{STATES[state]} for {span}"


def _within_us(record: NightRecord, outage: Outage) -> int:
    start, end = outage.within(record.dusk_us, record.to_us)
    return max(0, end - start)


def _local(us: int, zone: str) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, ZoneInfo(zone))
