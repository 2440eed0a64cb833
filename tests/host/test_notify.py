"""sd_notify against a real datagram socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.host.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(5)
        yield receiver, str(path)


def test_ready_carries_the_first_status(systemd: tuple[socket.socket, str]) -> None:
    receiver, path = systemd
    Notifier(path).ready("4 cameras,\nrecording")
    assert receiver.recv(500) == b"READY=1\nSTATUS=4 cameras, recording"


def test_a_status_is_sent_once_until_it_changes(systemd: tuple[socket.socket, str]) -> None:
    receiver, path = systemd
    notifier = Notifier(path)
    for text in ("a", "a", "b"):
        notifier.status(text)
    notifier.stopping()
    assert [receiver.recv(500) for _ in range(3)] == [b"STATUS=a", b"STATUS=b", b"STOPPING=1"]


def test_abstract_addresses_are_spoken_to() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel picks an abstract name
        name = receiver.getsockname()
        Notifier("@" + name[1:].decode()).alive()
        receiver.settimeout(5)
        assert receiver.recv(500) == b"WATCHDOG=1"


def test_a_deaf_manager_does_not_hold_us_up(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        notifier = Notifier(path)
        for _ in range(2000):  # far more than its buffer takes
            notifier.alive()
    notifier.alive()  # and a manager that is gone


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready("up")
    assert not notifier.under_systemd
    assert notifier.pet_every_s is None


@pytest.mark.parametrize(("pid", "expected"), [("41", 10.0), ("42", None), ("", 10.0)])
def test_the_watchdog_is_ours_only_if_it_names_our_pid(pid: str, expected: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}
    assert Notifier.from_environment(environ, pid=41).pet_every_s == expected
