"""Fixtures of the uplink's tests; the helpers are in uplink_world.py beside this file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki, client_context

sys.path.insert(0, str(Path(__file__).parent))

from uplink_world import CENTER, Box, Center, Wire


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.client(CENTER)
    return made


@pytest.fixture
def broker(tmp_path: Path, pki: Pki) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "mosquitto", pki)
    server.start()
    yield server
    server.stop()


class Stubborn(Mosquitto):
    """A broker with further lines in its configuration."""

    extra = ""

    def _configure(self, port: int) -> Path:
        conf = super()._configure(port)
        conf.write_text(conf.read_text() + self.extra + "\n")
        return conf


@pytest.fixture
def broker_with(tmp_path: Path, pki: Pki) -> Iterator[Callable[[str], int]]:
    """Starts a broker with one more line of configuration; the answer is its port."""
    server = Stubborn(tmp_path / "stubborn", pki)

    def start(line: str) -> int:
        server.extra = line
        server.start()
        return server.port

    yield start
    server.stop()


@pytest.fixture
def center(broker: Mosquitto, pki: Pki) -> Iterator[Callable[..., Center]]:
    """Connects clients: `center("iccc/v1/#")` as the command centre, `name=` for somebody else."""
    opened: list[Center] = []

    def connect(*filters: str, name: str = CENTER) -> Center:
        context = client_context(pki.ca, pki.client(name))
        opened.append(Center(broker.port, context, name, *filters))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def wire(broker: Mosquitto) -> Iterator[Wire]:
    made = Wire(broker.port)
    yield made
    made.close()


@pytest.fixture
def box(pki: Pki, broker: Mosquitto) -> Box:
    return Box(pki, broker.port)
