"""The parts of the box that speak to a recorder, each as the daemon runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.loop import CaptureLoop
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.events import BoundedInbox, Fact
from edge_agent.model import Role, StreamKey, StreamSpec
from edge_agent.ring.sink import Rings
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer
from edge_agent.supervisor import Worker

SMALL: dict[str, Any] = {"h265": "none", "main": "320x180@25", "sub": "160x90@12", "interface": "none"}


class Running:
    """One worker in its thread, as the supervisor runs it."""

    def __init__(self, worker: Worker) -> None:
        self._stop = Event()
        self._thread = Thread(target=worker.run, args=(self._stop, lambda: None), name=worker.name)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()


class Eyes:
    """The daemon's capture loop with nothing behind it, and the facts that it told."""

    def __init__(self, gate: Lockouts, silence_s: float = 5.0) -> None:
        self.inbox = BoundedInbox()
        self.facts: list[Fact] = []
        self._box, (_, self._public) = BoxKey(bytes(32)), generate_recipient()
        self.loop = CaptureLoop(
            clock=SystemClock(),
            inbox=self.inbox,
            sink=Rings({}),
            sealer_for=self._sealer,
            gate=gate,
            silence_s=silence_s,
        )
        self._running = Running(self.loop)

    def open(self, dvr: VirtualDvr) -> list[StreamKey]:
        """Every stream of every channel."""
        keys = []
        for channel in dvr.channels:
            for role in Role:
                keys.append(StreamKey(f"cam-{channel:02d}", role))
                self.loop.start_stream(StreamSpec(keys[-1], dvr.endpoint(channel, role), bytes(16), False))
        return keys

    def states(self) -> list[str]:
        return [stats.state for stats in self.loop.stats().values()]

    def told(self) -> list[Fact]:
        while (fact := self.inbox.take(0)) is not None:
            self.facts.append(fact)
        return self.facts

    def stop(self) -> None:
        self._running.stop()

    def _sealer(self, spec: StreamSpec) -> StreamSealer:
        return StreamSealer(
            box=self._box,
            recipients=[Recipient("nobody", self._public)],
            stream_id=spec.stream_id,
            boot_id=bytes(16),
            aead=Aead.CHACHA20_POLY1305,
        )


def eventually(true: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.05)
    pytest.fail(f"not within {timeout_s:g} s: {what}")
