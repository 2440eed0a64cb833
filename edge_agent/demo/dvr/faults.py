"""What is wrong with the recorder, on order: frozen states, one per channel and one for the device. No I/O.

A fault is a field with its healthy value as default. States are replaced, never changed; `patch` reads them
from JSON. What happens once and leaves no state behind (a cut, a reboot, a timestamp reset) is an `Act`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from edge_agent.demo.dvr.media import Variant


class Mode(StrEnum):
    """What an input shows. A client that reconnects sees the same, except after a stall."""

    ON = "on"
    OFF = "off"  # unplugged, and no slate: RTSP plays, no packets come; ONVIF says SignalLoss
    SLATE = "slate"  # a still "NO VIDEO" picture with a running clock; ONVIF says SignalLoss
    BLACK = "black"  # a black picture with a running clock, as from a covered lens; ONVIF does not know
    FROZEN = "frozen"  # the scene stands still, but for the clock; ONVIF does not know
    MUTE = "mute"  # no packets, and ONVIF does not know
    STALL = "stall"  # sessions open now fall silent for good, new ones play


class Sprop(StrEnum):
    """Parameter sets in the SDP. In band they always come with each keyframe."""

    GOOD = "good"
    MISSING = "missing"
    GARBAGE = "garbage"


class RtspManners(StrEnum):
    GOOD = "good"
    SILENT = "silent"  # accepts connections, never answers
    NEVER_PLAYS = "never-plays"  # answers all but PLAY
    DEAD = "dead"  # as silent, and open sessions stop without FIN: what a power cut looks like
    EARLY = "early"  # video comes before the reply to PLAY
    NO_TRANSPORT = "no-transport"  # 461 to every SETUP
    TUNNEL = "tunnel"  # RTSP inside HTTP alone; plain RTSP gets what a web server answers


class SessionRefusal(StrEnum):
    """How one session too many is turned away."""

    BANDWIDTH = "453"
    FORBIDDEN = "403"
    SILENT = "silent"  # it is played, and no packet ever comes


class HttpManners(StrEnum):
    GOOD = "good"
    HANG = "hang"
    DRIP = "drip"  # a byte a second
    FLOOD = "flood"  # a body of 100 MB
    HTML = "html"  # HTTP 200 with a web page


class OnvifAuth(StrEnum):
    EITHER = "either"
    TOKEN = "token"  # WS-UsernameToken alone  # noqa: S105
    DIGEST = "digest"  # HTTP Digest alone


class ServiceManners(StrEnum):
    GOOD = "good"
    BROKEN = "broken"  # named, and faults whatever it is asked (D-Link)
    ABSENT = "absent"


class DateTimeManners(StrEnum):
    GOOD = "good"
    NEEDS_AUTH = "needs-auth"
    LOCAL_ONLY = "local-only"
    MINUTE_61 = "minute-61"


class Act(StrEnum):
    CUT = "cut"  # FIN to the channel's sessions (all sessions without a channel)
    RESET_TIMESTAMPS = "reset-timestamps"  # RTP time starts at zero again
    REBOOT = "reboot"  # off for a while; sessions, subscriptions and nonces forgotten, a new start time
    DROP_SUBSCRIPTIONS = "drop-subscriptions"


@dataclass(frozen=True, slots=True)
class ChannelFaults:
    """`stamped_fps` 0 and `sent_fps` 0 mean the loop's own rate; times in seconds, ratios from 0 to 1."""

    mode: Mode = Mode.ON
    variant: Variant = Variant.NORMAL
    sprop: Sprop = Sprop.GOOD
    rtp_shift_s: float = 0.0  # added to the RTP time: change it for a jump, make it negative for a step back
    rtp_constant: bool = False
    stamped_fps: float = 0.0
    sent_fps: float = 0.0
    loss: float = 0.0  # of RTP packets, as when the recorder's own buffer overflows
    pcma: bool = False  # an audio track beside the video
    sr_absent: bool = False
    sr_skew_s: float = 0.0
    sr_jump_s: float = 0.0  # every second sender report is off by so much more
    annexb: bool = False  # each picture is one NAL unit with start codes inside
    mjpeg: bool = False  # sent as JPEG pictures
    mpeg4: bool = False  # sent as MPEG-4 Part 2
    garbage: float = 0.0  # of RTP packets carry noise instead of their payload
    motion: bool = False  # the state of the ONVIF motion event


