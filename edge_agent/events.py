"""Facts that rooms report to the owner (past tense), and the inbox that takes them.

Facts are immutable and small; putting one never blocks. Each room may declare further facts of its own
by subclassing `Fact`; the ones here are those that strangers share.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Protocol

from edge_agent.model import Codec, Instant, StreamKey


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened at `at`."""

    at: Instant


@dataclass(frozen=True, slots=True)
class StreamStarted(Fact):
    key: StreamKey
    codec: Codec
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StreamLost(Fact):
    """No packets any more. `since` is the last good packet's moment; `reason` is for people."""

    key: StreamKey
    since: Instant
    reason: str
    retry_in_s: float
    refused: bool = False  # the device answered and said no
    auth: bool = False  # it said no to our credentials, and they are not sent again


@dataclass(frozen=True, slots=True)
class WorkerFailed(Fact):
    worker: str
    reason: str


class Inbox(Protocol):
    def put(self, fact: Fact) -> None:
        """Hand a fact up. Any thread; never blocks; a full inbox drops the fact and counts it."""
        ...


class BoundedInbox:
    """The owner's queue: many threads put, the main thread takes."""

    def __init__(self, size: int = 4096) -> None:
        self._queue: queue.Queue[Fact] = queue.Queue(size)
        self.dropped = 0

    def put(self, fact: Fact) -> None:
        try:
            self._queue.put_nowait(fact)
        except queue.Full:
            self.dropped += 1

    def take(self, timeout_s: float) -> Fact | None:
        """The next fact, or None when `timeout_s` passes without one. Main thread only."""
        try:
            return self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None
