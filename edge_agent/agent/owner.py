"""The owner: holds all of the agent's state, drains one inbox of facts, decides, and lets others act.

Main thread only. Nothing here blocks: what takes time runs in a worker and comes back as a fact.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event

from edge_agent.agent import handlers, local, roster
from edge_agent.agent.backup import BackupDesk
from edge_agent.agent.beats import Beats
from edge_agent.agent.cameras import Cameras, Watched, Wiring
from edge_agent.agent.chores import ChoreDone, ChoreFailed
from edge_agent.agent.config_watch import ConfigWatch
from edge_agent.agent.data_use import DataDesk
from edge_agent.agent.evidence import EvidenceDesk
from edge_agent.agent.finder import CameraPlaced, RecorderFailed, RecorderFound, credentials_of
from edge_agent.agent.footage import Footage
from edge_agent.agent.gaps import Gaps
from edge_agent.agent.jobs import Jobs, snapshots_wanted
from edge_agent.agent.journal import Journal
from edge_agent.agent.link import LinkDesk
from edge_agent.agent.night import NightDesk
from edge_agent.agent.nights import NightsDesk
from edge_agent.agent.parts import Parts
from edge_agent.agent.policy import PolicyDesk
from edge_agent.agent.reach import HostChecked
from edge_agent.agent.reports import RecorderView
from edge_agent.agent.snapshots import SnapshotDesk
from edge_agent.agent.viewings import Viewings
from edge_agent.capture.compat import StreamConverted
from edge_agent.capture.device_events import DeviceEvent, EventsLost
from edge_agent.capture.pictures import DecodingQuarantined, PictureFailed, PictureReady
from edge_agent.errors import DeviceError
from edge_agent.events import Fact, StreamLost, StreamStarted, WorkerFailed
from edge_agent.health.decisions import Sight
from edge_agent.health.watch import NightWatch
from edge_agent.host.control import ControlAsked
from edge_agent.model import Camera, StreamKey, StreamSpec
from edge_agent.seal.keys import stream_id
from edge_agent.uplink.facts import CommandArrived, CommandRefused

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 0.2
FIRST_PICTURE_EVERY_S = 300.0
SAVE_PAUSE_S = 2.0
STANDSTILL_S = 3.0
REDISCOVER_PAUSE_S = 60.0


class Owner:
    def __init__(self, parts: Parts, config_watch: ConfigWatch) -> None:
        self.parts = parts
        watch = NightWatch()
        self.cameras = Cameras(parts.config, watch.state)
        self.recorders: dict[str, RecorderView] = {}
        self.stream_ids: dict[StreamKey, bytes] = {}
        self.journal = Journal(parts.ledger, parts.run_id)
        self.footage = Footage(parts, self.journal)
        self.policy = PolicyDesk(self, self._policy_changed)
        self.cameras.schedule = self.policy.demand.schedule
        self.nights = NightsDesk(self)
        self.backup = BackupDesk(self)
        self.data_use = DataDesk(self)
        self.gaps = Gaps()
        self.viewings = Viewings(self)
        self._last = parts.alive.previous()
        self.link = LinkDesk(self, self._last)
        self.snapshots = SnapshotDesk(
            parts.capture, parts.pictures, parts.clock, parts.config.snapshots.quality
        )
        self.night = NightDesk(self, watch)
        self.evidence = EvidenceDesk(self)
        self.night.keeper = self.evidence
        self._config_watch = config_watch
        self._roster = roster.load(self._roster_path)
        self._jobs = Jobs(parts.config, self.take_scheduled_snapshots)
        self.beats = Beats(self)
        self._turned_ns = 0
        self._lockouts_due_s = self._rediscover_due_s = 0.0
        self._reactions: dict[type[Fact], Callable[..., None]] = {
            RecorderFound: self._recorder_found,
            RecorderFailed: self._recorder_failed,
            CameraPlaced: self._camera_placed,
            StreamStarted: self._stream_started,
            StreamLost: self._stream_lost,
            HostChecked: self._host_checked,
            DeviceEvent: self.cameras.hinted,
            EventsLost: self._events_lost,
            PictureReady: self.snapshots.came,
            PictureFailed: self.snapshots.failed,
            DecodingQuarantined: self._decoding_quarantined,
            StreamConverted: lambda fact: self.journal.converted(fact.key, fact.converted),
            CommandArrived: lambda fact: handlers.obey(self, fact.command),
            CommandRefused: self._command_refused,
            ControlAsked: lambda fact: local.answer(self, fact),
            WorkerFailed: self._worker_failed,
            ChoreDone: lambda fact: fact.then(fact.answer),
            ChoreFailed: lambda fact: fact.failed(fact.reason),
            **self.footage.reactions,
            **self.policy.reactions,
            **self.link.reactions,
        }

    def run(self, stop: Event) -> None:
        """Until `stop`: react to facts, let time pass."""
        self.journal.boot(self._last.ending.value, self._last.alive)
        self.night.begin(self._last)
        self._wire(self.cameras.admit(self._cameras_of_last_time(), self.parts.clock.now()))
        self._turned_ns = self.parts.clock.now().boot_ns
        while not stop.is_set():
            fact = self.parts.inbox.take(LONGEST_WAIT_S)
            self._notice_standstill()
            while fact is not None:
                self.react(fact)
                fact = self.parts.inbox.take(0)
            self.tick()
            if self._config_watch.edited(self.parts.clock.monotonic()):
                log.info("the configuration was edited: ending, to be started with it")
                self.journal.config_changed()
                return

    def _notice_standstill(self) -> None:
        """Frozen, suspended or starved: what was not watched then is nobody's outage but ours."""
        now = self.parts.clock.now()
        stood_s = (now.boot_ns - self._turned_ns) / 1e9
        self._turned_ns = now.boot_ns
        if stood_s > STANDSTILL_S:
            log.error("the agent itself stood still for %.0f s", stood_s)
            self.journal.stood_still(stood_s)
            self.night.stood_still(now, stood_s)

    def goodbye(self) -> None:
        """An orderly end: the last leaf, while the ledger still runs."""
        self.night.goodbye()
        self.journal.stop("stopped")

    def react(self, fact: Fact) -> None:
        reaction = self._reactions.get(type(fact))
        if reaction is not None:
            reaction(fact)
        self.night.sense(fact)

    def tick(self) -> None:
        now = self.parts.clock.now()
        self.night.tick(now)
        self.link.tick()
        self._jobs.run_due()
        self.nights.tick(now)
        self.backup.tick(now.boot_ns / 1e9)
        self.data_use.tick(now.boot_ns / 1e9)
        self._keep_lockouts()
        self.beats.tick()

    def take_scheduled_snapshots(self) -> None:
        """A picture of every camera that sees, for the command centre."""
        for watched in self.cameras:
            if watched.health.state is Sight.UP:
                self.publish_snapshot_of(watched)

    # Recorders and cameras.

    def _recorder_found(self, fact: RecorderFound) -> None:
        before = self.recorders.get(fact.recorder)
        self.recorders[fact.recorder] = RecorderView.of(fact)
        cameras = self._admit(fact.cameras)
        wiring = self.cameras.admit(cameras, fact.at)
        if before is None or before.sentence or wiring.start:
            log.info(
                "%s: %s %s at %s, %d cameras",
                fact.recorder,
                fact.make,
                fact.model,
                fact.address,
                len(cameras),
            )
        if before is not None and before.sentence:
            self.journal.recorder(fact.recorder, fact.address, "", "answers again")
        if fact.events is not None:
            self.parts.events.watch(fact.events)
            self.parts.device_clocks.watch(fact.recorder, fact.events.address, fact.events.port)
        self._wire(wiring)

    def _camera_placed(self, fact: CameraPlaced) -> None:
        self.recorders.pop(fact.camera.id, None)  # it may have failed to resolve before
        self._wire(self.cameras.admit(self._admit((fact.camera,)), fact.at))

    def _cameras_of_last_time(self) -> tuple[Camera, ...]:
        """Opened at once; their recorder may correct them when it has answered."""
        credentials = {}
        for recorder in self.parts.config.recorders:
            with contextlib.suppress(DeviceError):  # the finder will say what is wrong
                credentials[recorder.name] = credentials_of(recorder)
        return self._admit(roster.remembered(self._roster, credentials))

    def _admit(self, seen: tuple[Camera, ...]) -> tuple[Camera, ...]:
        fresh, cameras = roster.admit(self._roster, seen, self.parts.config.cameras)
        if fresh != self._roster:
            self._roster = fresh
            self._save_roster()
        return cameras

    def _recorder_failed(self, fact: RecorderFailed) -> None:
        before = self.recorders.get(fact.recorder)
        self.recorders[fact.recorder] = RecorderView.of(fact)
        if before is None or before.sentence != fact.sentence:
            again = f"; asking again in {fact.retry_in_s:.0f} s" if fact.retry_in_s else ""
            log.warning("%s%s", fact.sentence, again)
            self.journal.recorder(fact.recorder, fact.address, fact.step, fact.sentence)

    def _events_lost(self, fact: EventsLost) -> None:
        log.warning("%s", fact.sentence)
        self.cameras.forget_hints(fact.recorder)

    def _wire(self, wiring: Wiring) -> None:
        """Carry out what `Cameras.admit` decided, and tell the command centre who is here."""
        self.night.know(wiring.known)
        for key in wiring.stop:
            self.parts.capture.stop_stream(key)
        for key, camera, endpoint in wiring.start:
            self.stream_ids[key] = stream_id(self.parts.box.box_id, camera.uid, key.role)
            if self.parts.still_sealer is not None:
                self.parts.capture.tap(key)  # from now on it holds the newest group of pictures
            record = self.footage.records(key.role)
            self.parts.capture.start_stream(StreamSpec(key, endpoint, self.stream_ids[key], record))
        if wiring.start:
            self.journal.cameras([w.camera.id for w in self.cameras])
            self.link.say_who_is_here()

    @property
    def _roster_path(self) -> Path:
        return self.parts.config.state.directory / roster.NAME

    def _save_roster(self) -> None:
        try:
            roster.save(self._roster_path, self._roster)
        except OSError as error:
            log.error("%s: %s; camera ids may change at the next start", self._roster_path, error.strerror)

    # Sight.

    def _host_checked(self, fact: HostChecked) -> None:
        """A recorder that is gone from its address may have got another one."""
        self.cameras.checked(fact)
        now = self.parts.clock.monotonic()
        if not fact.reachable and now >= self._rediscover_due_s:
            self._rediscover_due_s = now + REDISCOVER_PAUSE_S
            self.parts.finder.rediscover()

    def _stream_started(self, fact: StreamStarted) -> None:
        self.gaps.started(fact)
        watched = self.cameras.get(fact.key.camera)
        if watched is not None and watched.camera.recorder in self.cameras.silent_recorders():
            self.parts.device_clocks.ask_now(watched.camera.recorder)  # it is back: since when does it run?
        self.cameras.started(fact)

    def _stream_lost(self, fact: StreamLost) -> None:
        self.footage.stream_lost(self.stream_ids.get(fact.key), fact.key.role)
        self.gaps.lost(fact)
        self.cameras.lost(fact)

    def take_first_snapshot(self, watched: Watched) -> None:
        """A camera that begins to see shows itself; one that flaps does not fill the link with pictures."""
        now = self.parts.clock.monotonic()
        if snapshots_wanted(self.parts.config) and now - watched.pictured > FIRST_PICTURE_EVERY_S:
            watched.pictured = now
            self.publish_snapshot_of(watched)

    def publish_snapshot_of(self, watched: Watched) -> None:
        camera = watched.camera.id
        self.snapshots.ask(camera, self.link.publish_snapshot, lambda why: log.info("%s", why))

    def _decoding_quarantined(self, fact: DecodingQuarantined) -> None:
        log.error("%s: %s", fact.key, fact.reason)
        self.journal.quarantined(str(fact.key), fact.reason)

    # The rest.

    def _policy_changed(self) -> None:
        self.cameras.schedule = self.policy.demand.schedule
        self.nights.rearm()

    def _keep_lockouts(self) -> None:
        """Write down who was refused, so that a restart does not try the same password twice more."""
        file = self.parts.lockouts
        now = self.parts.clock.monotonic()
        if file.due and now >= self._lockouts_due_s:
            self._lockouts_due_s = now + SAVE_PAUSE_S
            self.parts.chores.ask(file.save, lambda _: None, self._lockouts_lost)

    def _lockouts_lost(self, reason: str) -> None:
        self._lockouts_due_s = self.parts.clock.monotonic() + 60
        log.error(
            "wrong passwords cannot be written down (%s); they are counted anew after a restart", reason
        )

    def _command_refused(self, fact: CommandRefused) -> None:
        log.warning("command refused: %s", fact.text)
        self.link.refused(fact)

    def _worker_failed(self, fact: WorkerFailed) -> None:
        self.journal.worker_failed(fact.worker, fact.reason)