@dataclass(frozen=True, slots=True)
class DeviceFaults:
    """`xaddr` replaces host and port in every address the device hands out, e.g. `10.9.8.7:80`."""

    off: bool = False  # powered down; it starts anew when it comes back, and says since when it runs
    onvif_off: bool = False  # its port is closed; RTSP works
    session_limit: int = 0  # RTSP sessions beyond it are refused; 0 is no limit
    session_refusal: SessionRefusal = SessionRefusal.BANDWIDTH
    session_timeout_s: float = 60.0  # without any request or RTCP the session is cut (RFC 2326 section 12.37)
    rtsp: RtspManners = RtspManners.GOOD
    login_s: float = 0.0  # how long it thinks over each login
    paths_open: bool = False  # a stream that is not there is 404 before any password is asked for
    sha256: bool = False  # offer SHA-256 beside MD5
    nonce_life_s: float = 0.0  # 0: nonces live with the process
    lockout_after: int = 0  # wrong answers over RTSP and ONVIF together; 0 never locks
    http: HttpManners = HttpManners.GOOD
    onvif_auth: OnvifAuth = OnvifAuth.EITHER
    onvif_users_apart: bool = False  # the account is good for RTSP alone
    date_time: DateTimeManners = DateTimeManners.GOOD
    clock_skew_s: float = 0.0
    clock_tolerance_s: float = 5.0
    zulu_only: bool = False  # refuses tokens whose Created does not end in Z
    xaddr: str = ""
    media: ServiceManners = ServiceManners.GOOD  # `absent` is as `broken`: every device names it
    media2: ServiceManners = ServiceManners.ABSENT
    events_forbidden: bool = False  # the user may stream but not subscribe
    events_broken: bool = False  # the event service faults whatever it is asked, as while starting up
    pull_point_limit: int = 8  # beyond it ter:BlockedThreadUpperLimit
    unsubscribe_kills_all: bool = False
    odd_topics: bool = False  # vendor prefixes, a trailing `/.`, and an empty notification before each one
    probe_types: bool = True  # False: ProbeMatches without Types
    probe_header: bool = True  # False: ProbeMatches without a SOAP header
    probe_deaf: bool = False  # hears no multicast, as behind a switch that drops it
    probe_one_line: bool = False  # hears no probe with a line end in it (Hikvision)
    probe_silent: bool = False  # answers no probe at all


@dataclass(frozen=True, slots=True)
class DvrFaults:
    device: DeviceFaults = DeviceFaults()
    channels: Mapping[int, ChannelFaults] = field(default_factory=lambda: MappingProxyType({}))

    def channel(self, number: int) -> ChannelFaults:
        return self.channels[number]

    def with_channel(self, number: int, state: ChannelFaults) -> DvrFaults:
        return replace(self, channels=MappingProxyType({**self.channels, number: state}))


def healthy(inputs: tuple[int, ...]) -> DvrFaults:
    return DvrFaults(channels=MappingProxyType({number: ChannelFaults() for number in inputs}))


State = TypeVar("State", ChannelFaults, DeviceFaults)


def patch(state: State, changes: Mapping[str, object]) -> State:
    """`state` with the named fields changed. ValueError names an unknown field or an impossible value."""
    known = {each.name: getattr(state, each.name) for each in fields(state)}
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"no such fault: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    typed: dict[str, Any] = {name: _like(known[name], name, value) for name, value in changes.items()}
    return replace(state, **typed)


def to_json(state: ChannelFaults | DeviceFaults) -> dict[str, object]:
    plain = json.loads(json.dumps(asdict(state)))
    return dict(plain)


def _like(old: object, name: str, value: object) -> object:
    """`value` as the type of the field's present value."""
    if isinstance(old, StrEnum):
        return type(old)(str(value))
    if isinstance(old, bool) or isinstance(value, bool):
        fits = isinstance(old, bool) and isinstance(value, bool)
    elif isinstance(old, float):
        value = float(value) if isinstance(value, int) else value
        fits = isinstance(value, float)
    else:
        fits = type(value) is type(old)
    if not fits:
        raise ValueError(f"{name} takes {type(old).__name__}, not {value!r}")
    return value
