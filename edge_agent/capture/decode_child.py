"""The daemon's end of the decode process: starts it bare, asks with a deadline, ends it without mercy."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from edge_agent.capture import picture_wire as wire
from edge_agent.errors import EdgeAgentError, FormatError

COMMAND = (sys.executable, "-m", "edge_agent.capture.decode")
NICE = 10  # footage goes before pictures of it, above all in the second after a start
START_S = 30.0  # importing OpenCV takes a Pi with a cold card many seconds


class ChildLost(EdgeAgentError):
    """The decode process died, hung or talked nonsense; it is gone now."""


class DecodeChild:
    """One running decode process. Used by one thread."""

    def __init__(self, command: Sequence[str] = COMMAND, *, start_s: float = START_S) -> None:
        """Start it and wait until it is ready. Raises ChildLost."""
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
            )
        except OSError as error:
            raise ChildLost(f"the decode process cannot be started: {error}") from error
        with contextlib.suppress(OSError):  # it may be over already; a filter may forbid the call
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        try:
            self._read_answer(time.monotonic() + start_s)
        except ChildLost as error:
            raise ChildLost(f"the decode process does not start: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: wire.Request, deadline_s: float) -> wire.Answer:
        """One picture, answered within `deadline_s`. Raises ChildLost, after which this child is over, and
        FormatError when the picture is too large to be asked about."""
        until = time.monotonic() + deadline_s
        self._write(wire.frame(wire.encode_request(request)), until)
        return self._read_answer(until)

    @property
    def running(self) -> bool:
        """False once it has ended, for instance killed while it had nothing to do."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process and reap it. May be called twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read_answer(self, until: float) -> wire.Answer:
        try:
            length = wire.frame_length(self._read(wire.LENGTH.size, until))
            return wire.decode_answer(self._read(length, until))
        except FormatError as error:
            raise self._lost(str(error)) from error

    def _write(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._in, select.POLLOUT, until)
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost("it closed its input") from error

    def _read(self, count: int, until: float) -> bytes:
        got = bytearray()
        while len(got) < count:
            self._wait(self._out, select.POLLIN, until)
            try:
                chunk = os.read(self._out, min(count - len(got), 1 << 18))
            except BlockingIOError:
                continue
            if not chunk:
                raise self._lost("it ended")
            got += chunk
        return bytes(got)

    def _wait(self, fd: int, event: int, until: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        left_s = until - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise self._lost("no answer in time")

    def _lost(self, what: str) -> ChildLost:
        self.close()
        code = self._process.returncode
        return ChildLost(f"{what} (exit {code})")


def bare_environment() -> dict[str, str]:
    """Nothing of ours but what Python needs to find the package: no credentials, no proxies."""
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return {**kept, **single, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
