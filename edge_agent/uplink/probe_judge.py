"""What measured figures of an uplink mean to the person who installs the box. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

USABLE = 0.8  # of the goodput may be video: the rest is for what must never wait
USUAL_MAIN_KBPS, USUAL_SUB_KBPS = 4000, 300  # where no running agent knows its cameras' own
FEW_SEGMENTS = 50  # a share of fewer says nothing
LOSS_NOTED, LOSS_BAD = 0.01, 0.05
SLOW_ROUND_TRIP_S = 0.6  # a satellite, or a modem whose queue is full already
CERTIFICATE_DAYS = 14


class State(StrEnum):
    GOOD = "good"
    NOTE = "note"  # works, and somebody should know
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at: what was found, and what to do next unless it is good."""

    name: str
    state: State
    sentence: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Goodput:
    """Bytes of the stream that the far end acknowledged, and the segments that carried them."""

    kbps: float
    sent_bytes: int
    segments: int
    resent: int

    @property
    def loss(self) -> float | None:
        """Share of segments that TCP had to send again; None when they are too few for a share."""
        return self.resent / self.segments if self.segments >= FEW_SEGMENTS else None


@dataclass(frozen=True, slots=True)
class Idle:
    """How long a connection lived without a byte. `lost_s` None: no pause that was tried ended it."""

    survived_s: float
    lost_s: float | None


@dataclass(frozen=True, slots=True)
class Streams:
    """The largest stream of each kind at this site. `measured` False: usual figures."""

    main_kbps: int = USUAL_MAIN_KBPS
    sub_kbps: int = USUAL_SUB_KBPS
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Carries:
    """How many live streams of a kind fit into `usable_kbps`: of the one or of the other."""

    usable_kbps: int
    subs: int
    mains: int


def round_trip(samples_s: Sequence[float]) -> Step:
    """From the acknowledgements of small messages, at least one."""
    ordered = sorted(samples_s)
    middle, worst = ordered[len(ordered) // 2], ordered[-1]
    told = f"{_ms(middle)} (least {_ms(ordered[0])}, worst {_ms(worst)}) to the broker and back"
    if middle > SLOW_ROUND_TRIP_S:
        cure = "look at signal and antenna, or whether somebody else fills this line"
        return Step("round trip", State.NOTE, told, cure)
    return Step("round trip", State.GOOD, told)


def goodput(found: Goodput) -> Step:
    told = f"{rate(found.kbps)} up, measured with {found.sent_bytes / 1e6:.1f} MB"
    return Step("goodput", State.GOOD, told)


def loss(found: Goodput) -> Step:
    share = found.loss
    if share is None:
        told = f"{found.resent} of {found.segments} packets sent again: too few packets for a share"
        return Step("loss", State.NOTE, told, "measure again with a larger --budget-mb")
    told = f"{share:.1%} of {found.segments} packets had to be sent again"
    if share < LOSS_NOTED:
        return Step("loss", State.GOOD, told)
    cure = "look at signal, antenna and cable; loss costs more throughput the longer the round trip is"
    return Step("loss", State.BAD if share >= LOSS_BAD else State.NOTE, told, cure)


def idle(found: Idle, keepalive_s: float, heartbeat_s: float) -> Step:
    """The longest silence on the line is the keepalive or the pause between heartbeats, whichever is less."""
    quiet = min(keepalive_s, heartbeat_s)
    in_use = f"the agent is silent for {quiet:.0f} s at most"
    if found.lost_s is None:
        told = f"an idle connection survives at least {found.survived_s:.0f} s; {in_use}"
        if found.survived_s >= quiet:
            return Step("idle", State.GOOD, told)
        return Step("idle", State.NOTE, told, "longer silence was not tried")
    forgotten = f"{found.survived_s:.0f} to {found.lost_s:.0f} s"
    told = f"the line forgets a connection that was idle for {forgotten}; {in_use}"
    if found.survived_s >= quiet:
        return Step("idle", State.GOOD, told)
    cure = f"set uplink.heartbeat_s to {max(1, int(found.survived_s * 0.8))}, or ask the provider for more"
    return Step("idle", State.BAD, told, cure)


def carries(kbps: float, streams: Streams, max_kbps: int | None) -> Carries:
    usable = min(kbps * USABLE, max_kbps if max_kbps is not None else kbps)
    return Carries(int(usable), int(usable // streams.sub_kbps), int(usable // streams.main_kbps))


def verdict(found: Carries, streams: Streams, max_kbps: int | None) -> Step:
    """`carries 2 live sub streams (300 kbit/s each), no main stream (4.0 Mbit/s)`."""
    sub, main = rate(streams.sub_kbps), rate(streams.main_kbps)
    limit = "uplink.max_kbps" if max_kbps == found.usable_kbps else "80 % of the goodput"
    basis = f"{rate(found.usable_kbps)} for video ({limit})"
    if not found.subs:
        cure = "lower the sub stream's bit rate in the recorder, or get a faster line; facts still arrive"
        return Step("carries", State.BAD, f"no live stream: one sub stream needs {sub}; {basis}", cure)
    subs = f"{found.subs} live sub stream{'s' * (found.subs != 1)} ({sub} each)"
    if found.mains:
        mains = f" or {found.mains} main stream{'s' * (found.mains != 1)} ({main} each)"
    else:
        mains = f", no main stream ({main})"
    usual = "" if streams.measured else "; bit rates are usual ones, no camera is known here"
    return Step("carries", State.GOOD, f"{subs}{mains}; {basis}{usual}")


def certificate(whose: str, name: str, expected: str, days: int) -> Step:
    """Ours, before anybody is asked: the broker binds its topics to this name."""
    step = f"{whose} certificate"
    if name != expected:
        cure = "install the certificate that was made for this site.id, or correct site.id"
        return Step(step, State.BAD, f"is for {name!r}, this box needs {expected!r}", cure)
    if days < 0:
        cure = "have it renewed by the command centre; then look at the box's clock"
        return Step(step, State.BAD, f"{name}: expired {-days} days ago", cure)
    state = State.NOTE if days < CERTIFICATE_DAYS else State.GOOD
    return Step(
        step, state, f"{name}: good for {days} more days", "have it renewed" if state != "good" else ""
    )


def rate(kbps: float) -> str:
    return f"{kbps / 1000:.1f} Mbit/s" if kbps >= 1000 else f"{kbps:.0f} kbit/s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
