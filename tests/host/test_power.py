"""Mains power as NUT tells it: the real daemon with its dummy driver, and daemons that misbehave."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from edge_agent.host.power import Power, UpsAddress, UpsError, ask_ups, mains_of

NUT = Path("/lib/nut")  # beside the wrapper in /usr/sbin, which wants the whole machine to be configured


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("apc@10.0.0.7:3494", UpsAddress("apc", "10.0.0.7", 3494)),
        ("localhost", UpsAddress("", "localhost", 3493)),
    ],
)
def test_a_ups_is_named_as_nut_names_it(text: str, address: UpsAddress) -> None:
    assert UpsAddress.parse(text) == address


@pytest.mark.parametrize("text", ["", "ups@", "host:port"])
def test_what_names_no_ups_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        UpsAddress.parse(text)


@pytest.mark.parametrize(
    ("status", "mains"),
    [("OL", True), ("OL CHRG", True), ("OB DISCHRG LB", False), ("", None), ("WAIT", None), ("OL OB", None)],
)
def test_mains_is_what_the_status_says_and_nothing_else(status: str, mains: bool | None) -> None:
    assert mains_of(status) is mains


@contextmanager
def answering(*replies: bytes) -> Iterator[UpsAddress]:
    """A daemon that answers each line with the next reply, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                for reply in replies:
                    peer.recv(1024)
                    peer.sendall(reply)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield UpsAddress("", "127.0.0.1", server.getsockname()[1])
        thread.join(5)


LIST = b'BEGIN LIST UPS\nUPS apc "Back-UPS"\nEND LIST UPS\n'


@pytest.mark.parametrize(
    "replies",
    [
        (b"",),
        (b"BEGIN LIST UPS\nEND LIST UPS\n",),
        (b"x" * 5000,),
        (LIST, b"ERR UNKNOWN-UPS\n"),
        (LIST, b""),
    ],
)
def test_a_daemon_that_knows_nothing_is_an_error(replies: tuple[bytes, ...]) -> None:
    with answering(*replies) as address, pytest.raises(UpsError):
        ask_ups(address)


def test_a_ups_that_the_daemon_has_lost_tells_nothing() -> None:
    with answering(LIST, b"ERR DATA-STALE\n", b"OK Goodbye\n") as address:
        assert ask_ups(address) == Power(None, "UPS apc")


def test_a_daemon_that_hangs_costs_no_more_than_the_patience() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = UpsAddress("", "127.0.0.1", server.getsockname()[1])
        with pytest.raises(UpsError, match="does not answer"):
            ask_ups(address, timeout_s=0.3)


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UpsError, match="refused"):
        ask_ups(UpsAddress("", "127.0.0.1", port))


class Upsd:
    """NUT's own daemon and its driver for a UPS that is a file."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._state = home / "shop.dev"
        self.say("OL", 100)
        (home / "ups.conf").write_text(
            f"[shop]\n driver = dummy-ups\n port = {self._state}\n mode = dummy-loop\n"
        )
        (home / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\n")
        (home / "upsd.users").write_text("")
        (home / "run").mkdir(mode=0o770)
        for file in home.glob("ups*.*"):
            file.chmod(0o640)
        user = ["-u", "root"] if os.geteuid() == 0 else []
        environment = {**os.environ, "NUT_CONFPATH": str(home), "NUT_STATEPATH": str(home / "run")}
        self._programs = [
            subprocess.Popen(
                command,
                env={**environment, "NUT_ALTPIDPATH": str(home / "run")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in (
                [str(NUT / "dummy-ups"), "-F", "-a", "shop", *user],
                [str(NUT / "upsd"), "-F", *user],
            )
        ]
        self.address = UpsAddress("", "127.0.0.1", self.port)

    def say(self, status: str, charge: int) -> None:
        self._state.write_text(f"ups.status: {status}\nbattery.charge: {charge}\nTIMER 1\n")

    def stop(self) -> None:
        for program in self._programs:
            program.terminate()
        for program in self._programs:
            program.wait(10)


@pytest.fixture
def upsd(tmp_path: Path) -> Iterator[Upsd]:
    running = Upsd(tmp_path)
    yield running
    running.stop()


def told(address: UpsAddress, wanted: Callable[[Power], bool], within_s: float = 15) -> Power:
    until = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < until:
        try:
            last = ask_ups(address)
            if wanted(last):
                return last
        except UpsError as error:
            last = error
        time.sleep(0.1)
    pytest.fail(f"not told in time; last: {last}")


@pytest.mark.needs("upsd")
def test_the_real_daemon_tells_mains_then_battery(upsd: Upsd) -> None:
    assert told(upsd.address, lambda p: p.mains is True) == Power(True, "UPS shop", 100)
    upsd.say("OB DISCHRG", 83)
    assert told(upsd.address, lambda p: p.mains is False).charge_percent == 83
