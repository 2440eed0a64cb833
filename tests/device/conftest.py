"""A virtual recorder for the whole session, healed after each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.capture import device
from edge_agent.capture.device import DeviceReport, Step
from edge_agent.capture.lockout import Lockouts
from edge_agent.clock import Clock, SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Credentials

sys.path.insert(0, str(Path(__file__).parent))  # the helpers of these tests stand beside them

SMALL: dict[str, Any] = {"h265": "none", "main": "320x180@25", "sub": "160x90@12"}


@pytest.fixture(scope="session")
def recorder() -> Iterator[VirtualDvr]:
    """A Dahua-like recorder that exposes inputs 1, 2 and 4, with a password that must be encoded in URLs."""
    with VirtualDvr((1, 2, 4), password="p@ss:/#?", serial="4E01B7EPAZ0DEV1", **SMALL) as dvr:
        yield dvr


@pytest.fixture(scope="session")
def hikvision() -> Iterator[VirtualDvr]:
    with VirtualDvr(2, "hikvision", serial="DS7208HQHI0HIK1", **SMALL) as dvr:
        yield dvr


@pytest.fixture
def dvr(recorder: VirtualDvr) -> Iterator[VirtualDvr]:
    healthy = recorder.control.state()["device"]
    assert isinstance(healthy, dict)
    yield recorder
    recorder.control.set_device(**healthy)
    recorder.control.set_credentials(recorder.credentials.username, recorder.credentials.password)


@pytest.fixture
def lockouts() -> Lockouts:
    return Lockouts()


@pytest.fixture
def probe(lockouts: Lockouts) -> Callable[..., DeviceReport]:
    def ask(
        dvr: VirtualDvr,
        credentials: Credentials | None = None,
        clock: Clock | None = None,
        on_step: Callable[[Step], None] | None = None,
        timeout_s: float = 6.0,
    ) -> DeviceReport:
        return device.probe(
            dvr.host,
            dvr.http_port,
            credentials or dvr.credentials,
            clock=clock or SystemClock(),
            on_step=on_step,
            gate=lockouts,
            timeout_s=timeout_s,
        )

    return ask
