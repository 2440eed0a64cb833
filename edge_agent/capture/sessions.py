"""How many sessions a recorder allows us, learnt from its refusals; recording comes before warm subs (pure).

Some say 453, some 403, some play and never send a packet. Others use sessions too, the shop's own app for
one, so what was learnt is tried again: every 10 s for a main stream, every ten minutes for a sub.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.errors import SourceLost, SourceRefused
from edge_agent.model import Role, StreamKey

RETRY_S = {Role.MAIN: 10.0, Role.SUB: 600.0}
FREEING_S = 3.0  # until a session that was given up is free
HOLD_S = 60.0  # a sub that was paused, or may have been one session too many, stays away so long
LOGIN_S = 10.0  # so long a main stream that was begun is taken to be still logging in, and subs wait for it
DOUBTS = 2  # refusals in a row that may have meant the limit, before a sub is paused to find out


class SessionLimitReached(SourceRefused):
    """453 Not Enough Bandwidth: the recorder serves no further session."""


class MaybeSessionLimit(SourceRefused):
    """403: one session too many for some recorders, a channel that is not ours to see for others."""


class NeverPlayed(SourceLost):
    """Not one packet came after PLAY: one session too many for some recorders, a dead input for others."""


@dataclass(slots=True)
class _Host:
    holders: set[StreamKey] = field(default_factory=set)  # connected or connecting
    playing: set[StreamKey] = field(default_factory=set)  # those that got packets
    held_until_s: dict[StreamKey, float] = field(default_factory=dict)
    proven: int = 0  # so many played at once: as many again are no session too many
    limit: int | None = None
    learnt_s: float = 0.0
    promised_s: dict[StreamKey, float] = field(default_factory=dict)  # to a main stream, since then
    given_s: dict[StreamKey, float] = field(default_factory=dict)  # a sub was paused for this main stream
    room_made_s: dict[StreamKey, float] = field(default_factory=dict)  # a sub was paused for this main
    doubts: dict[StreamKey, int] = field(default_factory=dict)
    coming_s: dict[StreamKey, float] = field(default_factory=dict)  # main streams that do not play yet
    behind_s: dict[StreamKey, float] = field(default_factory=dict)  # subs that wait for them, since then

    def begins_later(self, sub: StreamKey, now_s: float) -> bool:
        """A main stream logs in first; the password goes to two at a time, a slow recorder takes seconds."""
        logging_in = any(0 <= now_s - s < LOGIN_S for s in self.coming_s.values())
        return logging_in and now_s - self.behind_s.setdefault(sub, now_s) < LOGIN_S


class SessionBudget:
    """By RTSP server (`address:port`). Capture thread only; `now_s` is boot time."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def limit(self, host: str) -> int | None:
        return self._of(host).limit

    def may_begin(self, host: str, key: StreamKey, now_s: float) -> bool:
        at = self._of(host)
        if now_s < at.held_until_s.get(key, 0.0):
            return False
        promised = sum(1 for s in at.promised_s.values() if now_s - s < HOLD_S) if key.role is Role.SUB else 0
        room = at.limit is None or len(at.holders) + promised < at.limit
        if not room and now_s - at.learnt_s < RETRY_S[key.role]:
            return False
        return key.role is Role.MAIN or not at.begins_later(key, now_s)

    def begun(self, host: str, key: StreamKey, now_s: float) -> None:
        at = self._of(host)
        at.holders.add(key)
        if key.role is Role.MAIN:
            at.coming_s[key] = now_s
        at.promised_s.pop(key, None)
        at.behind_s.pop(key, None)

    def ended(self, host: str, key: StreamKey) -> None:
        at = self._of(host)
        at.holders.discard(key)
        at.playing.discard(key)
        at.coming_s.pop(key, None)

    def played(self, host: str, key: StreamKey, now_s: float) -> None:
        """Packets come. If a sub was paused for it, the recorder's limit is known now."""
        at = self._of(host)
        at.playing.add(key)
        at.proven = max(at.proven, len(at.playing))
        at.coming_s.pop(key, None)
        at.doubts.pop(key, None)
        at.held_until_s.pop(StreamKey(key.camera, Role.SUB), None)  # the input lives
        if at.room_made_s.pop(key, None) is not None and at.limit is None:
            at.limit, at.learnt_s = max(len(at.holders), at.proven), now_s

    def refused(self, host: str, key: StreamKey, error: Exception, now_s: float) -> StreamKey | None:
        """`key` was turned away, and is no holder any more. Returns the sub that must give up its session."""
        at = self._of(host)
        if isinstance(error, SessionLimitReached):
            # it may have been refused before the session that was just given up was free
            spare = now_s - max(at.given_s.values(), default=float("-inf")) < FREEING_S
            at.limit, at.learnt_s = max(len(at.holders) + spare, 1), now_s
            if key.role is Role.SUB:
                return None
            given_s = now_s - at.given_s.get(key, float("-inf"))
            at.promised_s[key] = now_s
            return None if given_s < FREEING_S else self._give(at, key, now_s)
        if not isinstance(error, MaybeSessionLimit | NeverPlayed) or not at.playing:
            return None
        if key.role is Role.SUB:
            at.held_until_s[key] = now_s + HOLD_S
            return None
        if isinstance(error, NeverPlayed) and len(at.playing) < at.proven:
            return None  # an input that is off must not cost its neighbours their subs
        at.doubts[key] = at.doubts.get(key, 0) + 1
        tried_s = at.room_made_s.get(key)
        if at.doubts[key] < DOUBTS or (tried_s is not None and now_s - tried_s < RETRY_S[Role.SUB]):
            return None
        at.room_made_s[key] = now_s
        return self._give(at, key, now_s)

    def _give(self, at: _Host, key: StreamKey, now_s: float) -> StreamKey | None:
        """The last sub that plays; it stays away until the main stream `key` had its chance."""
        weakest = max((k for k in at.playing if k.role is Role.SUB), default=None)
        if weakest is not None:
            at.given_s[key] = now_s
            at.held_until_s[weakest] = now_s + HOLD_S
        return weakest

    def _of(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())
