"""What a recorder says about its inputs and itself. Hints for the health rules, never proof."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.events import Fact
from edge_agent.model import Credentials


class EventKind(StrEnum):
    VIDEO_LOSS = "video_loss"
    MOTION = "motion"
    TAMPER = "tamper"
    STORAGE = "storage"
    INPUT = "input"
    NETWORK = "network"
    LOGIN = "login"
    REBOOTED = "rebooted"
    OTHER = "other"


_OF_INPUTS = frozenset({EventKind.VIDEO_LOSS, EventKind.MOTION, EventKind.TAMPER})


@dataclass(frozen=True, slots=True)
class DeviceEvent(Fact):
    """`at` is by our own clock: the device's may be years off. `topic` is free of prefixes.

    `initial`: a state told because we subscribed, no alarm. `channel` None: the device itself, or an input
    that cannot be matched.
    """

    recorder: str
    channel: int | None
    kind: EventKind
    active: bool
    initial: bool
    topic: str
    moment: str = ""  # of REBOOTED: since when the device runs, by its own clock, as it wrote it


@dataclass(frozen=True, slots=True)
class EventsLost(Fact):
    """A recorder's events cannot be had; `sentence` says why and what to do. Streams are not concerned."""

    recorder: str
    sentence: str


@dataclass(frozen=True, slots=True)
class EventSource:
    """Where one recorder's events are asked for, and which channel its tokens name."""

    recorder: str
    address: str
    port: int
    path: str
    credentials: Credentials | None
    channels: tuple[tuple[str, int], ...]  # token of a video source or of its configuration, channel

    def channel_of(self, token: str, kind: EventKind) -> int | None:
        numbers = dict(self.channels)
        if token in numbers:
            return numbers[token]
        only = set(numbers.values())  # a camera with one eye need not name it
        return only.pop() if kind in _OF_INPUTS and len(only) == 1 else None
