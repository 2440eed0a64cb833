"""Which signals say something new. Pure; stands before the night watch and its log, so both see the same.

Sixteen cameras measured every ten seconds are eight million signals a month, and nearly all of them say
that nothing has changed. What is left out here is never missed by a rule: every change of class passes, and
whatever follows a suspicion passes whole for two minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edge_agent.health import slate
from edge_agent.health.signals import (
    CameraKnown,
    DeviceClock,
    DeviceSaid,
    HostKnocked,
    MainsSeen,
    NetSeen,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
)

LIVELY_S = 120.0  # after a change everything passes for so long
AGAIN_S = 600.0  # what does not change is said again so often
SILENT_AGAIN_S = 300.0
KNOCK_AGAIN_S = 60.0
CLOCK_AGAIN_S = 3600.0
MEASURED_S = 600.0  # a camera without a picture for so long is not measured; smart codecs take minutes
OCTAVES = 2.0  # a busy shop's packets vary by less from one look to the next; a slate's collapse by more
CLOCK_MOVED_S = 2.0
HINTS = frozenset({"video_loss", "tamper", "storage", "network"})  # motion tells nothing of an outage


class Condenser:
    """One a run of the agent, beside its night watch. What it remembers is bounded by the site's size."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Signal] = {}
        self._classes: dict[str, str] = {}
        self._lively_ns: dict[str, int] = {}
        self._measured_ns: dict[str, int] = {}
        self._pixels: dict[tuple[object, ...], int] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self.dropped = 0
        self._rules: dict[type[Signal], Callable[[Any], bool]] = {
            StreamPulse: self._pulse,
            PictureMeasured: self._picture,
            StreamFlows: self._flows,
            StreamSilent: self._silent,
            DeviceSaid: self._said,
            HostKnocked: self._knock,
            DeviceClock: self._clock,
            NetSeen: self._net,
            MainsSeen: self._mains,
        }

    def keep(self, signal: Signal) -> bool:
        """Whether the watch and the log should have it. A kind without a rule here always passes."""
        if isinstance(signal, CameraKnown):
            self._places[signal.camera] = (signal.host, signal.recorder)
        rule = self._rules.get(type(signal))
        kept = rule is None or rule(signal)
        self.dropped += not kept
        return kept

    # Measures.

    def _pulse(self, signal: StreamPulse) -> bool:
        """Sizes matter when a picture is in doubt, or where none are measured."""
        key = ("pulse", signal.camera, signal.role)
        before = self._kept.get(key)
        new = (
            not isinstance(before, StreamPulse)
            or _passed_s(before, signal) >= AGAIN_S
            or self._is_lively(signal.camera, signal)
            or (not self._is_measured(signal) and self._differs(before, signal))
        )
        return new and self._remember(key, signal)

    def _is_measured(self, signal: StreamPulse | StreamFlows) -> bool:
        measured_ns = self._measured_ns.get(signal.camera)
        return measured_ns is not None and signal.at.boot_ns - measured_ns <= MEASURED_S * 1e9

    def _differs(self, before: StreamPulse, signal: StreamPulse) -> bool:
        far = abs(_octaves(signal) - _octaves(before)) >= OCTAVES
        return far or self._is_tiny(signal) is not self._is_tiny(before)

    def _picture(self, signal: PictureMeasured) -> bool:
        key = ("picture", signal.camera)
        self._measured_ns[signal.camera] = signal.at.boot_ns
        before = self._kept.get(key)
        light = "infrared" if signal.colour < slate.GREY else "colour"
        class_ = slate.class_of(signal)
        if self._classes.get(signal.camera) != class_:
            self._classes[signal.camera] = class_
            self._wake(signal.camera, signal)
        turned = self._classes.get(f"light {signal.camera}") != light
        self._classes[f"light {signal.camera}"] = light
        new = (
            before is None
            or turned
            or _passed_s(before, signal) >= AGAIN_S
            or self._is_lively(signal.camera, signal)
        )
        return new and self._remember(key, signal)

    def _wake(self, camera: str, signal: Signal) -> None:
        self._lively_ns[camera] = signal.at.boot_ns + int(LIVELY_S * 1e9)

    def _is_lively(self, camera: str, signal: Signal) -> bool:
        return signal.at.boot_ns <= self._lively_ns.get(camera, 0)

    def _is_tiny(self, signal: StreamPulse) -> bool:
        return slate.is_tiny(signal, self._pixels.get((signal.camera, signal.role), 0))

    # Packets.

    def _flows(self, signal: StreamFlows) -> bool:
        self._pixels[signal.camera, signal.role] = signal.width * signal.height
        self._kept.pop(("silent", signal.camera, signal.role), None)
        self._kept.pop(("pulse", signal.camera, signal.role), None)
        self._expect_news(signal.camera)
        if not self._is_measured(signal):
            self._wake(signal.camera, signal)  # only its packets can tell whether it shows the place again
        return True

    def _silent(self, signal: StreamSilent) -> bool:
        key = ("silent", signal.camera, signal.role)
        before = self._kept.get(key)
        if not isinstance(before, StreamSilent):
            self._expect_news(signal.camera)
            return self._remember(key, signal)
        same = (before.refused, before.auth) == (signal.refused, signal.auth)
        return (not same or _passed_s(before, signal) >= SILENT_AGAIN_S) and self._remember(key, signal)

    def _expect_news(self, camera: str) -> None:
        """A camera came or went: what its host and its recorder say next is new, even if it is the same."""
        host, recorder = self._places.get(camera, ("", ""))
        for key in [("knock", host), ("clock", recorder)]:
            self._kept.pop(key, None)

    # The rest.

    def _said(self, signal: DeviceSaid) -> bool:
        key = ("said", signal.recorder, signal.channel, signal.kind)
        before = self._kept.get(key)
        active = before.active if isinstance(before, DeviceSaid) else False
        if signal.kind not in HINTS or active is signal.active:
            return False
        for camera, (_, recorder) in self._places.items():
            if recorder == signal.recorder:
                self._wake(camera, signal)
        return self._remember(key, signal)

    def _knock(self, signal: HostKnocked) -> bool:
        key = ("knock", signal.host)
        before = self._kept.get(key)
        new = (
            not isinstance(before, HostKnocked)
            or _passed_s(before, signal) >= KNOCK_AGAIN_S
            or (before.answers, before.neighbour, before.refuses)
            != (signal.answers, signal.neighbour, signal.refuses)
        )
        return new and self._remember(key, signal)

    def _clock(self, signal: DeviceClock) -> bool:
        key = ("clock", signal.recorder)
        before = self._kept.get(key)
        new = (
            not isinstance(before, DeviceClock)
            or _passed_s(before, signal) >= CLOCK_AGAIN_S
            or abs(before.ahead_s - signal.ahead_s) >= CLOCK_MOVED_S
            or _moved(before.started_us, signal.started_us)
        )
        return new and self._remember(key, signal)

    def _net(self, signal: NetSeen) -> bool:
        before = self._kept.get(("net",))
        new = (
            not isinstance(before, NetSeen)
            or _passed_s(before, signal) >= AGAIN_S
            or (before.carrier, before.gateway, before.dns, before.broker)
            != (signal.carrier, signal.gateway, signal.dns, signal.broker)
        )
        return new and self._remember(("net",), signal)

    def _mains(self, signal: MainsSeen) -> bool:
        before = self._kept.get(("mains",))
        new = (
            not isinstance(before, MainsSeen)
            or _passed_s(before, signal) >= AGAIN_S
            or (before.mains, before.source) != (signal.mains, signal.source)
        )
        return new and self._remember(("mains",), signal)

    def _remember(self, key: tuple[object, ...], signal: Signal) -> bool:
        self._kept[key] = signal
        return True


def _passed_s(before: Signal, signal: Signal) -> float:
    return (signal.at.boot_ns - before.at.boot_ns) / 1e9


def _octaves(pulse: StreamPulse) -> float:
    return math.log2(max(pulse.delta_bytes, 1))


def _moved(before_us: int | None, now_us: int | None) -> bool:
    if before_us is None or now_us is None:
        return before_us is not now_us
    return abs(before_us - now_us) >= CLOCK_MOVED_S * 1e6
