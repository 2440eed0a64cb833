"""What real recorders do over ONVIF, one test a case, against a virtual recorder over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from onvif_world import SMALL, Eyes, Running, eventually

from edge_agent.capture import device
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials
from edge_agent.seal.keys import BoxKey
from edge_agent.supervisor import Worker


@pytest.fixture
def lockouts() -> Lockouts:
    return Lockouts()


@pytest.fixture
def eyes(lockouts: Lockouts) -> Iterator[Eyes]:
    eyes = Eyes(lockouts)
    yield eyes
    eyes.stop()


@pytest.fixture
def look() -> Iterator[Callable[[Lockouts], Eyes]]:
    """Further capture loops, as after a restart of the agent."""
    opened: list[Eyes] = []

    def make(gate: Lockouts) -> Eyes:
        opened.append(Eyes(gate))
        return opened[-1]

    yield make
    for eyes in opened:
        eyes.stop()


@pytest.fixture
def run() -> Iterator[Callable[[Worker], Running]]:
    started: list[Running] = []

    def start(worker: Worker) -> Running:
        started.append(Running(worker))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def four_channels() -> Iterator[VirtualDvr]:
    with VirtualDvr(4, serial="4E01B7FIELD0001", **SMALL) as dvr:
        yield dvr


@pytest.fixture
def dvr(four_channels: VirtualDvr) -> Iterator[VirtualDvr]:
    state = four_channels.control.state()
    device, channels = state["device"], state["channels"]
    assert isinstance(device, dict)
    assert isinstance(channels, dict)
    yield four_channels
    four_channels.control.set_device(**device)
    for number, faults in channels.items():
        four_channels.control.set_channel(int(number), **faults)
    four_channels.control.act("reboot")
    credentials = four_channels.credentials
    four_channels.control.set_credentials(credentials.username, credentials.password)


def wrong(dvr: VirtualDvr) -> int:
    count = dvr.control.state()["wrong_passwords"]
    assert isinstance(count, int)
    return count


def probe(dvr: VirtualDvr, gate: Lockouts, credentials: Credentials | None = None) -> device.DeviceReport:
    given = credentials or dvr.credentials
    return device.probe(dvr.host, dvr.http_port, given, clock=SystemClock(), gate=gate)


def test_case_07_wrong_password_costs_two_answers(dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes) -> None:
    """Eight streams play and ONVIF is asked, when the password changes and everything is cut."""
    eyes.open(dvr)
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    dvr.control.set_device(lockout_after=3)
    dvr.control.set_credentials("admin", "changed-at-the-recorder")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(probe, dvr, lockouts) for _ in range(4)]
        dvr.control.act("cut")
        assert all(isinstance(each.exception(), DeviceError) for each in asked)
    eventually(lambda: eyes.states().count("refused") == 8, 15, "eight streams that hold their tongue")

    assert wrong(dvr) <= 2
    reasons = [stats.reason for stats in eyes.loop.stats().values()]
    assert all("'admin'" in reason and "No further attempt" in reason for reason in reasons)


def test_case_07_a_restart_does_not_try_the_same_password_again(
    dvr: VirtualDvr, tmp_path: Path, look: Callable[[Lockouts], Eyes]
) -> None:
    path, sign = tmp_path / "lockouts.json", BoxKey(bytes(32)).sign
    kept = LockoutFile(path, sign)
    dvr.control.set_credentials("admin", "changed-at-the-recorder")
    first = look(kept.lockouts)
    first.open(dvr)
    eventually(lambda: first.states().count("refused") == 8, 15, "eight streams that hold their tongue")
    kept.save()
    assert wrong(dvr) == 2

    again = LockoutFile(path, sign).lockouts
    second = look(again)
    second.open(dvr)
    with pytest.raises(DeviceError, match="No further attempt"):
        probe(dvr, again)
    eventually(lambda: second.states().count("refused") == 8, 15, "eight streams that do not even ask")

    assert wrong(dvr) == 2
    assert "admin123" not in path.read_text()
    assert len(probe(dvr, again, Credentials("admin", "changed-at-the-recorder")).channels) == 4


def test_case_07_the_devices_own_countdown_is_shown(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="token", lockout_after=5)

    with pytest.raises(DeviceError, match=r"4 attempt\(s\) are left"):
        probe(dvr, lockouts, Credentials("admin", "wrong"))


def test_case_07_the_right_password_of_a_slow_crowd_is_not_counted(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes
) -> None:
    """Short-lived nonces and eight streams at once: every answer is right, so all play."""
    dvr.control.set_device(sha256=True, nonce_life_s=0.05)

    eyes.open(dvr)

    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    assert wrong(dvr) == 0


def test_case_07_a_changed_password_does_not_end_streams_that_play(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open sessions go on after a change; keep-alives must not spend the attempts, nor end the picture."""
    monkeypatch.setattr("edge_agent.capture.rtsp_session.LONGEST_KEEPALIVE_S", 0.5)
    eyes.open(dvr)
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")

    dvr.control.set_credentials("admin", "changed-at-the-recorder")
    eventually(lambda: wrong(dvr) >= 2, 10, "keep-alives that were refused")
    asked = dvr.control.count("rtsp_get_parameter")
    eventually(lambda: dvr.control.count("rtsp_get_parameter") > asked + 16, 10, "more keep-alives")

    assert wrong(dvr) == 2
    assert eyes.states().count("playing") == 8
