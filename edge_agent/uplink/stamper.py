"""The envelopes of one session. Pure."""

from __future__ import annotations

from typing import TypedDict

from edge_agent.clock import timestamp
from edge_agent.model import Instant
from edge_agent.uplink import ulid
from edge_agent.uplink.messages import (
    Birth,
    BirthData,
    Event,
    EventData,
    Heartbeat,
    HeartbeatData,
    Reply,
    ReplyData,
    State,
    StateData,
)


class Stamper:
    """Makes the envelopes of one session: ids, sequence and both clocks. One owner, one thread."""

    def __init__(self, session: str) -> None:
        self.session = session
        self._next = 0

    def state(self, data: StateData, now: Instant) -> State:
        return State(data=data, **self._envelope(now))

    def birth(self, data: BirthData, now: Instant) -> Birth:
        return Birth(data=data, **self._envelope(now))

    def heartbeat(self, data: HeartbeatData, now: Instant) -> Heartbeat:
        return Heartbeat(data=data, **self._envelope(now))

    def event(self, data: EventData, now: Instant) -> Event:
        return Event(data=data, **self._envelope(now))

    def reply(self, data: ReplyData, now: Instant) -> Reply:
        return Reply(data=data, **self._envelope(now))

    def _envelope(self, now: Instant) -> _Fields:
        sequence, self._next = self._next, self._next + 1
        return {
            "id": ulid.new(now.wall_us),
            "session": self.session,
            "seq": sequence,
            "ts": timestamp(now.wall_us),
            "mono": now.boot_ns // 1_000_000,
        }


class _Fields(TypedDict):
    id: str
    session: str
    seq: int
    ts: str
    mono: int
