"""Does a stream that delivers packets show the place? Slates and blackness, from sizes and measures. Pure.

Most recorders go on streaming a NO VIDEO picture when an input has no signal. Three senses know it: the
picture is flat and repeats exactly but for its clock, the pictures between keyframes collapse to almost
nothing, and the recorder says so. None of them is enough alone: smart codecs collapse just as far in a still
shop at night, a wall is flat, and a recorder's word may be stuck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edge_agent.health import says
from edge_agent.health.decisions import Cause, Evidence, Verdict
from edge_agent.health.signals import DeviceSaid, PictureMeasured, StreamPulse
from edge_agent.model import Instant, Role

FLAT = 0.75  # of the picture in its few commonest levels; a live scene's noise spreads them
LITTLE_DETAIL = 0.06  # a line of text and a clock
BLACK_MEAN = 28.0  # black is 16 in video range, and noise lies above it
WHITE_MEAN = 235.0  # glare is flat and still too, and no slate
BLACK_DETAIL = 0.03
VERY_FLAT = 0.9
COLOURED = 10.0  # most slates are blue; what infrared shows is grey
STEADY = 0.5  # levels
SAME = 0.01  # of the blocks outside the clock
BLACK_AFTER_S = 60.0  # an infrared switch or a passing shadow is shorter
BLACK_PICTURES = 3
STILL_S = 15.0  # pictures alone must repeat for that long, however often they are looked at
UNSEEN_S = 20.0
GREY = 4.0  # mean colour below which a camera looks through infrared: sizes differ, so does its habit
COLLAPSED = 0.2  # of the habit
TINY_PER_PIXEL = 0.0004  # bytes: 830 at 1080p; skipped macroblocks and a clock's digits
TINY_FLOOR = 250.0
LEARN_S = 6 * 3600.0  # how slowly a habit follows
LEARN_STEP_S = 600.0
EPISODE_S = 60.0  # evidence further apart belongs to different events


@dataclass(slots=True)
class Pulse:
    """The newest sizes of one stream; `small_since` while they are collapsed."""

    newest: StreamPulse
    small_since: Instant | None
    usual: float | None  # bytes, of the same light


@dataclass(frozen=True, slots=True)
class Opinion:
    """The stream shows no place since `since`."""

    since: Instant
    cause: Cause


@dataclass(slots=True)
class PictureSense:
    """One camera's. Habits are kept over silences, pictures are not."""

    _habits: dict[tuple[Role, bool], float] = field(default_factory=dict)
    _pulses: dict[Role, Pulse] = field(default_factory=dict)
    _picture: PictureMeasured | None = None
    _normal: Instant | None = None
    _run_since: Instant | None = None
    _repeats: int = 0
    _exact: bool = True  # so far this run's pictures were equal, not only alike
    _black_since: Instant | None = None
    _blacks: int = 0

    def forget_pictures(self) -> None:
        self._picture = self._normal = self._run_since = self._black_since = None
        self._repeats = self._blacks = 0
        self._pulses.clear()

    def pulse(self, signal: StreamPulse, pixels: int) -> None:
        if signal.pictures <= signal.keyframes:
            return  # keyframes alone: nothing between them to measure
        key = (signal.role, self._grey())
        usual, before = self._habits.get(key), self._pulses.get(signal.role)
        small = is_tiny(signal, pixels) or (usual is not None and signal.delta_bytes < COLLAPSED * usual)
        since = (before.small_since if before else None) or signal.at
        self._pulses[signal.role] = Pulse(signal, since if small else None, usual)
        if not small and self._repeats == 0 and self._blacks == 0:
            passed_s = signal.seconds if before is None else _seconds(before.newest.at, signal.at)
            self._learn(key, signal.delta_bytes, min(passed_s, LEARN_STEP_S))

    def picture(self, signal: PictureMeasured) -> None:
        before, self._picture = self._picture, signal
        if _is_black(signal):
            self._blacks += 1
            self._black_since = self._black_since or signal.at
        else:
            self._blacks, self._black_since = 0, None
        if not _is_slate(signal):
            self._repeats, self._run_since = 0, None
            if not self._blacks:
                self._normal = signal.at
        elif self._repeats and before is not None and _alike(before, signal):
            self._repeats += 1
            self._exact = self._exact and _same(before, signal)
        else:
            self._repeats, self._run_since, self._exact = 1, signal.at, True

    def opinion(self, hint: DeviceSaid | None) -> Opinion | None:
        """None while the stream may well show the place. `hint`: its recorder still reports no video here."""
        small = next((p for p in self._pulses.values() if p.small_since is not None), None)
        if self._outdated():
            return None
        confidence = self._slate_confidence(small, hint)
        if confidence:
            cause = Cause(Verdict.NO_SIGNAL_SLATE, confidence, self._evidence(small, hint))
            return Opinion(self._since(small, hint), cause)
        return self._blackness(small)

    @property
    def shows_scene(self) -> bool:
        """The newest picture is neither slate nor black; also where no picture was measured."""
        return not self._repeats and not self._blacks

    def _slate_confidence(self, small: Pulse | None, hint: DeviceSaid | None) -> int:
        black = self._blacks >= 2 and hint is not None
        if self._repeats >= 2 and small is not None:
            return 95 if hint else 85 if self._exact else 75
        if hint is not None and (self._repeats >= 1 or black):
            return 90
        if hint is not None and small is not None and self._unseen_since(hint, small):
            return 75
        picture, since = self._picture, self._run_since
        lasting = picture is not None and since is not None and _seconds(since, picture.at) >= STILL_S
        return 70 if self._repeats >= 3 and self._exact and lasting else 0

    def _unseen_since(self, hint: DeviceSaid, small: Pulse) -> bool:
        """No picture contradicts the hint: none is measured, or keyframes are minutes apart.

        A stream that has just come back has one small pulse by chance, and a hint that lags behind.
        """
        picture, since = self._picture, small.small_since
        if since is None or (picture is not None and picture.at.boot_ns >= hint.at.boot_ns):
            return False
        return min(_seconds(hint.at, small.newest.at), _seconds(since, small.newest.at)) >= UNSEEN_S

    def _blackness(self, small: Pulse | None) -> Opinion | None:
        picture, since = self._picture, self._black_since
        if picture is None or since is None or self._blacks < BLACK_PICTURES:
            return None
        lasted = _seconds(since, picture.at)
        if lasted < BLACK_AFTER_S:
            return None
        evidence = (says.black_picture(since, picture.mean), *_sizes(small))
        return Opinion(since, Cause(Verdict.BLACK, 50 if small else 40, evidence))

    def _outdated(self) -> bool:
        """Packets have grown again, and no newer picture has come: the measuring itself has failed."""
        picture = self._picture
        return picture is not None and any(
            p.small_since is None and _seconds(picture.at, p.newest.at) > 2 * LEARN_STEP_S
            for p in self._pulses.values()
        )

    def _since(self, small: Pulse | None, hint: DeviceSaid | None) -> Instant:
        moments = [self._run_since, self._black_since, small.small_since if small else None]
        moments.append(hint.at if hint else None)
        known = [m for m in moments if m is not None]
        first = self._run_since or self._black_since or min(known, key=lambda m: m.boot_ns)
        earliest = max(first.boot_ns - int(EPISODE_S * 1e9), self._normal.boot_ns if self._normal else 0)
        return min((m for m in known if m.boot_ns > earliest), key=lambda m: m.boot_ns, default=first)

    def _evidence(self, small: Pulse | None, hint: DeviceSaid | None) -> tuple[Evidence, ...]:
        found: list[Evidence] = []
        if self._repeats and self._run_since:
            found.append(says.flat_picture(self._run_since, exact=self._repeats > 1 and self._exact))
        elif self._black_since:
            found.append(says.black_picture(self._black_since))
        if hint is not None:
            found.append(says.video_loss(hint))
        return (*found, *_sizes(small))

    def _learn(self, key: tuple[Role, bool], size: float, passed_s: float) -> None:
        known = self._habits.get(key)
        if known is None:
            self._habits[key] = size
        else:
            weight = 1 - math.exp(-passed_s / LEARN_S)
            self._habits[key] = known * (size / known) ** weight

    def _grey(self) -> bool:
        return self._picture is not None and self._picture.colour < GREY


