"""What the night watch decides: a camera's state has turned, an incident began, changed or ended. Pure.

A decision says what was observed and how sure the box is. It never says who: a box beside the recorder
cannot see people, and a record that guesses at one is worth nothing before an officer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.clock import timestamp
from edge_agent.model import Instant

MAX_LEAF_BYTES = 2048
MAX_EVIDENCE = 6
CAMERA_EVIDENCE = 2  # sixteen cameras fall at once; the incident has all of it
MAX_SAYS = 140

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]


class Sight(StrEnum):
    """What a camera's state is called everywhere: heartbeat, event, ledger, console."""

    UNKNOWN = "unknown"  # nobody can tell: the box itself could not see
    UP = "up"
    SUSPECT = "suspect"  # silent, not yet for long enough to be told
    DARK = "dark"  # no packets
    UNUSABLE = "unusable"  # packets, but no picture of the place


class Verdict(StrEnum):
    """Why, as far as a box beside the recorder can know (docs/design/night-watch.md has the table)."""

    POWER_CUT = "power_cut"
    BOX_POWER_LOST = "box_power_lost"
    BOX_SHUTDOWN = "box_shutdown"
    AGENT_STOPPED = "agent_stopped"
    AGENT_KILLED = "agent_killed"
    DVR_OFF_MAINS_PRESENT = "dvr_off_mains_present"
    DVR_OFF = "dvr_off"
    DVR_UNREACHABLE = "dvr_unreachable"
    DVR_REBOOT = "dvr_reboot"
    DVR_REFUSES = "dvr_refuses"
    ALL_CAMERAS_OFF = "all_cameras_off"
    CAMERA_LOST = "camera_lost"
    NO_SIGNAL_SLATE = "no_signal_slate"
    BLACK = "black"
    STREAM_REFUSED = "stream_refused"
    LOGIN_REFUSED = "login_refused"
    RECORDING_STOPPED = "recording_stopped"
    LAN_DOWN = "lan_down"
    WAN_DOWN = "wan_down"
    BROKER_DOWN = "broker_down"
    CLOCK_STEP = "clock_step"
    BOX_STOOD_STILL = "box_stood_still"
    UNDETERMINED = "undetermined"
    # Kept for the picture rules; nothing gives them yet.
    COVERED = "covered"
    BLURRED = "blurred"
    MOVED = "moved"
    FROZEN = "frozen"


class Scope(StrEnum):
    """What an incident befell."""

    CAMERA = "camera"
    RECORDER = "recorder"
    SITE = "site"
    BOX = "box"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation a verdict rests on: which sense, what it says in plain words, when (wall time)."""

    source: str
    says: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Planned:
    """Announced work: the decision is recorded, no alarm is raised until `until_us`."""

    reason: str
    until_us: int


@dataclass(frozen=True, slots=True)
class Cause:
    """A verdict with its confidence, 0-100, and what it rests on, strongest first."""

    verdict: Verdict
    confidence: int
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class CameraTurned:
    """A camera's state, or the incident that explains it, is another from `since` on.

    `before` lasted from `before_since` to `since`. `since` is when the state began: for `dark` the last
    packet, not the moment it was noticed (`at`). `incident` names what explains it; empty for `up`. `again`:
    how many times that incident had ended already and came again.
    """

    at: Instant
    camera: str
    before: Sight
    before_since: Instant
    state: Sight
    since: Instant
    cause: Cause | None
    incident: str = ""
    planned: Planned | None = None
    again: int = 0

    def to_leaf(self) -> dict[str, Json]:
        """The data of a `camera` leaf, at most 2 KB."""
        leaf: dict[str, Json] = {
            "camera": self.camera,
            "state": self.state.value,
            "since": timestamp(self.since.wall_us),
            "before": self.before.value,
            "before_since": timestamp(self.before_since.wall_us),
            "incident": self.incident,
        }
        if self.again:
            leaf["again"] = self.again
        return _fitted({**leaf, **_cause_fields(self.cause, CAMERA_EVIDENCE), **_planned_field(self.planned)})


@dataclass(frozen=True, slots=True)
class Incident:
    """One failure with everything it took along; the newest word of `id` holds. `again`: how many times it
    had ended already and came again."""

    id: str
    scope: Scope
    subject: str  # camera or recorder id; empty for the site, the box and the link
    cause: Cause
    cameras: tuple[str, ...]
    since: Instant
    until: Instant | None = None
    planned: Planned | None = None
    again: int = 0


@dataclass(frozen=True, slots=True)
class IncidentTold:
    """`into` names the incident that goes on in this one's place, when two proved to be one."""

    at: Instant
    incident: Incident
    into: str = ""

    def to_leaf(self) -> dict[str, Json]:
        """The data of an `incident` leaf, at most 2 KB: cameras that do not fit are counted in `more`."""
        told = self.incident
        leaf: dict[str, Json] = {
            "incident": told.id,
            "step": _STEPS[type(self)],
            "scope": told.scope.value,
            "subject": told.subject,
            "since": timestamp(told.since.wall_us),
            "until": timestamp(told.until.wall_us) if told.until else None,
            "cameras": list(told.cameras),
        }
        if self.into:
            leaf["into"] = self.into
        if told.again:
            leaf["again"] = told.again
        return _fitted({**leaf, **_cause_fields(told.cause), **_planned_field(told.planned)})


class IncidentOpened(IncidentTold):
    __slots__ = ()


class IncidentRevised(IncidentTold):
    """Another verdict, scope, confidence or set of cameras; also after the end, when the truth came late."""

    __slots__ = ()


class IncidentClosed(IncidentTold):
    __slots__ = ()


_STEPS: dict[type[IncidentTold], str] = {
    IncidentOpened: "opened",
    IncidentRevised: "revised",
    IncidentClosed: "closed",
}

Decision = CameraTurned | IncidentOpened | IncidentRevised | IncidentClosed


def kind(decision: Decision) -> str:
    """The type of the leaf that holds it."""
    return "camera" if isinstance(decision, CameraTurned) else "incident"


def _cause_fields(cause: Cause | None, evidence: int = MAX_EVIDENCE) -> dict[str, Json]:
    if cause is None:
        return {}
    return {
        "verdict": cause.verdict.value,
        "confidence": cause.confidence,
        "evidence": [
            {"source": e.source, "says": e.says[:MAX_SAYS], "at": timestamp(e.at_us)}
            for e in cause.evidence[:evidence]
        ],
    }


def _planned_field(planned: Planned | None) -> dict[str, Json]:
    if planned is None:
        return {}
    return {"planned": {"reason": planned.reason[:MAX_SAYS], "until": timestamp(planned.until_us)}}


def _fitted(leaf: dict[str, Json]) -> dict[str, Json]:
    """Cut to size: first the cameras beyond eight, then the weakest evidence."""
    cameras, evidence = leaf.get("cameras"), leaf.get("evidence")
    more = 0
    while _size(leaf) > MAX_LEAF_BYTES:
        if isinstance(cameras, list) and len(cameras) > 8:
            cameras.pop()
            more += 1
            leaf["more"] = more
        elif isinstance(evidence, list) and evidence:
            evidence.pop()
        else:
            break
    return leaf


def _size(leaf: dict[str, Json]) -> int:
    return len(json.dumps(leaf, ensure_ascii=False, separators=(",", ":")).encode())
