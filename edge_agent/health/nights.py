"""The nightly record: of the minutes in which each camera was to see, what became of them. Pure.

docs/nights.md tells how minutes are counted. `night_record` counts; the record is what leaves, pages and
tables are made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from edge_agent.health import duty
from edge_agent.health.chronicle import (
    DARK,
    MUTED,
    SEEN,
    UNKNOWN,
    UNUSABLE,
    Chronicle,
    Condition,
    Work,
)
from edge_agent.health.duty import MINUTE_US, Hours, Stretch
from edge_agent.health.scribe import HOLE_US

SAME_MOMENT_US = 60_000_000  # cameras of one incident fall silent within their recorder's timeouts
CLASSES = (SEEN, DARK, UNUSABLE, UNKNOWN, MUTED)


@dataclass(frozen=True, slots=True)
class Minutes:
    """Whole minutes; `due` is the sum of all others. Those not seen are told by verdict."""

    due: int = 0
    seen: int = 0
    muted: int = 0
    dark: Mapping[str, int] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    def of(self, state: str) -> int:
        match state:
            case "dark":
                return sum(self.dark.values())
            case "unusable":
                return sum(self.unusable.values())
            case "unknown":
                return sum(self.unknown.values())
        return self.seen if state == SEEN else self.muted

    def plus(self, other: Minutes) -> Minutes:
        return Minutes(
            self.due + other.due,
            self.seen + other.seen,
            self.muted + other.muted,
            _added(self.dark, other.dark),
            _added(self.unusable, other.unusable),
            _added(self.unknown, other.unknown),
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """One camera: the whole window, and the night of it apart. `idle`: when it need not see."""

    camera: str
    whole: Minutes
    night: Minutes
    idle: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """What befell these cameras, once. `until_us` is None while it lasts; it may reach out of the window."""

    cameras: tuple[str, ...]
    since_us: int
    until_us: int | None
    state: str
    verdict: str
    confidence: int | None = None
    incident: str = ""

    def within(self, from_us: int, to_us: int) -> Stretch:
        return max(self.since_us, from_us), min(self.until_us or to_us, to_us)


@dataclass(frozen=True, slots=True)
class NightRecord:
    """The day [from, to) that ends with the night [dusk, to) of `evening`. `whole` once all of it is over.

    `installed_us`, if it lies behind `from_us`: nothing was due before it.
    """

    evening: date
    zone: str
    from_us: int
    dusk_us: int
    to_us: int
    whole: bool
    sights: tuple[Sight, ...]
    outages: tuple[Outage, ...]
    works: tuple[Work, ...] = ()
    policy: int = 0  # version of the command centre's, 0: the box's own configuration
    left_out: int = 0  # outages that did not fit into the leaf
    installed_us: int = 0

    @property
    def before_its_time(self) -> bool:
        """There was no box yet: nothing can be told of that night, nor was anything due."""
        return self.installed_us >= self.to_us > 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When cameras must see: `hours` of those named, `usual` of the others."""

    zone: str
    usual: Hours = duty.ALL_HOURS
    hours: Mapping[str, Hours] = field(default_factory=dict)
    night: str = duty.NIGHT
    policy: int = 0

    def of(self, camera: str) -> Hours:
        return self.hours.get(camera, self.usual)


def night_record(
    told: Chronicle, schedule: Schedule, evening: date, now_us: int, cameras: Sequence[str] = ()
) -> NightRecord:
    """Of `cameras` (default: all that the ledger names), the day that ends with this evening's night.

    A night that is not over yet is told up to the ledger's last word. What was before the box's first start
    is neither due nor unknown.
    """
    from_us, end_us = duty.window(schedule.zone, evening, schedule.night)
    dusk_us = duty.night(schedule.zone, evening, schedule.night)[0]
    to_us = max(from_us, min(end_us, _reach_us(told, now_us)))
    sights, lines = [], []
    for camera in cameras or told.cameras():
        line = _with_work(told.between(camera, from_us, to_us), camera, told.works)
        due = duty.stretches(schedule.of(camera), schedule.zone, max(from_us, told.installed_us), to_us)
        sights.append(_sight(camera, line, due, min(dusk_us, to_us), (from_us, to_us)))
        lines += list(_outages(told, camera, line, due, to_us))
    works = tuple(w for w in told.works if w.from_us < to_us and w.until_us > from_us)
    return NightRecord(
        evening, schedule.zone, from_us, dusk_us, to_us, to_us == end_us, tuple(sights),
        tuple(_together(lines)), works, schedule.policy,
        installed_us=told.installed_us if told.installed_us > from_us else 0,
    )  # fmt: skip


def _reach_us(told: Chronicle, now_us: int) -> int:
    """How far things can be known: a minute's mark that is not written yet is no silence."""
    return told.told_us if told.told_us <= now_us < told.told_us + HOLE_US else now_us


Piece = tuple[int, int, Condition]


