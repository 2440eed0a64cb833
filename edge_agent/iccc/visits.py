"""The list to visit today: which sites did not see last night, the most serious first, by department. Pure.

Seriousness is the class of what was observed, then the minutes of camera time without sight while due in the
night. It accuses nobody: a lost internet line is no reason to visit, a cut of mains power one to call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from edge_agent.health import nights_words as words
from edge_agent.health import wording
from edge_agent.health.chronicle import DARK, MUTED, UNKNOWN, UNUSABLE
from edge_agent.health.nights import NightRecord, Outage

DEPARTMENTS: Mapping[str, str] = {
    "liquor_shop": "Excise",
    "petrol_pump": "Supply",
}
OTHERS = "Municipal"

ALL_NIGHT = 0.9  # of the night unknown at every camera: somebody should ask why

BRIEF_US = 30 * 60_000_000  # what was over after so long is no reason to drive there


class Urgency(IntEnum):
    """What to do about a site, the most urgent last."""

    NOTHING = 0
    CALL = 1  # nobody can tell, or mains power was gone: ask by telephone first
    VISIT = 2


_CALL = frozenset({"power_cut", "dvr_reboot", "login_refused"})
_NOTHING = frozenset({"wan_down", "broker_down", "clock_step", "box_stood_still", "starting", "ledger_hole"})


@dataclass(frozen=True, slots=True)
class Place:
    """A site as its signed birth tells it; `states` are its cameras' now, empty when it is not heard."""

    id: str
    name: str = ""
    kind: str = ""
    address: str = ""
    contact: str = ""
    zone: str = "Asia/Kolkata"
    states: Mapping[str, str] | None = None
    names: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One line of the list. `outage`, the worst, befell `cameras`, so many `times` from its beginning to its
    end; `others` befell the site beside it, each a list of the times it did.

    `lost` and `unknown` are minutes of the night, all cameras counted; `longest` is that of one camera.
    """

    place: Place
    department: str
    urgency: Urgency
    record: NightRecord
    outage: Outage | None
    cameras: tuple[str, ...]
    lost: int
    unknown: int
    now: str
    longest: int = 0
    times: int = 1
    others: tuple[tuple[Outage, ...], ...] = ()

    @property
    def reason(self) -> str:
        if self.outage is None:
            return "nothing is known of the night"
        often = f", {self.times} times" if self.times > 1 else ""
        return f"{wording.then(self.outage.verdict)}{often}"


def department(kind: str, mapping: Mapping[str, str]) -> str:
    """`mapping` by kind wins over the usual one; its key `other` names who gets the rest."""
    kind = kind.replace(" ", "_")
    return mapping.get(kind) or DEPARTMENTS.get(kind) or mapping.get("other", OTHERS)


def visits(nights: Iterable[tuple[Place, NightRecord]], mapping: Mapping[str, str]) -> list[Visit]:
    """Sites with something to do, the most serious first."""
    found = [visit for place, record in nights if (visit := _visit(place, record, mapping)) is not None]
    return sorted(found, key=lambda v: (-v.urgency, -v.lost, -v.unknown, v.place.name, v.place.id))


def _visit(place: Place, record: NightRecord, mapping: Mapping[str, str]) -> Visit | None:
    lost = sum(s.night.of(DARK) + s.night.of(UNUSABLE) for s in record.sights)
    unknown = sum(s.night.of(UNKNOWN) for s in record.sights)
    outages = [o for o in record.outages if o.state != MUTED and _night_us(record, o)]
    groups = [(_whole(group), tuple(group)) for group in words.gathered(outages)]
    groups.sort(key=lambda g: (-_urgency(record, g[0]), -_night_us(record, g[0]) * len(g[0].cameras)))
    telling = [(whole, group) for whole, group in groups if _urgency(record, whole)]
    if not telling:
        return None
    (outage, times), others = telling[0], tuple(group for _, group in telling[1:])
    hit = dict.fromkeys(camera for whole, _ in telling for camera in whole.cameras)
    longest = max(s.night.of(DARK) + s.night.of(UNUSABLE) or s.night.of(UNKNOWN) for s in record.sights)
    return Visit(
        place, department(place.kind, mapping), _urgency(record, outage), record, outage, outage.cameras,
        lost, unknown, _now(place, hit), longest, len(times), others,
    )  # fmt: skip


def _whole(group: Sequence[Outage]) -> Outage:
    """What came again and again, from its beginning to its end."""
    return replace(group[0], until_us=group[-1].until_us)


def _urgency(record: NightRecord, outage: Outage) -> Urgency:
    if outage.verdict in _NOTHING:
        return Urgency.NOTHING
    if outage.state == UNKNOWN:
        due = sum(s.night.due for s in record.sights)
        unknown = sum(s.night.of(UNKNOWN) for s in record.sights)
        long = outage.verdict != "no_record" or unknown >= ALL_NIGHT * due
        return Urgency.CALL if due and long and _night_us(record, outage) >= BRIEF_US else Urgency.NOTHING
    over = outage.until_us is not None and _night_us(record, outage) < BRIEF_US
    return Urgency.CALL if over or outage.verdict in _CALL else Urgency.VISIT


def _now(place: Place, cameras: Iterable[str]) -> str:
    if place.states is None:
        return "the site is not heard"
    states = [place.states.get(camera, "unknown") for camera in cameras]
    blind = sum(state in ("dark", "unusable") for state in states)
    if blind:
        return f"{blind} of {len(states)} still dark" if len(states) > 1 else "still dark"
    return "seeing again" if all(state in ("up", "suspect") for state in states) else "not known"


def _night_us(record: NightRecord, outage: Outage) -> int:
    start, end = outage.within(record.dusk_us, record.to_us)
    return max(0, end - start)


COLUMNS = (
    "rank", "department", "urgency", "site", "name", "kind", "address", "contact", "night", "cameras",
    "since", "until", "verdict", "observed", "confidence_percent", "others", "night_longest_min",
    "night_lost_min", "night_unknown_min", "now", "evidence",
)  # fmt: skip


def row(rank: int, visit: Visit, evidence: str) -> tuple[str | int, ...]:
    """As `COLUMNS`; times are ISO, local to the site."""
    place, outage, zone = visit.place, visit.outage, visit.record.zone
    return (
        rank, visit.department, visit.urgency.name.lower(), place.id, place.name, place.kind, place.address,
        place.contact, visit.record.evening.isoformat(), " ".join(visit.cameras),
        words.iso(outage.since_us, zone) if outage else "",
        words.iso(outage.until_us, zone) if outage and outage.until_us is not None else "",
        outage.verdict if outage else "", visit.reason,
        "" if outage is None or outage.confidence is None else outage.confidence,
        "; ".join(f"{' '.join(o.cameras)} {o.verdict}" for o, *_ in visit.others), visit.longest,
        visit.lost, visit.unknown, visit.now, evidence,
    )  # fmt: skip
