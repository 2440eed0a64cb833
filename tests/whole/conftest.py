"""One city for the session: virtual DVR, mosquitto with mutual TLS, console, agent, all as processes."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser_page import browser as browser  # fixtures for the tests of this folder
from browser_page import page as page

from edge_agent.demo.city import City, CityOptions
from edge_agent.demo.report import Ear
from edge_agent.demo.settings import SITE
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.hearing import Disbelieved, Fact
from edge_agent.uplink.topics import MediaTopic, UpTopic

T = TypeVar("T")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Watcher:
    """The command centre's eyes on the city, and everything that crossed the broker upwards."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.ear = Ear()
        self.payloads: list[bytes] = []
        self.media: list[bytes] = []
        self.disbelieved: list[Disbelieved] = []
        self.client: IcccClient = city.client()
        self.client.listen(self.ear.heard)
        self.client.listen(self._disbelief)
        self.client.listen_raw(self._keep)
        self.client.start()

    def status(self) -> dict:
        return self.city.status()

    def wait_until_seeing(self, cameras: int, timeout_s: float = 40) -> None:
        eventually(lambda: self.seeing() == cameras, timeout_s, f"{cameras} cameras seeing")

    def seeing(self) -> int:
        try:
            return sum(camera["state"] == "up" for camera in self.status()["cameras"])
        except EdgeAgentError:
            return -1

    def _disbelief(self, fact: Fact) -> None:
        if isinstance(fact, Disbelieved):
            self.disbelieved.append(fact)

    def _keep(self, topic: UpTopic | MediaTopic, payload: bytes) -> None:
        (self.media if isinstance(topic, MediaTopic) else self.payloads).append(payload)


def eventually(true: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.2)
    pytest.fail(f"not within {timeout_s:.0f} s: {what}")


@pytest.fixture
def soon() -> Callable[[Callable[[], object], float, str], None]:
    return eventually


@pytest.fixture(scope="session")
def make_watcher() -> Callable[[City], Watcher]:
    """For tests with a city of their own."""
    return Watcher


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    state: Path = tmp_path_factory.mktemp("city")
    options = CityOptions(cameras=2, state=state, broker="mosquitto", port=free_port())
    with City(options, lambda _text: None) as city:
        yield city


@pytest.fixture(scope="session")
def watcher(city: City) -> Iterator[Watcher]:
    watcher = Watcher(city)
    try:
        watcher.wait_until_seeing(2)
        eventually(lambda: watcher.client.birth(SITE), 20, "the birth")
        yield watcher
    finally:
        watcher.client.stop()
