"""Which stream a viewer gets when the one asked for could not show a picture soon (pure).

Smart codecs send a keyframe every few minutes. A group of pictures that outgrew the tap is not kept, so a
viewer who joins sees nothing before the next keyframe; the sub stream, with its short groups, is served then.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture.ports import StreamStats
from edge_agent.model import Instant, Role

SOON_S = 5.0  # a keyframe that comes this soon is waited for


@dataclass(frozen=True, slots=True)
class Choice:
    role: Role
    note: str = ""  # why it is not what was asked for, or why pictures come late


def choose(asked: Role, *, held: bool, stats: StreamStats | None, has_sub: bool, now: Instant) -> Choice:
    """`held`: the running group of the stream asked for is kept. `stats`: how it plays, if it does."""
    group_s = _group_s(stats, now)
    if asked is Role.SUB or held or group_s <= SOON_S:
        return Choice(asked)
    late = f"the main stream had no keyframe for {group_s:.0f} s, and so long a group of pictures is not kept"
    if has_sub:
        return Choice(Role.SUB, f"{late}: this is the sub stream")
    return Choice(Role.MAIN, f"{late}: video begins at its next keyframe; snapshots can be had until then")


def _group_s(stats: StreamStats | None, now: Instant) -> float:
    """How far keyframes lie apart, by the last two and by how long ago the last one was."""
    if stats is None or stats.last_keyframe is None:
        return 0.0
    return max(stats.gop_s, (now.boot_ns - stats.last_keyframe.boot_ns) / 1e9)
