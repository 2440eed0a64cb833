"""The local control socket: how people at the shop ask the daemon, without any TCP port.

A Unix stream socket, mode 0660. One connection carries one question: a line of JSON
`{"op": "status", "args": {}}`, answered by one line, `{"ok": true, "result": {}}` or
`{"ok": false, "error": "text for a person"}`; then the daemon closes. Who may open the socket may ask.
"""

from __future__ import annotations

import logging
import selectors
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event

from edge_agent.clock import Clock
from edge_agent.errors import FormatError
from edge_agent.events import Fact
from edge_agent.host.control_wire import (
    MAX_QUESTION,
    ControlError,
    Json,
    answer_line,
    parse_question,
    refusal,
)
from edge_agent.host.control_wire import call as call  # the side that asks, for the CLI
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
ASK_WITHIN_S = 5.0
ANSWER_WITHIN_S = 60.0
FETCH_WITHIN_S = 10.0
TICK_S = 0.5
QUIET = frozenset({"status"})  # polled by live tables; not worth a log line each


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the owner puts his one answer. Any thread; never blocks; only the first one counts."""

    _slot: Queue[Json]
    _wake: Callable[[], None]

    def result(self, result: Json) -> None:
        self._put({"ok": True, "result": result})

    def refuse(self, text: str) -> None:
        """Say no, in words for the person at the terminal."""
        self._put(refusal(text))

    def _put(self, answer: Json) -> None:
        try:
            self._slot.put_nowait(answer)
        except Full:
            log.warning("control: a second answer to one question is dropped")
        self._wake()


@dataclass(frozen=True, slots=True)
class ControlAsked(Fact):
    """Somebody at the shop asks `op`; the owner answers through `reply` within a minute."""

    op: str
    args: Json
    peer: Peer
    reply: Reply


@dataclass(slots=True)
class _Connection:
    """reading -> waiting for the owner -> writing; whatever lasts longer than `deadline` is closed."""

    socket: socket.socket
    peer: Peer
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    slot: Queue[Json] = field(default_factory=lambda: Queue(1))
    outgoing: memoryview | None = None
    asked: bool = False


class ControlSocket:
    """Worker. Serves `path` with one thread and at most eight connections; hands questions to `handle`.

    `handle` must not block (an inbox's `put`). A ninth connection is closed at once and counted.
    """

    def __init__(self, path: Path, handle: Callable[[ControlAsked], None], clock: Clock) -> None:
        self.name = "control-socket"
        self.turned_away = 0
        self._path = path
        self._handle = handle
        self._clock = clock
        self._connections: list[_Connection] = []

    def run(self, stop: Event, beat: Beat) -> None:
        """Raises ControlError when another daemon serves the same path."""
        with listen(self._path) as listener, selectors.DefaultSelector() as selector:
            waker, wakened = socket.socketpair()
            with waker, wakened:
                waker.setblocking(False)
                wakened.setblocking(False)
                selector.register(listener, selectors.EVENT_READ)
                selector.register(wakened, selectors.EVENT_READ)
                try:
                    while not stop.is_set():
                        beat()
                        self._turn(selector, listener, waker, wakened)
                finally:
                    self._close_all(selector)
                    self._path.unlink(missing_ok=True)

    def _turn(
        self,
        selector: selectors.BaseSelector,
        listener: socket.socket,
        waker: socket.socket,
        wakened: socket.socket,
    ) -> None:
        for key, _ in selector.select(TICK_S):
            if key.fileobj is listener:
                self._accept(selector, listener)
            elif key.fileobj is wakened:
                _drain(wakened)
            elif isinstance(key.data, _Connection):
                self._serve(selector, key.data, waker)
        self._collect_answers(selector)
        now = self._clock.monotonic()
        for connection in [c for c in self._connections if now > c.deadline]:
            if connection.asked and connection.outgoing is None:
                self._answer(selector, connection, refusal("the daemon is too busy to answer; try again"))
            else:
                self._close(selector, connection)

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:  # gone before we came
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self.turned_away += 1
            accepted.close()
            return
        accepted.setblocking(False)
        connection = _Connection(accepted, _peer(accepted), self._clock.monotonic() + ASK_WITHIN_S)
        self._connections.append(connection)
        selector.register(accepted, selectors.EVENT_READ, connection)

    def _serve(self, selector: selectors.BaseSelector, connection: _Connection, waker: socket.socket) -> None:
        try:
            if connection.outgoing is not None:
                self._send(selector, connection)
            elif not connection.asked:
                self._receive(selector, connection, waker)
            else:  # readable while it waits: it hung up, or talks on; either way nobody reads the answer
                self._close(selector, connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(selector, connection)

    def _receive(
        self, selector: selectors.BaseSelector, connection: _Connection, waker: socket.socket
    ) -> None:
        piece = connection.socket.recv(16 * 1024)
        if not piece:
            self._close(selector, connection)
            return
        connection.received += piece
        if b"\n" not in connection.received and len(connection.received) <= MAX_QUESTION:
            return
        connection.asked = True
        connection.deadline = self._clock.monotonic() + ANSWER_WITHIN_S
        try:
            op, args = parse_question(bytes(connection.received))
        except FormatError as error:
            self._answer(selector, connection, refusal(str(error)))
            return
        if op not in QUIET:
            log.info("control: %s asks %s", connection.peer, op)
        reply = Reply(connection.slot, lambda: _wake(waker))
        self._handle(ControlAsked(self._clock.now(), op, args, connection.peer, reply))

    def _collect_answers(self, selector: selectors.BaseSelector) -> None:
        for connection in [c for c in self._connections if c.asked and c.outgoing is None]:
            try:
                self._answer(selector, connection, connection.slot.get_nowait())
            except Empty:
                continue

    def _answer(self, selector: selectors.BaseSelector, connection: _Connection, answer: Json) -> None:
        connection.outgoing = memoryview(answer_line(answer))
        connection.deadline = self._clock.monotonic() + FETCH_WITHIN_S
        selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _send(self, selector: selectors.BaseSelector, connection: _Connection) -> None:
        assert connection.outgoing is not None
        connection.outgoing = connection.outgoing[connection.socket.send(connection.outgoing) :]
        if not connection.outgoing:
            self._close(selector, connection)

    def _close(self, selector: selectors.BaseSelector, connection: _Connection) -> None:
        selector.unregister(connection.socket)
        connection.socket.close()
        self._connections.remove(connection)

    def _close_all(self, selector: selectors.BaseSelector) -> None:
        for connection in list(self._connections):
            self._close(selector, connection)


def listen(path: Path) -> socket.socket:
    """Bind `path`, replacing what a killed daemon left. Raises ControlError when a living one serves it."""
    if path.is_socket() and _answers(path):
        raise ControlError(f"another agent already serves {path}")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # until here only the owner could connect: bind obeys the umask
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ControlError(f"cannot serve {path}: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(str(path)) == 0


def _peer(accepted: socket.socket) -> Peer:
    ucred = struct.Struct("3i")
    return Peer(*ucred.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ucred.size)))


def _wake(waker: socket.socket) -> None:
    try:
        waker.send(b"\0")
    except OSError:  # full: it is awake already; closed: nobody waits any more
        return


def _drain(wakened: socket.socket) -> None:
    try:
        wakened.recv(4096)
    except BlockingIOError:
        return
