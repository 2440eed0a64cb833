"""What a box keeps in memory for a line that takes nothing: little, whatever it is given to say."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from quiet_broker import QuietBroker

from edge_agent.demo.pki import Pki

BOX = Path(__file__).with_name("hungry_box.py")
MOST_BYTES = 48 * 1024**2  # outbox 12, tap and pacing 8, TLS and the allocator's slack
OFFERED_BYTES = 2.5 * MOST_BYTES


class Trickle(QuietBroker):
    """Accepts the client, and then reads one byte a second."""

    def __init__(self, pki: Pki) -> None:
        self._patience = threading.Event()
        self._accepted = 0
        super().__init__(pki)

    def _answer(self, end: ssl.SSLSocket, kind: int, body: bytes) -> None:
        super()._answer(end, kind, body)
        if kind == 0x90:
            while not self._patience.wait(1.0) and end.recv(1):
                pass

    def close(self) -> None:
        self._patience.set()
        super().close()


class Nobody:
    """A port where nobody listens."""

    def __init__(self, pki: Pki) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]

    def close(self) -> None:
        pass


@pytest.fixture(params=[Nobody, QuietBroker, Trickle], ids=["away", "never acknowledges", "a byte a second"])
def useless(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Nobody | QuietBroker]:
    with closing(request.param(pki)) as broker:
        yield broker


def growth(pki: Pki, port: int, rounds: int) -> tuple[int, int]:
    command = [sys.executable, str(BOX), str(pki.ca.parent), str(port), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    grown, offered = done.stdout.split()[-2:]
    return int(grown), int(offered)


def test_memory_stays_bounded_on_a_line_that_takes_nothing(pki: Pki, useless: Nobody | QuietBroker) -> None:
    grown, offered = growth(pki, useless.port, 110)
    assert offered > OFFERED_BYTES
    assert grown < MOST_BYTES


@pytest.mark.long
def test_memory_does_not_creep_either(pki: Pki, useless: Nobody | QuietBroker) -> None:
    grown, offered = growth(pki, useless.port, 2000)
    assert offered > 2 * 10**9
    assert grown < MOST_BYTES
