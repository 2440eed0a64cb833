"""What waits to be published, in lanes of falling urgency, each with a bound and a rule for being full. Pure.

Nothing here is the only copy of a fact: those are in the ledger. A message leaves the outbox when the broker
has acknowledged it; when the connection is lost, what was under way is sent again with the same id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from edge_agent.uplink.link import Outgoing


class Lane(IntEnum):
    """Smaller leaves first."""

    PRESENCE = 0
    REPLY = 1
    HEARTBEAT = 2
    EVENT = 3
    SNAPSHOT = 4
    LEDGER = 5


LEAST_URGENT = Lane.EVENT  # what follows waits for room on a capped line


@dataclass(frozen=True, slots=True)
class LaneRule:
    """`whole`: a set of messages is taken entirely or refused; else the oldest give way to the newest."""

    items: int
    size: int
    whole: bool = False
    resent: bool = True


RULES = {
    Lane.PRESENCE: LaneRule(4, 256 * 1024, resent=False),  # said anew in every session
    Lane.REPLY: LaneRule(128, 1024**2),
    Lane.HEARTBEAT: LaneRule(1, 256 * 1024, resent=False),  # only the newest says anything
    Lane.EVENT: LaneRule(256, 1024**2),
    Lane.SNAPSHOT: LaneRule(256, 8 * 1024**2, whole=True),
    Lane.LEDGER: LaneRule(64, 1024**2, resent=False),  # replication decides what is sent again
}


class Outbox:
    """Waiting and unacknowledged messages. Not for several threads; memory is bounded by `RULES`."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[Outgoing]] = {lane: deque() for lane in Lane}
        self._under_way: dict[int, tuple[Lane, Outgoing]] = {}
        self._sizes = dict.fromkeys(Lane, 0)
        self._token = 0
        self.dropped = dict.fromkeys(Lane, 0)

    def put(self, lane: Lane, messages: Sequence[Outgoing]) -> bool:
        """Queue `messages` together. False when the lane is full and takes nothing by halves."""
        rule, queue = RULES[lane], self._waiting[lane]
        size = sum(len(m.payload) for m in messages)
        if len(messages) > rule.items or size > rule.size or (rule.whole and self._overfull(lane, size)):
            self.dropped[lane] += len(messages)
            return False
        for message in messages:
            self._token += 1
            queue.append(replace(message, token=self._token))
            self._sizes[lane] += len(message.payload)
        self._shed(lane)
        return True

    def take(self, *, urgent_only: bool = False) -> Outgoing | None:
        """The most urgent message; it is under way until `settle` or `requeue`."""
        for lane, queue in self._waiting.items():
            if urgent_only and lane > LEAST_URGENT:
                return None
            if queue:
                message = queue.popleft()
                self._sizes[lane] -= len(message.payload)
                self._under_way[message.token] = (lane, message)
                return message
        return None

    def settle(self, token: int) -> Outgoing | None:
        """The broker has it, or will never take it. None for a token that is not under way."""
        entry = self._under_way.pop(token, None)
        return entry[1] if entry else None

    def requeue(self) -> None:
        """The connection is gone: what was under way waits again, in front and in its old order."""
        for token in sorted(self._under_way, reverse=True):
            lane, message = self._under_way[token]
            if RULES[lane].resent:
                self._waiting[lane].appendleft(message)
                self._sizes[lane] += len(message.payload)
        self._under_way.clear()
        for lane in Lane:
            self._shed(lane)

    def forget(self, lane: Lane) -> None:
        """Drop what waits in a lane because it speaks of another session."""
        self._waiting[lane].clear()
        self._sizes[lane] = 0

    def waiting(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def _overfull(self, lane: Lane, size: int) -> bool:
        rule = RULES[lane]
        return self._sizes[lane] + size > rule.size or len(self._waiting[lane]) >= rule.items

    def _shed(self, lane: Lane) -> None:
        rule, queue = RULES[lane], self._waiting[lane]
        while queue and (len(queue) > rule.items or self._sizes[lane] > rule.size):
            self._sizes[lane] -= len(queue.popleft().payload)
            self.dropped[lane] += 1
