"""The values that cross rooms. All frozen: whoever holds one may keep it, from any thread."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Role(StrEnum):
    """Which of a camera's streams: the full picture or the small one."""

    MAIN = "main"
    SUB = "sub"


class Codec(StrEnum):
    H264 = "h264"
    H265 = "h265"


class ClockTrust(IntEnum):
    """How far the box's wall clock may be believed (docs/format.md)."""

    NONE = 0
    SAVED = 1
    NTP = 2
    WITNESS = 3


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks: wall time for people, boottime for intervals."""

    wall_us: int
    boot_ns: int
    trust: ClockTrust = ClockTrust.NONE


@dataclass(frozen=True, slots=True, order=True)
class StreamKey:
    """Names one stream of one camera, e.g. `cam-01/main`."""

    camera: str
    role: Role

    def __str__(self) -> str:
        return f"{self.camera}/{self.role.value}"


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str

    def __repr__(self) -> str:  # a traceback or log line must never carry the password
        return f"Credentials({self.username!r}, ***)"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a stream is fetched: already resolved, because the capture thread never touches DNS.

    `url` carries no credentials; `host` is the address that was reached, whatever the device claims.
    """

    url: str
    host: str
    port: int
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What capture needs to open and record one stream."""

    key: StreamKey
    endpoint: Endpoint
    stream_id: bytes  # 16 bytes, docs/format.md
    record: bool = True


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture as the camera sent it: NAL units without start codes, in decoding order.

    `rtp_time` is unwrapped, in 90 kHz ticks; `arrival_ns` is CLOCK_BOOTTIME of its first packet;
    `lost` says that packets are known to be missing in it or just before it, `whole` that the picture itself
    has all of its own.
    """

    nals: tuple[bytes, ...]
    rtp_time: int
    arrival_ns: int
    keyframe: bool
    lost: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True)
class InitSegment:
    """`ftyp` + `moov` of one epoch. `codec` is the RFC 6381 string, e.g. `avc3.64001f`."""

    data: bytes
    codec: str
    width: int
    height: int
    timescale: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """`moof` + `mdat`, about 0.2 s, cut at every keyframe; `start` is its first sample's moment."""

    data: bytes
    start: Instant
    duration_us: int
    tfdt: int
    keyframe: bool
    discontinuity: bool
    samples: int


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The newest decodable picture of a stream, in clear, in RAM only (Annex B, parameter sets first)."""

    key: StreamKey
    codec: Codec
    annexb: bytes
    at: Instant


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera as the site knows it. `uid` stays the same across DHCP changes and renames."""

    id: str  # the name in topics and commands, e.g. cam-01
    uid: str  # recorder identity + channel, the input of the stream ids
    name: str
    main: Endpoint | None
    sub: Endpoint | None
    recorder: str = ""  # key of the recorder it hangs on, empty for a single camera
    channel: int | None = None
    verified: bool = True  # False: the label is guessed from list position alone
    snapshot_url: str = ""