def _with_work(line: Iterable[Piece], camera: str, works: Sequence[Work]) -> list[Piece]:
    """Not seeing during planned work is muted; seeing is not."""
    mine = [w for w in works if not w.cameras or camera in w.cameras]
    pieces: list[Piece] = []
    for start, end, condition in line:
        planned = duty.clip(duty.merged((w.from_us, w.until_us) for w in mine), start, end)
        if condition.state == SEEN or not planned:
            pieces.append((start, end, condition))
            continue
        at_us = start
        for from_us, until_us in planned:
            pieces.append((at_us, from_us, condition))
            pieces.append((from_us, until_us, replace(condition, state=MUTED)))
            at_us = until_us
        pieces.append((at_us, end, condition))
    return [piece for piece in pieces if piece[0] < piece[1]]


def _sight(
    camera: str, line: Sequence[Piece], due: Sequence[Stretch], dusk_us: int, within: Stretch
) -> Sight:
    day = _count(line, duty.clip(due, within[0], dusk_us))
    night = _count(line, duty.clip(due, dusk_us, within[1]))
    return Sight(camera, day.plus(night), night, tuple(_between(due, *within)))


def _between(due: Sequence[Stretch], from_us: int, to_us: int) -> list[Stretch]:
    """What is left of the range."""
    starts = [from_us, *(end for _, end in due)]
    ends = [*(start for start, _ in due), to_us]
    return [(s, e) for s, e in zip(starts, ends, strict=True) if s < e]


def _count(line: Iterable[Piece], due: Sequence[Stretch]) -> Minutes:
    spent: dict[tuple[str, str], int] = {}
    for start, end, condition in line:
        length_us = duty.length_us(duty.clip(due, start, end))
        key = (condition.state, "" if condition.state in (SEEN, MUTED) else condition.verdict)
        if length_us:
            spent[key] = spent.get(key, 0) + length_us
    total = duty.length_us(due) // MINUTE_US
    rounded = _shared_out(spent, total)
    by = {state: {v: n for (s, v), n in rounded.items() if s == state and n} for state in CLASSES}
    return Minutes(
        total, by[SEEN].get("", 0), by[MUTED].get("", 0), by[DARK], by[UNUSABLE], by[UNKNOWN]
    )  # fmt: skip


def _shared_out(spent: Mapping[tuple[str, str], int], total: int) -> dict[tuple[str, str], int]:
    """Whole minutes that sum up to `total`: what is over goes to the largest remainders."""
    minutes = {key: us // MINUTE_US for key, us in spent.items()}
    over = total - sum(minutes.values())
    for key in sorted(spent, key=lambda key: (-(spent[key] % MINUTE_US), key))[:over]:
        minutes[key] += 1
    return minutes


def _outages(
    told: Chronicle, camera: str, line: Iterable[Piece], due: Sequence[Stretch], to_us: int
) -> Iterable[Outage]:
    """Those that touch the time in which the camera was to see, as long as they really lasted: beyond the
    ledger's last word nothing does that is not known to."""
    for start, end, condition in line:
        if condition.state == SEEN or not duty.clip(due, start, end):
            continue
        since_us, until_us = told.lasted(camera, start)
        if condition.state == MUTED:
            since_us, until_us = start, end
        open_end = until_us is None or (until_us >= told.told_us >= to_us and condition.state != UNKNOWN)
        yield Outage(
            (camera,), since_us or start, None if open_end else until_us,
            condition.state, condition.verdict, condition.confidence, condition.incident,
        )  # fmt: skip


def _together(outages: Iterable[Outage]) -> list[Outage]:
    """One line for what befell several cameras at once."""
    groups: list[Outage] = []
    for outage in sorted(outages, key=lambda o: (o.since_us, o.cameras)):
        for number in range(len(groups) - 1, -1, -1):
            if outage.since_us - groups[number].since_us > SAME_MOMENT_US:
                continue
            if _same(groups[number], outage):
                groups[number] = _joined(groups[number], outage)
                break
        else:
            groups.append(outage)
    return sorted(groups, key=lambda o: (o.since_us, o.cameras))


def _same(one: Outage, other: Outage) -> bool:
    what = (one.state, one.verdict, one.confidence, one.incident)
    if what != (other.state, other.verdict, other.confidence, other.incident):
        return False
    if set(one.cameras) & set(other.cameras):
        return False
    slack_us = SAME_MOMENT_US if one.incident else 0
    ends = one.until_us is None, other.until_us is None
    if any(ends):
        return all(ends) and other.since_us - one.since_us <= slack_us
    apart_us = abs((one.until_us or 0) - (other.until_us or 0))
    return other.since_us - one.since_us <= slack_us and apart_us <= slack_us


def _joined(one: Outage, other: Outage) -> Outage:
    until_us = None if one.until_us is None else max(one.until_us, other.until_us or 0)
    return replace(one, cameras=(*one.cameras, *other.cameras), until_us=until_us)


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *(k for k in other if k not in one))}
