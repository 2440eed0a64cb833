"""The compatibility processes of all streams: how many, who may have one, and how they end.

Capture thread only, and nothing here waits: a process is asked to end, killed a second later, and reaped
whenever it is gone. A stream whose processes keep dying is held back for a while and says so.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from edge_agent.capture.decode_child import bare_environment
from edge_agent.errors import SourceLost, SourceRefused
from edge_agent.model import Role, StreamKey

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "edge_agent.capture.compat_child")
PLACES = 2  # what a board with 1 GB and four small cores bears beside its recording
DEATHS_ALLOWED = 4
DEATHS_WITHIN_S = HELD_S = 600.0
FAREWELL_S = 1.0  # to say TEARDOWN


class Process:
    """One running compatibility process and our ends of its pipes."""

    def __init__(self, key: StreamKey, command: Sequence[str]) -> None:
        """Raises SourceLost when it cannot be started."""
        self.key = key
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                close_fds=True,
                cwd="/",
                env=bare_environment(),
                bufsize=0,
                start_new_session=True,  # an interrupt at the terminal is ours to pass on
            )
        except OSError as error:
            raise SourceLost(f"the compatibility process cannot be started: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.orders, self.pictures = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self.orders, False)
        os.set_blocking(self.pictures, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def leave(self) -> None:
        """Close our ends and ask it to end: it says TEARDOWN then."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def reaped(self) -> bool:
        """True once it is gone and leaves no zombie."""
        return self._process.poll() is not None


class CompatPool:
    """`places` processes at a time; main streams before subs."""

    def __init__(self, places: int = PLACES, command: Sequence[str] = COMMAND) -> None:
        self.started = 0
        self._places = places
        self._command = command
        self._running: dict[StreamKey, Process] = {}
        self._leaving: list[tuple[Process, float]] = []
        self._deaths: dict[StreamKey, tuple[float, ...]] = {}
        self._held_until_s: dict[StreamKey, float] = {}

    @property
    def pids(self) -> dict[StreamKey, int]:
        """Of the processes that run, for those who measure them. Any thread."""
        return {key: process.pid for key, process in self._running.copy().items()}

    def rival(self, key: StreamKey) -> StreamKey | None:
        """The sub stream that must give up its place so that main stream `key` can have it."""
        if len(self._running) < self._places or key.role is not Role.MAIN:
            return None
        return max((other for other in self._running if other.role is Role.SUB), default=None)

    def begin(self, key: StreamKey, sentence: str, now_s: float) -> Process:
        """Start one. `sentence` is why it is needed. Raises SourceRefused, or SourceLost."""
        if now_s < self._held_until_s.get(key, 0.0):
            minutes = HELD_S / 60
            raise SourceRefused(
                f"{sentence}; converting it failed again and again, so it rests {minutes:.0f} min"
            )
        if len(self._running) >= self._places:
            raise SourceRefused(
                f"{sentence}; {self._places} streams are converted already, and more is too much for this box"
            )
        process = self._running[key] = Process(key, self._command)
        self.started += 1
        return process

    def end(self, process: Process, now_s: float, blame: str = "") -> None:
        """Let it go. `blame` says what it did wrong, if its own end was no orderly one."""
        self._running.pop(process.key, None)
        process.leave()
        self._leaving.append((process, now_s + FAREWELL_S))
        if blame:
            self._note_death(process.key, now_s, blame)

    def forget(self, key: StreamKey) -> None:
        """The stream is started anew: what befell it before counts no more."""
        self._deaths.pop(key, None)
        self._held_until_s.pop(key, None)

    def reap(self, now_s: float) -> None:
        """Some ten times a second: whoever has not ended by its time is killed."""
        staying = []
        for process, until_s in self._leaving:
            if process.reaped():
                continue
            if now_s >= until_s:
                process.signal(signal.SIGKILL)
            staying.append((process, until_s))
        self._leaving = staying

    def close(self) -> None:
        """At the thread's end: wait a second at most for those that leave, then kill them."""
        until_s = time.monotonic() + FAREWELL_S
        while self._leaving and time.monotonic() < until_s + FAREWELL_S:
            for process, _ in self._leaving:
                if time.monotonic() >= until_s:
                    process.signal(signal.SIGKILL)
            self._leaving = [(process, at) for process, at in self._leaving if not process.reaped()]
            time.sleep(0.01)

    def _note_death(self, key: StreamKey, now_s: float, blame: str) -> None:
        recent = (*(t for t in self._deaths.get(key, ()) if now_s - t < DEATHS_WITHIN_S), now_s)
        self._deaths[key] = recent
        log.warning("%s: its compatibility process %s", key, blame)
        if len(recent) > DEATHS_ALLOWED:
            self._held_until_s[key] = now_s + HELD_S
            self._deaths.pop(key)
            log.error("%s: not converted for %.0f minutes: it ended its process too often", key, HELD_S / 60)
