"""Questions to the disk, asked by the owner and answered as facts: the main thread never waits for a disk."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.events import Fact, Inbox
from edge_agent.supervisor import Beat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChoreDone(Fact):
    """Call `then(answer)` in the main thread."""

    then: Callable[[Any], None]
    answer: Any


@dataclass(frozen=True, slots=True)
class ChoreFailed(Fact):
    """Call `failed(reason)` in the main thread."""

    failed: Callable[[str], None]
    reason: str


@dataclass(frozen=True, slots=True)
class _Chore:
    question: Callable[[], Any]
    then: Callable[[Any], None]
    failed: Callable[[str], None]


class Chores:
    """Worker. A full queue drops the question and counts it."""

    name = "chores"

    def __init__(self, clock: Clock, inbox: Inbox, size: int = 32) -> None:
        self._clock = clock
        self._inbox = inbox
        self._waiting: queue.Queue[_Chore] = queue.Queue(size)
        self.dropped = 0

    def ask(
        self, question: Callable[[], T], then: Callable[[T], None], failed: Callable[[str], None]
    ) -> None:
        """Run `question` in the worker, then exactly one of `then` and `failed` in the main thread."""
        try:
            self._waiting.put_nowait(_Chore(question, then, failed))
        except queue.Full:
            self.dropped += 1
            failed("too many questions to the disk are waiting")

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            try:
                chore = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            try:
                answer = chore.question()
            except (EdgeAgentError, OSError) as error:
                self._inbox.put(ChoreFailed(self._clock.now(), chore.failed, str(error)))
            else:
                self._inbox.put(ChoreDone(self._clock.now(), chore.then, answer))
