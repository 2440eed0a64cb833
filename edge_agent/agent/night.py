"""The night watch's desk: facts become signals, signals decisions, decisions leaves. Main thread only.

Whatever the watch sees goes through the condenser first and into the signal log, so that a replay of the log
decides alike. Everything here goes on without the command centre; the ledger brings it there later.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from edge_agent.agent import darkness, reports, senses, works
from edge_agent.agent.eyes import Eyes
from edge_agent.agent.signal_file import SignalFile
from edge_agent.capture.device_events import DeviceEvent, EventKind, EventsLost
from edge_agent.capture.pictures import KeyframeMeasured
from edge_agent.events import Fact
from edge_agent.health import signal_log, slate
from edge_agent.health.condense import Condenser
from edge_agent.health.decisions import CameraTurned, Decision, IncidentTold, Sight
from edge_agent.health.signals import (
    BoxStoodStill,
    CameraKnown,
    ClockStepped,
    DeviceSaid,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
    WorkAnnounced,
)
from edge_agent.health.watch import NightWatch
from edge_agent.host.alive import LastRun
from edge_agent.model import Instant, Role
from edge_agent.uplink.messages import timestamp

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

BLIND = (Sight.DARK, Sight.UNUSABLE)
KEEP_US = 30_000_000  # of footage on either side of the change
OFTEN = 3  # what comes again so many times is on record, and raises no alarm each time
COLLAPSE = 5  # a stream whose other pictures shrink so many times at once is looked at closely


class EvidenceKeeper(Protocol):
    def keep(self, camera: str, from_us: int, to_us: int, why: str) -> None:
        """Copy a camera's records of this time to where no retention reaches them. Never blocks."""
        ...


