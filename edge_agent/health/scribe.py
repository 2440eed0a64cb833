"""Reads leaves into a chronicle. Pure; docs/nights.md.

Leaves are read in the order of their writing. A later word replaces an earlier one from its `since` on: a
camera that fell silent at 22:04 is told at 22:05, and why it did perhaps at 22:09. Where nobody watched, or
nothing is written, the line says unknown and the reason; nothing is ever guessed to be dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from edge_agent.health.chronicle import (
    DARK,
    HOLE,
    NO_RECORD,
    SEEN,
    STARTING,
    UNDETERMINED,
    UNKNOWN,
    UNUSABLE,
    Chronicle,
    Condition,
    Turn,
    Work,
)

HOLE_US = 180_000_000  # a mark comes each minute; what is missing for longer was not written, or is lost
MAX_TURNS = 20_000  # of one camera: a flapping one must not fill the memory
MAX_CAMERAS = 512
MAX_WORKS = 1_000
MAX_AFFAIRS = 20_000
MAX_WORD = 64
FAR_US = 2**53
TRUSTED = 2  # the clock was set by NTP, or better


_ENDINGS = {"power_lost": "box_power_lost", "killed": "agent_killed", "stopped": "agent_stopped",
            "box_shutdown": "box_shutdown", "unreadable": "agent_off", "first_start": NO_RECORD}  # fmt: skip
_ABSENCES = frozenset(_ENDINGS.values()) - {NO_RECORD}
_WHY_ABSENT = _ABSENCES | {"power_cut"}  # a box whose cable is out watches on
_STATES = {"up": SEEN, "suspect": SEEN, "dark": DARK, "unusable": UNUSABLE}
_LETTERS = {"u": SEEN, "q": SEEN, "l": DARK, "d": UNUSABLE}


@dataclass(frozen=True, slots=True)
class Affair:
    """The newest word of an incident: what it befell, and why."""

    scope: str
    verdict: str
    confidence: int | None


class Moment(Protocol):
    @property
    def wall_us(self) -> int: ...
    @property
    def boot_ns(self) -> int: ...
    @property
    def trust(self) -> int: ...


class Told(Protocol):
    """A leaf of the ledger, read back (`edge_agent.ledger.leaf.Leaf`)."""

    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> Moment: ...
    @property
    def boot(self) -> str: ...
    @property
    def data(self) -> Mapping[str, object]: ...


def chronicle(leaves: Sequence[Told]) -> Chronicle:
    """Read leaves, oldest first. Kinds and fields that are not known here are passed over.

    What was written before the clock was set is moved to where it belongs: boottime ran on.
    """
    scribe = _Scribe(_offsets(leaves))
    for leaf in leaves:
        scribe.take(leaf)
    return scribe.written()


def _offsets(leaves: Iterable[Told]) -> dict[str, int]:
    """Of each boot: wall time minus boottime, microseconds, when the clock was first trusted."""
    found: dict[str, int] = {}
    for leaf in leaves:
        if leaf.at.trust >= TRUSTED:
            found.setdefault(leaf.boot, leaf.at.wall_us - leaf.at.boot_ns // 1000)
    return found


@dataclass(slots=True)
class _Line:
    """One camera's turns while they are being written."""

    turns: list[Turn] = field(default_factory=list)

    def turn(self, at_us: int, now: Condition) -> None:
        """From this moment on it was so, whatever was written before."""
        while self.turns and self.turns[-1].at_us >= at_us:
            self.turns.pop()
        if not self.turns or self.turns[-1].now != now:
            self.turns.append(Turn(at_us, now))
        if len(self.turns) > MAX_TURNS:
            del self.turns[: MAX_TURNS // 2]  # before what is left, nothing is known

    def first(self, at_us: int, now: Condition) -> None:
        if not self.turns:
            self.turns.append(Turn(at_us, now))

    def now(self) -> Condition:
        return self.turns[-1].now if self.turns else Condition(UNKNOWN, NO_RECORD)

    def explain(self, incident: str, affair: Affair, into: str) -> None:
        """The verdict over an incident holds for all that it took along; `into` goes on in its place."""
        self.turns = [
            replace(
                turn,
                now=replace(turn.now, verdict=affair.verdict, confidence=affair.confidence, incident=into),
            )
            if turn.now.incident == incident
            else turn
            for turn in self.turns
        ]

    def explain_absence(self, incident: str, affair: Affair, from_us: int, until_us: int) -> None:
        """Why the box itself could not watch, as it found out afterwards."""
        self.turns = [
            replace(turn, now=Condition(UNKNOWN, affair.verdict, affair.confidence, incident))
            if turn.now.verdict in _ABSENCES and from_us <= turn.at_us < until_us
            else turn
            for turn in self.turns
        ]


class _Scribe:
    def __init__(self, offsets: Mapping[str, int]) -> None:
        self._offsets = offsets
        self._lines: dict[str, _Line] = {}
        self._order: list[str] = []
        self._doubtful: set[str] = set()  # what was said of them last may be overtaken by what is lost
        self._works: list[Work] = []
        self._affairs: dict[str, Affair] = {}
        self._run_us = 0  # when this run of the agent began: it cannot know of earlier
        self._begun_us = self._told_us = self._installed_us = 0
        self._stopped = False
        self._shift_us = 0  # by what the leaf's clock was wrong, as far as its boot knew later

    def take(self, leaf: Told) -> None:
        self._shift_us = self._wrong_by(leaf)
        at_us = leaf.at.wall_us + self._shift_us
        if leaf.kind == "boot":
            self._booted(leaf, at_us)
        elif self._told_us and at_us - self._told_us > HOLE_US:
            self._hole(self._told_us, at_us)
        data = leaf.data
        match leaf.kind:
            case "cameras":
                self._order = list(_words(data.get("ids")))
                for camera in self._order:
                    self._line(camera).first(min(self._run_us or at_us, at_us), Condition(UNKNOWN, STARTING))
            case "camera":
                self._camera(leaf, at_us)
            case "incident":
                self._incident(data, at_us)
            case "mark":
                self._mark(data, at_us)
            case "standstill":
                lost_s = data.get("lost_s")
                if isinstance(lost_s, int | float) and 0 < lost_s < 1e9:
                    self._missing(at_us - int(lost_s * 1e6), at_us, Condition(UNKNOWN, "box_stood_still"))
            case "work":
                self._work(data, at_us)
            case "stop":
                self._stopped = True
                self._all_turn(at_us, Condition(UNKNOWN, "agent_stopped"))
        self._begun_us = self._begun_us or at_us
        self._told_us = at_us

    def _wrong_by(self, leaf: Told) -> int:
        offset_us = self._offsets.get(leaf.boot)
        if leaf.at.trust >= TRUSTED or offset_us is None:
            return 0
        return offset_us - (leaf.at.wall_us - leaf.at.boot_ns // 1000)

    def written(self) -> Chronicle:
        """After the last word nothing is known any more, unless it was a farewell."""
        if not self._stopped:
            self._all_turn(self._told_us, Condition(UNKNOWN, NO_RECORD))
        turns = {camera: tuple(line.turns) for camera, line in self._lines.items()}
        return Chronicle(turns, tuple(self._works), self._begun_us, self._told_us, self._installed_us)

    def _booted(self, leaf: Told, at_us: int) -> None:
        """The agent did not run from its last sign of life until now; every camera is looked at anew."""
        before = _word(leaf.data.get("before"))
        if self._told_us:
            alive_us = max(self._told_us, _wall_us(leaf.data.get("alive")) or 0)
            self._all_turn(min(alive_us, at_us), Condition(UNKNOWN, _ENDINGS.get(before, "agent_off")))
        elif before == "first_start":
            self._installed_us = at_us
        self._all_turn(at_us, Condition(UNKNOWN, STARTING))
        self._run_us, self._stopped = at_us, False

    def _camera(self, leaf: Told, at_us: int) -> None:
        data = leaf.data
        camera = _word(data.get("camera"))
        state = _STATES.get(_word(data.get("state")), UNKNOWN)
        if not camera:
            return
        since_us = min(max(self._moment(data.get("since"), at_us), self._run_us), at_us)
        now = Condition(SEEN)
        if state != SEEN:
            verdict, confidence = _word(data.get("verdict")) or UNDETERMINED, _percent(data)
            now = Condition(state, verdict, confidence, _word(data.get("incident")))
            self._planned(data, since_us, (camera,))
        self._line(camera).turn(since_us, now)
        self._doubtful.discard(camera)

    def _incident(self, data: Mapping[str, object], at_us: int) -> None:
        """The newest word of what befell several cameras, or the box; perhaps better known than at first."""
        incident = _word(data.get("incident"))
        if not incident or (incident not in self._affairs and len(self._affairs) >= MAX_AFFAIRS):
            return
        verdict = _word(data.get("verdict")) or UNDETERMINED
        affair = Affair(_word(data.get("scope")), verdict, _percent(data))
        self._affairs[incident] = affair
        into = _word(data.get("into")) or incident
        since_us = self._moment(data.get("since"), at_us)
        until_us = self._moment(data.get("until"), at_us)
        for line in self._lines.values():
            line.explain(incident, self._affairs.get(into, affair), into)
            if affair.scope == "box" and affair.verdict in _WHY_ABSENT:
                line.explain_absence(into, affair, since_us - HOLE_US, until_us)
        cameras = data.get("cameras")
        self._planned(data, since_us, _words(cameras))

    def _planned(self, data: Mapping[str, object], from_us: int, cameras: tuple[str, ...]) -> None:
        """An outage that planned work explains, up to the work's announced end."""
        planned = data.get("planned")
        if isinstance(planned, dict) and cameras:
            until_us, reason = self._moment(planned.get("until"), 0), _word(planned.get("reason"), 256)
            self._announced(Work(from_us, until_us, cameras, reason, ""))

    def _mark(self, data: Mapping[str, object], at_us: int) -> None:
        """A letter a camera: it fills in where the camera's own word is not known, or may be lost."""
        letters = data.get("cam")
        if not isinstance(letters, str) or len(letters) != len(self._order):
            return
        for camera, letter in zip(self._order, letters, strict=True):
            line, state = self._line(camera), _LETTERS.get(letter)
            now = line.now()
            silent = now.verdict in (NO_RECORD, HOLE, STARTING)
            changed = camera in self._doubtful and (now.state == SEEN) != (state == SEEN)
            if state is not None and (silent or changed):
                line.turn(at_us, Condition(state, "" if state == SEEN else UNDETERMINED))
        self._doubtful.clear()

    def _work(self, data: Mapping[str, object], at_us: int) -> None:
        """A later word on the same cameras holds from now on; one that is over already ends the work."""
        cameras, until_us = _words(data.get("cameras")), self._moment(data.get("until"), 0)
        over = until_us <= at_us
        self._works = [
            replace(work, until_us=at_us)
            if work.until_us > at_us and _is_replaced(work, cameras, over)
            else work
            for work in self._works
        ]
        self._works = [work for work in self._works if work.until_us > work.from_us]
        reason, who = _word(data.get("reason"), 256), _word(data.get("who"))
        self._announced(Work(at_us, until_us, cameras, reason, who))

    def _announced(self, work: Work) -> None:
        if work.until_us > work.from_us and work not in self._works and len(self._works) < MAX_WORKS:
            self._works.append(work)

    def _hole(self, from_us: int, to_us: int) -> None:
        if not self._stopped:
            self._missing(from_us, to_us, Condition(UNKNOWN, HOLE))
            self._doubtful.update(self._lines)

    def _missing(self, from_us: int, to_us: int, why: Condition) -> None:
        """Nobody watched for a while; then everything was as before, until somebody says otherwise."""
        for line in self._lines.values():
            before = line.now()
            line.turn(max(from_us, self._run_us), why)
            line.turn(to_us, before)

    def _all_turn(self, at_us: int, now: Condition) -> None:
        for line in self._lines.values():
            line.turn(at_us, now)

    def _moment(self, text: object, default_us: int) -> int:
        told_us = _wall_us(text)
        return default_us if told_us is None else told_us + self._shift_us

    def _line(self, camera: str) -> _Line:
        if camera not in self._lines and len(self._lines) >= MAX_CAMERAS:
            return _Line()  # written to nowhere: no site has so many
        return self._lines.setdefault(camera, _Line())


def _is_replaced(work: Work, cameras: tuple[str, ...], over: bool) -> bool:
    """Who ends work at all cameras ends every work. What an outage told of a work goes with it."""
    if not cameras:
        return over or not work.cameras or not work.who
    return set(work.cameras) == set(cameras) or (not work.who and set(work.cameras) <= set(cameras))


def _word(value: object, longest: int = MAX_WORD) -> str:
    return value[:longest] if isinstance(value, str) else ""


def _words(value: object) -> tuple[str, ...]:
    return tuple(_word(v) for v in value[:MAX_CAMERAS]) if isinstance(value, list) else ()


def _percent(data: Mapping[str, object]) -> int | None:
    told = data.get("confidence")
    return min(max(told, 0), 100) if isinstance(told, int) else None


def _wall_us(text: object) -> int | None:
    """Microseconds of a time as leaves write it, `2026-11-22T18:30:00.250Z`."""
    if not isinstance(text, str) or len(text) > 32:
        return None
    try:
        at = datetime.fromisoformat(text)
        return min(max(round(at.timestamp() * 1e6), 0), FAR_US) if at.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
