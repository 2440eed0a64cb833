"""Things break and come back: DVR, broker, password, the agent itself. The daemon says which and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.demo.settings import DVR_PASSWORD, DVR_USER, SITE
from edge_agent.errors import EdgeAgentError

NEW_PASSWORD = "changed-by-the-owner"

pytestmark = pytest.mark.needs("mosquitto")

Soon = Callable[[Callable[[], object], float, str], None]


def dark(watcher: Any, camera: str, after: float) -> bool:
    return any(
        at > after and event.data.camera == camera and event.data.detail.get("state") == "dark"
        for at, event in watcher.ear.events
    )


def test_one_channel_off_is_one_event_and_the_others_go_on(watcher: Any, soon: Soon) -> None:
    began = time.monotonic()
    watcher.city.dvr.control.set_channel(2, mode="off")
    try:
        soon(lambda: dark(watcher, "cam-02", began), 15, "an event for cam-02")
        assert not dark(watcher, "cam-01", began)
        told = [e for at, e in watcher.ear.events if at > began and e.data.camera == "cam-02"]
        event = next(e for e in told if e.data.detail["state"] == "dark")
        assert event.data.detail["host_reachable"] is True
    finally:
        watcher.city.dvr.control.set_channel(2, mode="on")
    watcher.wait_until_seeing(2)


def test_the_whole_recorder_off_is_told_and_recording_resumes_by_itself(watcher: Any, soon: Soon) -> None:
    began = time.monotonic()
    watcher.city.dvr.control.set_device(off=True)
    try:
        soon(lambda: all(dark(watcher, c, began) for c in ("cam-01", "cam-02")), 20, "both dark")
        causes = [e.data.detail.get("cause", "") for at, e in watcher.ear.events if at > began]
        assert any("refuses connections" in str(cause) for cause in causes)
    finally:
        watcher.city.dvr.control.set_device(off=False)
    watcher.wait_until_seeing(2)


def test_the_broker_gone_and_back_leaves_recording_alone(watcher: Any, soon: Soon) -> None:
    watcher.city.broker.stop()
    time.sleep(4)
    status = watcher.status()
    assert not status["link"]["up"]
    assert "127.0.0.1" in status["link"]["reason"]
    assert all(camera["state"] == "up" for camera in status["cameras"])
    watcher.city.broker.start()
    soon(lambda: watcher.status()["link"]["up"], 40, "the link is up again")
    heartbeats = watcher.ear.heartbeats
    soon(lambda: watcher.ear.heartbeats > heartbeats, 30, "heartbeats again")


def test_a_killed_agent_comes_back_and_says_that_it_was_killed(watcher: Any, soon: Soon) -> None:
    agent = watcher.city.agent
    before = watcher.client.birth(SITE)
    os.kill(agent.pid, signal.SIGKILL)
    soon(lambda: not agent.running, 5, "the agent is dead")
    agent.start()
    watcher.wait_until_seeing(2)
    soon(lambda: watcher.client.birth(SITE).session != before.session, 20, "a new birth")
    assert watcher.client.birth(SITE).data.clean_shutdown is False
    ledger = b"".join(p.read_bytes() for p in (watcher.city.layout.agent / "ledger").glob("leaves-*"))
    assert b'"before":"killed"' in ledger


def test_a_frozen_agent_accuses_no_camera(watcher: Any, soon: Soon) -> None:
    began = time.monotonic()
    os.kill(watcher.city.agent.pid, signal.SIGSTOP)
    time.sleep(14)
    os.kill(watcher.city.agent.pid, signal.SIGCONT)
    watcher.wait_until_seeing(2)
    time.sleep(3)
    assert not any(dark(watcher, camera, began) for camera in ("cam-01", "cam-02"))
    ledger = b"".join(p.read_bytes() for p in (watcher.city.layout.agent / "ledger").glob("leaves-*"))
    assert b'"standstill"' in ledger


def test_a_wrong_password_costs_two_answers_and_is_cured_by_editing_the_configuration(
    watcher: Any, soon: Soon
) -> None:
    control, config = watcher.city.dvr.control, watcher.city.layout.agent_config
    soon(lambda: any(r["make"] for r in watcher.status()["recorders"]), 20, "ONVIF is through")
    control.set_credentials(DVR_USER, NEW_PASSWORD)
    control.act("cut")
    soon(lambda: watcher.seeing() == 0, 40, "nothing is seen")
    time.sleep(6)
    assert control.state()["wrong_passwords"] <= 2
    causes = " ".join(camera["reason"] for camera in watcher.status()["cameras"])
    assert "password" in causes
    assert DVR_PASSWORD not in causes

    config.write_text(
        config.read_text(encoding="utf-8").replace(DVR_PASSWORD, NEW_PASSWORD), encoding="utf-8"
    )
    soon(lambda: not watcher.city.agent.running, 10, "the daemon ends to take the edit")
    watcher.city.agent.start()  # as the service manager does
    watcher.wait_until_seeing(2)
    assert watcher.city.agent.exit_code is None


def test_a_second_daemon_on_the_same_state_is_told_to_go(watcher: Any) -> None:
    from edge_agent.demo.city import agent_status

    assert agent_status(watcher.city.layout.agent_config)["site"] == {
        "id": SITE,
        "name": "Ramghat Road Petrol Pump",
        "kind": "petrol_pump",
    }
    with pytest.raises(EdgeAgentError, match="No such file"):
        agent_status(watcher.city.layout.agent / "missing.toml")
