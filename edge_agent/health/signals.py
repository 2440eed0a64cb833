"""What the rules see: one small immutable value per observation, each with its own source. Pure.

These are the only inputs of the night watch. They are written to the signal log as they come, so that every
decision can be made again from them (`edge-agent replay`). A signal states what was observed, never why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.model import Instant, Role


@dataclass(frozen=True, slots=True)
class Signal:
    """Something observed at `at` (box's clocks)."""

    at: Instant


# The site as it is known.


@dataclass(frozen=True, slots=True)
class CameraKnown(Signal):
    """A camera is watched from now on, or its place has changed. `recorder` is empty for a single camera."""

    camera: str
    recorder: str
    channel: int | None
    host: str
    roles: tuple[Role, ...]


# Packets: the capture thread.


@dataclass(frozen=True, slots=True)
class StreamFlows(Signal):
    """A stream delivers video packets."""

    camera: str
    role: Role
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StreamSilent(Signal):
    """No video packets since `since`. `refused`: the device answered and said no; `auth`: to our password."""

    camera: str
    role: Role
    since: Instant
    reason: str
    refused: bool
    auth: bool


@dataclass(frozen=True, slots=True)
class StreamPulse(Signal):
    """The size pattern of `seconds` of one stream, from packets alone.

    Mean bytes per keyframe and per other picture; a test slate's other pictures collapse to almost nothing.
    """

    camera: str
    role: Role
    seconds: float
    pictures: int
    keyframes: int
    key_bytes: int
    delta_bytes: int


# Pictures: the decode process, at a low rate.


@dataclass(frozen=True, slots=True)
class PictureMeasured(Signal):
    """Measures of one keyframe, scaled to a small luma picture.

    `mean` and `deviation` of luma 0-255; `detail` is the share of pixels on an edge, 0-1; `colour` the mean
    chroma distance from grey; `flat` the share of the picture covered by its few most common levels, 0-1;
    `change` the share of blocks, without those where a clock is drawn, that differ from the picture before,
    0-1, or None for the first; `print` is a digest of the blocks outside the clock, equal for equal pictures.
    """

    camera: str
    mean: float
    deviation: float
    detail: float
    colour: float
    flat: float
    change: float | None
    print: str


# The recorder: ONVIF events (hints), knocks, its clock.


@dataclass(frozen=True, slots=True)
class DeviceSaid(Signal):
    """An ONVIF event of a recorder: a hint, never a proof. `channel` None: the recorder as a whole."""

    recorder: str
    channel: int | None
    kind: str  # video_loss, tamper, storage, network ...
    active: bool


@dataclass(frozen=True, slots=True)
class DeviceQuiet(Signal):
    """The recorder's events cannot be had any more: what it said last may have passed."""

    recorder: str


@dataclass(frozen=True, slots=True)
class HostKnocked(Signal):
    """A TCP knock. `answers`: accepted or refused. `neighbour`: ARP knows it; None: cannot be told.

    `refuses`: the machine answered, and nothing listens at that port.
    """

    host: str
    port: int
    answers: bool
    neighbour: bool | None
    detail: str
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class DeviceClock(Signal):
    """A recorder told its time: seconds ahead of ours, and since when it runs if it says so."""

    recorder: str
    ahead_s: float
    started_us: int | None


# The box, its power and its network.


class Mains(StrEnum):
    UNKNOWN = "unknown"
    ON = "on"
    BATTERY = "battery"


@dataclass(frozen=True, slots=True)
class MainsSeen(Signal):
    """Mains power as a UPS (NUT) or a battery tells it. `source` names which."""

    mains: Mains
    source: str
    charge_percent: int | None


@dataclass(frozen=True, slots=True)
class NetSeen(Signal):
    """How far the box reaches: each True, False, or None when it was not or cannot be asked."""

    carrier: bool | None
    gateway: bool | None
    dns: bool | None
    broker: bool | None


class Ended(StrEnum):
    """How the run before ended, as far as the box can know."""

    FIRST = "first"
    STOPPED = "stopped"  # the agent was stopped in order
    BOX_SHUTDOWN = "box_shutdown"
    KILLED = "killed"  # same boot, no word of farewell
    POWER_LOST = "power_lost"  # new boot, no word of farewell


@dataclass(frozen=True, slots=True)
class BoxStarted(Signal):
    """The agent runs since now; `alive` is the last moment the run before is known to have lived."""

    boot: str
    ended: Ended
    alive: Instant | None


@dataclass(frozen=True, slots=True)
class BoxStoodStill(Signal):
    """The box itself did not run for `seconds` until now: nobody else's outage."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ClockStepped(Signal):
    """The box's wall clock jumped by `step_s` against its boottime clock."""

    step_s: float


@dataclass(frozen=True, slots=True)
class WorkAnnounced(Signal):
    """Planned work: no alarm of `cameras` (empty: all) until `until_us`, for the stated reason."""

    cameras: tuple[str, ...]
    until_us: int
    reason: str
    who: str
