"""Is a camera seeing? A pure state machine over packets, one per camera.

A lost stream makes a camera `suspect`; only when no stream of it has delivered a packet for
`DARK_AFTER_S` is it `dark`. Reconnects and hiccups shorter than that never become an outage, and neither does
a time in which the box itself stood still: only what it could have seen counts (`awake_ns`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.health.decisions import Sight as Sight
from edge_agent.model import Instant, Role

DARK_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Silence:
    """One stream without packets: the moment of its last good packet, and what the client saw."""

    since: Instant
    reason: str


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """`since` is when the state began: for `dark`, the last packet, not the moment we noticed."""

    camera: str
    expected: frozenset[Role]
    since: Instant
    state: Sight = Sight.UNKNOWN
    flowing: frozenset[Role] = frozenset()
    silences: tuple[tuple[Role, Silence], ...] = ()

    @property
    def reason(self) -> str:
        return "; ".join(f"{role.value}: {silence.reason}" for role, silence in self.silences)


@dataclass(frozen=True, slots=True)
class Changed:
    """A transition worth telling; `before` lasted from `before_since` to `health.since`."""

    before: Sight
    before_since: Instant
    health: CameraHealth


def begin(camera: str, expected: frozenset[Role], now: Instant) -> CameraHealth:
    """A camera nobody has seen yet: it counts as silent from now on."""
    silences = tuple((role, Silence(now, "not connected yet")) for role in sorted(expected))
    return CameraHealth(camera, expected, now, silences=silences)


def stream_started(health: CameraHealth, role: Role, now: Instant) -> tuple[CameraHealth, Changed | None]:
    flowing = health.flowing | {role}
    silences = tuple(item for item in health.silences if item[0] is not role)
    return _settle(replace(health, flowing=flowing, silences=silences), Sight.UP, now)


def stream_lost(
    health: CameraHealth, role: Role, since: Instant, reason: str, now: Instant, awake_ns: int = 0
) -> tuple[CameraHealth, Changed | None]:
    """A stream fell silent. A stream that was silent already keeps its older `since`."""
    known = dict(health.silences)
    first = known.get(role)
    known[role] = Silence(first.since if first and role not in health.flowing else since, reason)
    silenced = replace(health, flowing=health.flowing - {role}, silences=tuple(sorted(known.items())))
    return tick(silenced, now, awake_ns)


def tick(health: CameraHealth, now: Instant, awake_ns: int = 0) -> tuple[CameraHealth, Changed | None]:
    """Let time pass: a camera silent for long enough becomes dark, from its last packet on.

    `awake_ns` is the boottime since which the box has watched without a standstill of its own.
    """
    if health.flowing:
        return _settle(health, Sight.UP, now)
    since = _last_packet(health, now)
    watched_since_ns = max(since.boot_ns, awake_ns)
    if (now.boot_ns - watched_since_ns) / 1e9 >= DARK_AFTER_S:
        return _settle(health, Sight.DARK, since)
    if health.state is Sight.UP:
        return _settle(health, Sight.SUSPECT, since)
    return health, None


def _last_packet(health: CameraHealth, now: Instant) -> Instant:
    return max((s.since for _, s in health.silences), key=lambda i: i.boot_ns, default=now)


def _settle(health: CameraHealth, state: Sight, since: Instant) -> tuple[CameraHealth, Changed | None]:
    if health.state is state:
        return health, None
    after = replace(health, state=state, since=since)
    return after, Changed(health.state, health.since, after)
