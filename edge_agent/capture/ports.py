"""What capture needs from its neighbours, and what it tells about a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol

from edge_agent.model import Codec, Credentials, Fragment, InitSegment, Instant, Role, StreamKey, StreamSpec

if TYPE_CHECKING:
    from edge_agent.seal.record import Record


class RecordSink(Protocol):
    """Where sealed records go: the rings. Called in the capture thread; neither call may block."""

    def reserve(self, role: Role, size: int) -> bool:
        """Take credit for `size` bytes before they are sealed; False when the queue is full."""
        ...

    def put(self, key: StreamKey, record: Record) -> None:
        """Hand over a record. Its credit was reserved, so it is never dropped."""
        ...

    def end_stream(self, key: StreamKey, stream_id: bytes) -> None:
        """The stream is lost: later segments need no copy of its key and init."""
        ...


class Sealer(Protocol):
    """Seals one stream's fragments: one epoch at a time, numbered without holes."""

    def begin_epoch(self, init: InitSegment, at: Instant) -> tuple[Record, Record]:
        """The key record (n = 0) and the init record (n = 1) of a new epoch."""
        ...

    def rotation_due(self, fragment: Fragment) -> bool:
        """Time for a new epoch: at the first keyframe after 10 minutes, at any fragment after 20."""
        ...

    def seal(self, fragment: Fragment) -> Record: ...

    def seal_gap(self, reason: str, since: Instant, at: Instant) -> Record: ...


class Door(StrEnum):
    """Where a device asks who we are. Both guard the same accounts."""

    ONVIF = "onvif"
    RTSP = "rtsp"


class Leave(Enum):
    """May credentials be sent?"""

    GO = "go"
    WAIT = "wait"  # others have sent the same ones, and the device has not judged them yet
    STOP = "stop"  # no more with these credentials


class CredentialGate(Protocol):
    """Asked before credentials are sent to a device, and told what became of them. Any thread; never blocks.

    `asker` is whoever holds the claim: one conversation or one connection.
    """

    def ask(
        self, address: str, credentials: Credentials, asker: object, *, door: Door, holds_s: float = ...
    ) -> Leave: ...

    def may_try(self, address: str, credentials: Credentials, door: Door = ...) -> bool: ...

    def right(
        self, address: str, credentials: Credentials, asker: object = ..., door: Door = ...
    ) -> None: ...

    def wrong(
        self, address: str, credentials: Credentials, text: str = ..., asker: object = ..., door: Door = ...
    ) -> object: ...

    def give_back(self, asker: object) -> None: ...

    def sentence(self, address: str, credentials: Credentials) -> str:
        """For people: why nothing more is sent."""
        ...


SealerFactory = Callable[[StreamSpec], Sealer]


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream's health as counted since `start_stream`. Rates are over the last seconds."""

    state: str  # connecting, describe, ..., playing, waiting, refused
    codec: Codec | None = None
    width: int = 0
    height: int = 0
    packets: int = 0
    bytes: int = 0
    lost_packets: int = 0
    pictures: int = 0
    fragments: int = 0
    dropped_fragments: int = 0  # refused by the ring's queue
    reconnects: int = 0
    discontinuities: int = 0  # timestamps that had to be placed anew
    fps: float = 0.0
    kbps: float = 0.0
    gop_s: float = 0.0  # between the last two keyframes
    paced: bool = False  # stamps cannot be believed; pictures are placed by arrival
    last_packet: Instant | None = None  # the last video packet
    last_keyframe: Instant | None = None
    camera_clock_us: int | None = None  # the device's wall clock at `camera_clock_at` (RTCP), its opinion
    camera_clock_at: Instant | None = None
    reason: str = ""  # why it is not playing, for people
    converted: str = ""  # from which codec, if the pictures are not the camera's own bits, for people
