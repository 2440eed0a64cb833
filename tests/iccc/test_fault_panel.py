"""The fault panel's proxy against the control endpoint of a real virtual recorder."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.iccc.console.faults import DvrFaultPanel, FaultError


def test_faults_are_ordered_and_told_back() -> None:
    with VirtualDvr(channels=1) as dvr:
        panel = DvrFaultPanel(f"http://127.0.0.1:{dvr.control.port}")
        assert panel.state() == state("on", "on")
        panel.set_channel(1, "off")
        assert panel.state() == state("on", "off")
        panel.set_channel(1, "on")
        panel.set_device("off")
        assert panel.state() == state("off", "on")
        with pytest.raises(FaultError, match="refused"):
            panel.set_channel(7, "off")


def test_a_recorder_that_is_gone_is_said_so() -> None:
    with pytest.raises(FaultError, match="does not answer"):
        DvrFaultPanel("http://127.0.0.1:9").state()


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:80", "http://127.0.0.1"])
def test_only_a_plain_address_with_a_port_is_taken(url: str) -> None:
    with pytest.raises(FaultError):
        DvrFaultPanel(url)


def state(device: str, mode: str) -> dict[str, Any]:
    return {"device": device, "channels": [{"number": 1, "name": "Channel 1", "mode": mode}]}