class NightDesk:
    def __init__(self, owner: Owner, watch: NightWatch) -> None:
        parts = owner.parts
        self._owner = owner
        self._watch = watch
        self._condenser = Condenser()
        self._file = SignalFile(parts.config.state.directory / "signals", parts.chores)
        self._deltas: dict[tuple[str, Role], int] = {}
        self._kinds: dict[str, str] = {}
        self.keeper: EvidenceKeeper | None = None
        self.eyes = Eyes(parts.capture.keyframe, parts.pictures.measure, parts.config.watch.picture_s)

    # Signals.

    def begin(self, last: LastRun) -> None:
        parts = self._owner.parts
        self.observe(senses.started(last, parts.boot_id.hex()[:8], parts.clock.now()))
        for work in works.load(parts.config.state.directory, parts.clock.now()):
            self.observe(work)

    def know(self, cameras: tuple[CameraKnown, ...]) -> None:
        """Before any of their streams is started."""
        for camera in cameras:
            self.observe(camera)

    def sense(self, fact: Fact) -> None:
        """Whatever the agent learns; most of it says nothing to the watch."""
        signal = senses.read(fact)
        if isinstance(fact, KeyframeMeasured):
            self.eyes.took(fact)  # before it is judged: it may be the first bad picture
        if signal is not None:
            self._look_closer(signal)
            self.observe(signal)
        if isinstance(fact, DeviceEvent) and fact.kind is EventKind.REBOOTED:
            self._owner.parts.device_clocks.started(fact.recorder, fact.moment)
        elif isinstance(fact, EventsLost):
            self._owner.parts.device_clocks.doubt(fact.recorder)

    def observe(self, signal: Signal) -> None:
        if not self._condenser.keep(signal):
            return
        if isinstance(signal, StreamSilent):  # before it is called dark: is there mains, has our port a link?
            self._owner.parts.probes.hurry()
        self._file.note(signal_log.encode(signal, self._watch.now_ns), signal.at.wall_us)
        for decision in self._watch.observe(signal):
            self._carry_out(decision)

    def stood_still(self, now: Instant, seconds: float) -> None:
        self.observe(BoxStoodStill(now, seconds))

    def clock_stepped(self, now: Instant, step_s: float) -> None:
        self.observe(ClockStepped(now, step_s))

    def announce(self, cameras: tuple[str, ...], minutes: int, reason: str, who: str) -> None:
        """Planned work: what happens to these cameras (none: to all) meanwhile raises no alarm."""
        now = self._owner.parts.clock.now()
        work = WorkAnnounced(now, cameras, now.wall_us + minutes * 60_000_000, reason, who)
        self._owner.journal.work(
            {"cameras": list(cameras), "until": timestamp(work.until_us), "reason": reason[:256], "who": who}
        )
        self.observe(work)
        directory, left = self._owner.parts.config.state.directory, self.works
        self._owner.parts.chores.ask(
            lambda: works.save(directory, left),
            lambda _: None,
            lambda why: log.error("planned work holds, but is not kept over a restart: %s", why),
        )

    @property
    def works(self) -> tuple[WorkAnnounced, ...]:
        """Planned work, announced and not over."""
        return self._watch.works(self._owner.parts.clock.now().wall_us)

    def tick(self, now: Instant) -> None:
        for decision in self._watch.advance(now):
            self._carry_out(decision)
        seconds, parts = now.boot_ns / 1e9, self._owner.parts
        self.eyes.tick(self._watch.cameras, seconds)
        parts.reach.want(self._owner.cameras.silent_hosts())
        for recorder in self._owner.cameras.silent_recorders():
            parts.device_clocks.doubt(recorder)
        self._file.tick(seconds)

    def goodbye(self) -> None:
        self._file.flush()

    # Decisions.

    def _carry_out(self, decision: Decision) -> None:
        if isinstance(decision, CameraTurned):
            self._turned(decision)
        else:
            self._told(decision)

    def _turned(self, turn: CameraTurned) -> None:
        owner = self._owner
        watched = owner.cameras.get(turn.camera)
        if watched is None:
            return
        watched.cause = turn.cause
        leaf = reports.turned_leaf(turn, watched, owner.cameras.due(watched, turn.at.wall_us))
        if turn.state in BLIND and turn.before not in BLIND:
            leaf |= darkness.evidence(owner, self.eyes, turn)
            if turn.again < OFTEN:
                self._keep_footage(turn)
            if turn.state is Sight.UNUSABLE and not any(p["what"] == "bad" for p in leaf["pictures"]):
                owner.publish_snapshot_of(watched)  # what it shows instead comes a moment later, unnamed
        level = logging.INFO if turn.state is Sight.UP else logging.WARNING
        log.log(level, "%s: %s since %s", turn.camera, leaf["text"], leaf["since"])
        owner.journal.camera(leaf, alarm=turn.planned is None and turn.again < OFTEN)
        if turn.state is Sight.UP:
            owner.take_first_snapshot(watched)

    def _told(self, told: IncidentTold) -> None:
        leaf = reports.incident_leaf(told, {w.camera.id: w.camera.name for w in self._owner.cameras})
        for camera in told.incident.cameras:  # the newest word on why
            watched = self._owner.cameras.get(camera)
            if watched is not None and watched.health.incident == told.incident.id:
                watched.cause = told.incident.cause
        log.warning("incident %s %s: %s", told.incident.id, leaf["step"], leaf["text"])
        alarm = told.incident.planned is None and told.incident.again < OFTEN
        self._owner.journal.incident(leaf, alarm=alarm)
        self._owner.parts.probes.hurry()

    def _keep_footage(self, turn: CameraTurned) -> None:
        if self.keeper is not None:
            from_us, to_us = turn.since.wall_us - KEEP_US, turn.since.wall_us + KEEP_US
            self.keeper.keep(turn.camera, from_us, to_us, f"incident {turn.incident}")

    def _look_closer(self, signal: Signal) -> None:
        """What may be a slate or a covered lens is measured again soon, to be sure of it sooner."""
        for camera in self._suspicious(signal):
            self.eyes.hurry(camera, signal.at.boot_ns / 1e9)

    def _suspicious(self, signal: Signal) -> list[str]:
        """Cameras whose packets shrink, whose picture is another kind, or whose recorder says no video."""
        match signal:
            case StreamFlows():
                self._deltas.pop((signal.camera, signal.role), None)
            case StreamPulse():
                key = signal.camera, signal.role
                before, self._deltas[key] = self._deltas.get(key, 0), signal.delta_bytes
                return [signal.camera] if before > COLLAPSE * max(signal.delta_bytes, 1) else []
            case PictureMeasured():
                kind = slate.class_of(signal)
                before_kind, self._kinds[signal.camera] = self._kinds.get(signal.camera, kind), kind
                return [signal.camera] if kind != before_kind else []
            case DeviceSaid(kind=EventKind.VIDEO_LOSS.value, active=True):
                return [w.camera.id for w in self._owner.cameras.at(signal.recorder, signal.channel)]
        return []
