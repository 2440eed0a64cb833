"""Starts workers, restarts them with back-off when they die, and knows which have beaten lately.

The only place that catches every exception: a worker's bug becomes a logged traceback, a `WorkerFailed`
fact and a restart, never a dead daemon.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Protocol, TypeVar

from edge_agent.clock import Clock
from edge_agent.events import Inbox, WorkerFailed

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Worker(Protocol):
    """Something with a thread of its own. `run` returns soon after `stop` is set and beats while alive."""

    name: str

    def run(self, stop: Event, beat: Beat) -> None: ...


class Beat(Protocol):
    def __call__(self) -> None:
        """Say that the worker is alive; call at least every few seconds."""
        ...


def contain(body: Callable[[], T], on_error: Callable[[Exception], T]) -> T:
    """Run one part of a worker that must not end the others: its bug is logged and given to `on_error`."""
    try:
        return body()
    except Exception as error:
        log.exception("a part of a worker failed")
        return on_error(error)


@dataclass(slots=True)
class _Charge:
    worker: Worker
    patience_s: float
    beaten: float
    thread: Thread | None = None
    stop: Event = field(default_factory=Event)
    restarts: int = 0


class Supervisor:
    """Owns the worker threads. Built and stopped by the main thread, in a visible order."""

    def __init__(self, clock: Clock, inbox: Inbox) -> None:
        self._clock = clock
        self._inbox = inbox
        self._charges: list[_Charge] = []

    def start(self, worker: Worker, *, patience_s: float = 20.0) -> None:
        """Run `worker` in a thread; it counts as stuck when it has not beaten for `patience_s`."""
        charge = _Charge(worker, patience_s, self._clock.monotonic())
        charge.thread = Thread(target=self._keep_running, args=(charge,), name=worker.name, daemon=True)
        self._charges.append(charge)
        charge.thread.start()

    def stop(self, timeout_s: float = 5.0) -> list[str]:
        """Stop in reverse order of start; returns the names of workers that did not end in time."""
        late: list[str] = []
        for charge in reversed(self._charges):
            charge.stop.set()
            if charge.thread is not None:
                charge.thread.join(timeout_s)
                if charge.thread.is_alive():
                    late.append(charge.worker.name)
        return late

    def stuck(self) -> list[str]:
        """Names of workers that have not beaten within their patience: reason to let the watchdog bite."""
        now = self._clock.monotonic()
        return [c.worker.name for c in self._charges if now - c.beaten > c.patience_s]

    def restarts(self) -> dict[str, int]:
        return {c.worker.name: c.restarts for c in self._charges}

    def _keep_running(self, charge: _Charge) -> None:
        def beat() -> None:
            charge.beaten = self._clock.monotonic()

        pause_s = FIRST_PAUSE_S
        while not charge.stop.is_set():
            started = self._clock.monotonic()
            beat()
            try:
                charge.worker.run(charge.stop, beat)
            except Exception as error:
                log.exception("%s failed; restarting in %.1f s", charge.worker.name, pause_s)
                self._inbox.put(WorkerFailed(self._clock.now(), charge.worker.name, repr(error)))
            if charge.stop.is_set():
                return
            if self._clock.monotonic() - started > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            charge.restarts += 1
            beat()
            charge.stop.wait(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
