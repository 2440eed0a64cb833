"""What is known beside packets and pictures: hosts, recorders, mains, network, planned work. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from edge_agent.health.decisions import Planned
from edge_agent.health.signals import (
    ClockStepped,
    DeviceClock,
    DeviceQuiet,
    DeviceSaid,
    HostKnocked,
    Mains,
    MainsSeen,
    NetSeen,
    WorkAnnounced,
)
from edge_agent.model import Instant

VIDEO_LOSS, STORAGE = "video_loss", "storage"
POWER_AFTER_S = 60.0  # a UPS is asked only now and then
NET_AFTER_S = 60.0  # so is the network
MAX_WORKS = 64


@dataclass(slots=True)
class Battery:
    """A time on battery; `until` is None while it lasts."""

    since: Instant
    until: Instant | None
    source: str


@dataclass(slots=True)
class Site:
    knocks: dict[str, HostKnocked] = field(default_factory=dict)
    clocks: dict[str, DeviceClock] = field(default_factory=dict)
    net: NetSeen | None = None
    carrier_lost: Instant | None = None
    router_lost: Instant | None = None
    mains: MainsSeen | None = None
    _hints: dict[tuple[str, int | None, str], DeviceSaid] = field(default_factory=dict)
    _batteries: deque[Battery] = field(default_factory=lambda: deque(maxlen=8))
    _works: list[WorkAnnounced] = field(default_factory=list)

    def said(self, signal: DeviceSaid) -> None:
        key = (signal.recorder, signal.channel, signal.kind)
        if not signal.active:
            self._hints.pop(key, None)
        elif key not in self._hints:
            self._hints[key] = signal

    def quiet(self, signal: DeviceQuiet) -> None:
        """It tells nothing any more, so what it told last may have passed."""
        self._hints = {key: hint for key, hint in self._hints.items() if key[0] != signal.recorder}

    def hint(self, recorder: str, channel: int | None, kind: str) -> DeviceSaid | None:
        """What a recorder says of one channel, or of itself for all of them, still in force."""
        return self._hints.get((recorder, channel, kind)) or self._hints.get((recorder, None, kind))

    def mains_seen(self, signal: MainsSeen) -> None:
        self.mains = signal
        on = self.on_battery
        if signal.mains is Mains.BATTERY and on is None:
            self._batteries.append(Battery(signal.at, None, signal.source))
        elif signal.mains is not Mains.BATTERY and on is not None:
            on.until = signal.at

    @property
    def on_battery(self) -> Battery | None:
        newest = self._batteries[-1] if self._batteries else None
        return newest if newest is not None and newest.until is None else None

    def battery_at(self, onset_ns: int) -> Battery | None:
        """The mains failure that may have taken along what stopped at `onset_ns`."""
        for battery in self._batteries:
            ended_ns = battery.until.boot_ns if battery.until else onset_ns + 1
            began_ns = battery.since.boot_ns
            if began_ns <= onset_ns + POWER_AFTER_S * 1e9 and ended_ns > onset_ns:
                return battery
        return None

    def net_seen(self, signal: NetSeen) -> None:
        if signal.carrier is False:
            self.carrier_lost = self.carrier_lost or signal.at
        else:
            self.carrier_lost = None
        if signal.gateway is False:
            self.router_lost = self.router_lost or signal.at
        else:
            self.router_lost = None
        self.net = signal

    def link_lost_by(self, onset_ns: int) -> Instant | None:
        """The loss of the box's own link, if it still lasts and can be why something fell silent then."""
        return _by(self.carrier_lost, onset_ns)

    def router_lost_by(self, onset_ns: int) -> Instant | None:
        return _by(self.router_lost, onset_ns)

    def clock_told(self, signal: DeviceClock) -> float | None:
        """Returns by how many seconds a recorder's clock jumped, if it is known and did."""
        before = self.clocks.get(signal.recorder)
        self.clocks[signal.recorder] = signal
        return None if before is None else signal.ahead_s - before.ahead_s

    def clock_stepped(self, signal: ClockStepped) -> None:
        """Ours jumped, theirs did not: what they were ahead of it is another number now."""
        for recorder, clock in self.clocks.items():
            self.clocks[recorder] = replace(clock, ahead_s=clock.ahead_s - signal.step_s)

    def announced(self, signal: WorkAnnounced) -> None:
        """A later word on the same cameras replaces the earlier; one that is over already revokes it, and on
        all cameras revokes every other."""
        over = signal.until_us <= signal.at.wall_us
        every = over and not signal.cameras
        others = [w for w in self._works if not every and set(w.cameras) != set(signal.cameras)]
        self._works = others if over else [*others[-MAX_WORKS + 1 :], signal]

    def works(self, wall_us: int) -> tuple[WorkAnnounced, ...]:
        """Announced and not over."""
        return tuple(work for work in self._works if wall_us < work.until_us)

    def planned(self, cameras: tuple[str, ...], wall_us: int) -> Planned | None:
        """The work that covers every one of `cameras` now."""
        for work in self._works:
            covered = not work.cameras or (bool(cameras) and set(cameras) <= set(work.cameras))
            if wall_us < work.until_us and covered:
                return Planned(work.reason, work.until_us)
        return None

    def work_ends_us(self, wall_us: int) -> int | None:
        """When the next announced work is over."""
        return min((work.until_us for work in self._works if work.until_us > wall_us), default=None)


def _by(lost: Instant | None, onset_ns: int) -> Instant | None:
    """What failed later explains nothing that was silent before."""
    return lost if lost is not None and lost.boot_ns <= onset_ns + NET_AFTER_S * 1e9 else None
