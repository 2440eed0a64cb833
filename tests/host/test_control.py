"""The control socket over a real Unix socket, with owners good and bad."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import FormatError
from edge_agent.host import control, control_wire
from edge_agent.host.control import ControlAsked, ControlSocket, call
from edge_agent.host.control_wire import ControlError, parse_question

Owner = Callable[[ControlAsked], None]


class Daemon:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[ControlAsked] = []
        self.owner: Owner = lambda asked: asked.reply.result({"echo": asked.args})
        self.socket = ControlSocket(path, self._handle, SystemClock())
        self._stop = Event()
        self._beaten = Event()
        self._thread = Thread(target=self.socket.run, args=(self._stop, self._beaten.set))

    def start(self) -> None:
        self._thread.start()
        assert self._beaten.wait(5)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _handle(self, asked: ControlAsked) -> None:
        self.asked.append(asked)
        self.owner(asked)


@pytest.fixture(autouse=True)
def _stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TICK_S", 0.02)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "control.sock")
    made.start()
    yield made
    made.stop()


def _raw(path: Path, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(sent)
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


def test_a_question_reaches_the_owner_and_his_answer_returns(daemon: Daemon) -> None:
    assert call(daemon.path, "status", {"a": [1, "ü"]}) == {"echo": {"a": [1, "ü"]}}
    asked = daemon.asked[0]
    assert (asked.op, asked.peer.pid, asked.peer.uid) == ("status", os.getpid(), os.getuid())


def test_a_refusal_arrives_in_words(daemon: Daemon) -> None:
    daemon.owner = lambda asked: asked.reply.refuse("cam-09: no such camera")
    with pytest.raises(ControlError, match="cam-09: no such camera"):
        call(daemon.path, "snapshot", {"camera": "cam-09"})


def test_an_answer_given_later_from_another_thread_arrives(daemon: Daemon) -> None:
    daemon.owner = lambda asked: Thread(target=lambda: asked.reply.result({"late": True})).start()
    assert call(daemon.path, "snapshot", {}) == {"late": True}


def test_a_large_answer_arrives_whole(daemon: Daemon) -> None:
    jpeg = "x" * 3_000_000
    daemon.owner = lambda asked: asked.reply.result({"jpeg": jpeg})
    assert call(daemon.path, "snapshot", {}) == {"jpeg": jpeg}


def test_an_answer_beyond_the_bound_becomes_a_refusal(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wire, "MAX_ANSWER", 1000)
    daemon.owner = lambda asked: asked.reply.result({"jpeg": "x" * 1001})
    with pytest.raises(ControlError, match="too large"):
        call(daemon.path, "snapshot", {})


def test_a_second_answer_is_dropped(daemon: Daemon) -> None:
    def twice(asked: ControlAsked) -> None:
        asked.reply.result({"n": 1})
        asked.reply.result({"n": 2})

    daemon.owner = twice
    assert call(daemon.path, "status", {}) == {"n": 1}


def test_an_owner_who_never_answers_is_excused(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_WITHIN_S", 0.1)
    daemon.owner = lambda asked: None
    with pytest.raises(ControlError, match="too busy"):
        call(daemon.path, "status", {})


def test_a_client_that_says_nothing_is_shown_the_door(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ASK_WITHIN_S", 0.1)
    assert _raw(daemon.path, b"") == b""
    assert daemon.asked == []


def test_silent_clients_do_not_hold_up_the_others(daemon: Daemon) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(control.MAX_CONNECTIONS - 1)]
    for client in silent:
        client.connect(str(daemon.path))
    assert call(daemon.path, "status", {}) == {"echo": {}}
    for client in silent:
        client.close()


def test_more_than_eight_connections_are_turned_away_and_counted(daemon: Daemon) -> None:
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(control.MAX_CONNECTIONS)]
    for client in crowd:
        client.connect(str(daemon.path))
    with pytest.raises(ControlError):
        call(daemon.path, "status", {})
    for client in crowd:
        client.close()
    assert daemon.socket.turned_away == 1


def test_a_client_that_hangs_up_early_harms_nobody(daemon: Daemon) -> None:
    waiting: list[ControlAsked] = []
    arrived = Event()

    def owner(asked: ControlAsked) -> None:
        waiting.append(asked)
        arrived.set()

    daemon.owner = owner
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.path))
        client.sendall(b'{"op":"status"}\n')
        arrived.wait(5)
    waiting[0].reply.result({})
    daemon.owner = lambda asked: asked.reply.result({"still": "here"})
    assert call(daemon.path, "status", {}) == {"still": "here"}


@pytest.mark.parametrize(
    "question",
    [
        b"\n",
        b"{}\n",
        b"[" * 50_000 + b"\n",
        b'{"op":1}\n',
        b'{"op":"x","args":[]}\n',
        b'{"op":"x","y":1}\n',
        b"\xff\n",
    ],
)
def test_a_malformed_question_is_answered_with_words(daemon: Daemon, question: bytes) -> None:
    answer = json.loads(_raw(daemon.path, question))
    assert answer["ok"] is False
    assert "question" in answer["error"]
    assert daemon.asked == []


def test_an_endless_question_is_cut_off(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(daemon.path))
        with pytest.raises(BrokenPipeError):
            client.sendall(bytes(4 * 1024 * 1024))


def test_the_socket_is_for_owner_and_group(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o660


def test_the_socket_is_gone_after_stop_and_the_caller_is_told_what_to_do(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "control.sock")
    daemon.start()
    daemon.stop()
    assert not daemon.path.exists()
    with pytest.raises(ControlError, match=r"not running.*systemctl start edge-agent"):
        call(daemon.path, "status", {})


def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with pytest.raises(ControlError, match="not running"):
        call(path, "status", {})
    daemon = Daemon(path)
    daemon.start()
    assert call(path, "status", {}) == {"echo": {}}
    daemon.stop()


def test_a_living_daemon_is_not_displaced(daemon: Daemon) -> None:
    second = ControlSocket(daemon.path, lambda _: None, ManualClock())
    with pytest.raises(ControlError, match="another agent"):
        second.run(Event(), lambda: None)
    assert call(daemon.path, "status", {}) == {"echo": {}}


def test_a_path_too_long_for_a_socket_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="cannot serve"):
        ControlSocket(tmp_path / ("x" * 120), lambda _: None, ManualClock()).run(Event(), lambda: None)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_question_or_a_format_error(line: bytes) -> None:
    try:
        op, args = parse_question(line)
    except FormatError:
        return
    assert isinstance(op, str)
    assert isinstance(args, dict)
