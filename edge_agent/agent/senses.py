"""What parts of the agent report, in the words of the night watch: facts in, signals out. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.agent.device_clocks import DeviceClockRead
from edge_agent.agent.probes import NetProbed, PowerProbed
from edge_agent.agent.reach import HostChecked
from edge_agent.capture.device_events import DeviceEvent, EventKind, EventsLost
from edge_agent.capture.meter import StreamPulsed
from edge_agent.capture.pictures import KeyframeMeasured
from edge_agent.events import Fact, StreamLost, StreamStarted
from edge_agent.health.signals import (
    BoxStarted,
    CameraKnown,
    DeviceClock,
    DeviceQuiet,
    DeviceSaid,
    Ended,
    HostKnocked,
    Mains,
    MainsSeen,
    NetSeen,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
)
from edge_agent.host.alive import Ending, LastRun
from edge_agent.model import Camera, Instant, Role

# Motion and the like say nothing about sight.
TOLD = frozenset({EventKind.VIDEO_LOSS, EventKind.TAMPER, EventKind.STORAGE, EventKind.NETWORK})
_ENDINGS = {
    Ending.FIRST_START: Ended.FIRST,
    Ending.UNREADABLE: Ended.FIRST,  # nothing is known of a run before
    Ending.STOPPED: Ended.STOPPED,
    Ending.BOX_SHUTDOWN: Ended.BOX_SHUTDOWN,
    Ending.KILLED: Ended.KILLED,
    Ending.POWER_LOST: Ended.POWER_LOST,
}


def read(fact: Fact) -> Signal | None:
    """The signal in a fact; None when the night watch has no use for it."""
    reader = _READERS.get(type(fact))
    return reader(fact) if reader is not None else None


def started(last: LastRun, boot: str, now: Instant) -> BoxStarted:
    return BoxStarted(now, boot, _ENDINGS[last.ending], last.alive)


def known(camera: Camera, roles: tuple[Role, ...], now: Instant) -> CameraKnown:
    endpoint = camera.main or camera.sub
    host = endpoint.host if endpoint else ""
    return CameraKnown(now, camera.id, camera.recorder, camera.channel, host, roles)


def _flows(fact: StreamStarted) -> Signal:
    return StreamFlows(fact.at, fact.key.camera, fact.key.role, fact.width, fact.height)


def _silent(fact: StreamLost) -> Signal:
    key = fact.key
    return StreamSilent(fact.at, key.camera, key.role, fact.since, fact.reason, fact.refused, fact.auth)


def _pulse(fact: StreamPulsed) -> Signal:
    return StreamPulse(
        fact.at,
        fact.key.camera,
        fact.key.role,
        round(fact.seconds, 1),
        fact.keyframes + fact.deltas,
        fact.keyframes,
        fact.key_bytes // max(fact.keyframes, 1),
        fact.delta_bytes // max(fact.deltas, 1),
    )


def _picture(fact: KeyframeMeasured) -> Signal:
    """Of the moment at which it was taken, on today's wall clock."""
    age_ns = max(fact.at.boot_ns - fact.taken.boot_ns, 0)
    taken = Instant(fact.at.wall_us - age_ns // 1000, fact.at.boot_ns - age_ns, fact.at.trust)
    return PictureMeasured(
        taken,
        fact.key.camera,
        round(fact.mean, 2),
        round(fact.deviation, 2),
        round(fact.detail, 4),
        round(fact.colour, 2),
        round(fact.flat, 4),
        None if fact.change is None else round(fact.change, 4),
        fact.print,
    )


def _said(fact: DeviceEvent) -> Signal | None:
    if fact.kind not in TOLD:
        return None
    return DeviceSaid(fact.at, fact.recorder, fact.channel, fact.kind.value, fact.active)


def _quiet(fact: EventsLost) -> Signal:
    return DeviceQuiet(fact.at, fact.recorder)


def _knocked(fact: HostChecked) -> Signal:
    return HostKnocked(
        fact.at, fact.host, fact.port, fact.reachable, fact.neighbour, fact.detail, fact.refuses
    )


def _clock(fact: DeviceClockRead) -> Signal:
    return DeviceClock(fact.at, fact.recorder, round(fact.ahead_s, 1), fact.started_us)


def _net(fact: NetProbed) -> Signal:
    return NetSeen(fact.at, fact.carrier, fact.gateway, fact.dns, fact.broker)


def _power(fact: PowerProbed) -> Signal:
    mains = {True: Mains.ON, False: Mains.BATTERY, None: Mains.UNKNOWN}[fact.mains]
    return MainsSeen(fact.at, mains, fact.source, fact.charge_percent)


_READERS: dict[type[Fact], Callable[[Any], Signal | None]] = {
    StreamStarted: _flows,
    StreamLost: _silent,
    StreamPulsed: _pulse,
    KeyframeMeasured: _picture,
    DeviceEvent: _said,
    EventsLost: _quiet,
    HostChecked: _knocked,
    DeviceClockRead: _clock,
    NetProbed: _net,
    PowerProbed: _power,
}
