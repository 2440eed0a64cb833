"""The night watch: signals in, decisions out; the same signals always give the same decisions. Pure.

Every signal the box has is observed in the order of its coming. Time passes by `advance` and by the signals
themselves; what becomes due in between is decided at its own moment, however late the call comes, so that a
replay of the signals decides alike. docs/design/night-watch.md has states, verdicts and thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.health import box
from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Decision, Incident, Sight
from edge_agent.health.incidents import Incidents
from edge_agent.health.links import Links
from edge_agent.health.signals import (
    BoxStarted,
    BoxStoodStill,
    CameraKnown,
    ClockStepped,
    DeviceClock,
    DeviceQuiet,
    DeviceSaid,
    HostKnocked,
    MainsSeen,
    NetSeen,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
    WorkAnnounced,
)
from edge_agent.health.site import VIDEO_LOSS
from edge_agent.health.world import World
from edge_agent.model import Instant


class NightWatch:
    """One a run of the agent. Not thread-safe: the owner's. The first signal of a run is `BoxStarted`."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._world = World()
        self._incidents = Incidents(self._world)
        self._links = Links(self._world, self._incidents)
        self._awake_ns = 0
        self._reactions: dict[type[Signal], Callable[[Any], None]] = {
            CameraKnown: self._known,
            StreamFlows: self._flows,
            StreamSilent: self._silent,
            StreamPulse: self._pulse,
            PictureMeasured: self._picture,
            DeviceSaid: self._said,
            DeviceQuiet: self._quiet,
            HostKnocked: self._knocked,
            DeviceClock: self._clock_told,
            MainsSeen: self._links.mains_seen,
            NetSeen: self._links.net_seen,
            BoxStarted: self._started,
            BoxStoodStill: self._stood_still,
            ClockStepped: self._clock_stepped,
            WorkAnnounced: self._announced,
        }

    # What is asked of it.

    def observe(self, signal: Signal) -> list[Decision]:
        """Take one signal; returns what is decided up to it and because of it, in order."""
        if isinstance(signal, BoxStarted) and self._world.now.boot_ns:
            self._begin()  # in a replay: the run before ended here, with whatever it had open
        if self._world.now.boot_ns == 0:
            self._world.now = signal.at
        self._pass(signal.at.boot_ns)
        self._world.follow(signal.at)
        self._reactions[type(signal)](signal)
        return self._taken()

    def advance(self, now: Instant) -> list[Decision]:
        """Let time pass to `now` without a signal."""
        if self._world.now.boot_ns == 0:
            self._world.now = now
        self._pass(now.boot_ns)
        return self._taken()

    @property
    def now_ns(self) -> int:
        """How far it has watched, boottime. The signal log keeps it, for a replay to advance as far."""
        return self._world.now.boot_ns

    def state(self, camera: str) -> CameraWatch | None:
        """What is known of a camera; to be read, not to be changed."""
        return self._world.cameras.get(camera)

    @property
    def cameras(self) -> tuple[CameraWatch, ...]:
        return tuple(self._world.cameras.values())

    def works(self, wall_us: int) -> tuple[WorkAnnounced, ...]:
        """Planned work, announced and not over."""
        return self._world.site.works(wall_us)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """The open ones, as they were told last."""
        return self._incidents.open

    # Packets.

    def _known(self, signal: CameraKnown) -> None:
        camera = self._world.cameras.get(signal.camera)
        if camera is None:
            camera = self._world.cameras[signal.camera] = CameraWatch.begin(signal)
            self._wait_for_dark(camera)
        camera.place = signal

    def _flows(self, signal: StreamFlows) -> None:
        camera = self._world.cameras.get(signal.camera)
        if camera is None:
            return
        was_flowing = bool(camera.flowing)
        camera.flows(signal)
        if was_flowing:
            return
        self._world.deadlines.clear(f"dark:{camera.id}")
        if camera.told is Sight.UP:
            camera.state, camera.since = Sight.UP, camera.told_since  # a hiccup is nothing
        else:
            self._incidents.returned(camera, signal.at)

    def _silent(self, signal: StreamSilent) -> None:
        camera = self._world.cameras.get(signal.camera)
        if camera is None:
            return
        camera.falls_silent(signal)
        if camera.incident and camera.told is not Sight.UNUSABLE:
            self._incidents.touch_recorder(camera.place.recorder)
        elif not camera.flowing:
            if camera.told is not Sight.UNKNOWN:
                camera.state, camera.since = Sight.SUSPECT, camera.last_packet
            self._wait_for_dark(camera)

    def _wait_for_dark(self, camera: CameraWatch) -> None:
        due_ns = camera.dark_at_ns(self._awake_ns)
        if due_ns <= self._world.now.boot_ns:
            self._gone_dark(camera)
        else:
            self._world.deadlines.set(f"dark:{camera.id}", due_ns)

    def _gone_dark(self, camera: CameraWatch) -> None:
        self._world.deadlines.clear(f"dark:{camera.id}")
        if camera.told is Sight.UNUSABLE:
            self._incidents.leave(camera)
        self._incidents.fell(camera)

    # Pictures.

    def _pulse(self, signal: StreamPulse) -> None:
        camera = self._world.cameras.get(signal.camera)
        stream = camera.flowing.get(signal.role) if camera else None
        if camera is not None and stream is not None:
            camera.sense.pulse(signal, stream.width * stream.height)
            self._look(camera)

    def _picture(self, signal: PictureMeasured) -> None:
        camera = self._world.cameras.get(signal.camera)
        if camera is not None and camera.flowing:
            camera.sense.picture(signal)
            self._look(camera)

    def _look(self, camera: CameraWatch) -> None:
        """Does what flows show the place?"""
        if not camera.flowing:
            return
        hint = self._world.site.hint(camera.place.recorder, camera.place.channel, VIDEO_LOSS)
        opinion = camera.sense.opinion(hint)
        if opinion is None:
            if camera.told is Sight.UNUSABLE and camera.sees_again(self._world.now):
                self._incidents.returned(camera, self._world.now)
            return
        camera.doubted = None
        if camera.told is Sight.UP:
            camera.since = max(opinion.since, camera.told_since, key=lambda at: at.boot_ns)
            camera.blind_since = camera.since
            self._incidents.fell(camera)

    # The recorder.

    def _said(self, signal: DeviceSaid) -> None:
        self._world.site.said(signal)
        if signal.kind == VIDEO_LOSS:
            self._hints_changed(signal.recorder)
        self._links.storage(signal.recorder)

    def _quiet(self, signal: DeviceQuiet) -> None:
        self._world.site.quiet(signal)
        self._hints_changed(signal.recorder)
        self._links.storage(signal.recorder)

    def _hints_changed(self, recorder: str) -> None:
        self._incidents.touch_recorder(recorder)
        for camera in self._world.recorder(recorder):
            self._look(camera)

    def _knocked(self, signal: HostKnocked) -> None:
        self._world.site.knocks[signal.host] = signal
        for recorder in {c.place.recorder for c in self.cameras if c.place.host == signal.host}:
            self._incidents.touch_recorder(recorder)

    def _clock_told(self, signal: DeviceClock) -> None:
        step_s = self._world.site.clock_told(signal)
        box.recorder_clock(self._incidents, signal, step_s)
        if signal.started_us is not None:
            self._incidents.told_its_start(signal.recorder)

    # The box.

    def _started(self, signal: BoxStarted) -> None:
        self._world.run = f"{signal.boot[:8]}.{signal.at.boot_ns // 1_000_000_000:x}."
        box.started(self._incidents, signal)

    def _stood_still(self, signal: BoxStoodStill) -> None:
        self._awake_ns = signal.at.boot_ns
        for camera in self.cameras:
            if self._world.deadlines.has(f"dark:{camera.id}"):
                self._world.deadlines.set(f"dark:{camera.id}", camera.dark_at_ns(self._awake_ns))
        box.stood_still(self._incidents, signal, tuple(self._world.cameras))

    def _clock_stepped(self, signal: ClockStepped) -> None:
        self._world.site.clock_stepped(signal)
        box.clock_stepped(self._incidents, signal)
        self._await_end_of_work()

    def _announced(self, signal: WorkAnnounced) -> None:
        self._world.site.announced(signal)
        self._incidents.touch_all()
        self._await_end_of_work()

    def _await_end_of_work(self) -> None:
        now = self._world.now
        ends_us = self._world.site.work_ends_us(now.wall_us)
        if ends_us is None:
            self._world.deadlines.clear("work:")
        else:
            self._world.deadlines.set("work:", now.boot_ns + (ends_us - now.wall_us) * 1000)

    # Time.

    def _pass(self, to_ns: int) -> None:
        while (due := self._world.deadlines.pop(to_ns)) is not None:
            name, at_ns = due
            self._world.move(at_ns)
            what, _, subject = name.partition(":")
            self._due(what, subject)
        self._world.move(to_ns)

    def _due(self, what: str, subject: str) -> None:
        if what == "dark":
            self._gone_dark(self._world.cameras[subject])
        elif what == "work":
            self._incidents.touch_all()
            self._await_end_of_work()
        elif what in ("net", "mains"):
            self._links.due(what)
        else:
            self._incidents.due(what, subject)

    def _taken(self) -> list[Decision]:
        decided, self._world.decided = self._world.decided, []
        return decided