def is_tiny(pulse: StreamPulse, pixels: int) -> bool:
    """So little between keyframes that hardly anything but a clock can have moved."""
    return pulse.delta_bytes <= max(TINY_FLOOR, pixels * TINY_PER_PIXEL)


def class_of(picture: PictureMeasured) -> str:
    return "black" if _is_black(picture) else "slate" if _is_slate(picture) else "scene"


def _is_black(picture: PictureMeasured) -> bool:
    return picture.mean <= BLACK_MEAN and picture.detail <= BLACK_DETAIL


def _is_slate(picture: PictureMeasured) -> bool:
    return (
        picture.flat >= FLAT
        and picture.detail <= LITTLE_DETAIL
        and BLACK_MEAN < picture.mean < WHITE_MEAN
    )  # fmt: skip


def _same(before: PictureMeasured, picture: PictureMeasured) -> bool:
    return before.print == picture.print or (picture.change is not None and picture.change <= SAME)


def _alike(before: PictureMeasured, picture: PictureMeasured) -> bool:
    """Equal, or one coloured still encoded twice: rate control moves levels by one."""
    if _same(before, picture):
        return True
    coloured = min(before.colour, picture.colour) >= COLOURED and picture.flat >= VERY_FLAT
    steady = max(abs(before.mean - picture.mean), abs(before.deviation - picture.deviation)) <= STEADY
    return coloured and steady


def _sizes(small: Pulse | None) -> tuple[Evidence, ...]:
    if small is None or small.small_since is None:
        return ()
    return (says.small_packets(small.small_since, small.newest.delta_bytes, small.usual),)


def _seconds(earlier: Instant, later: Instant) -> float:
    return (later.boot_ns - earlier.boot_ns) / 1e9
