"""The systemd unit: as tight as promised, and none of the traps that break it on a real box."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "systemd/edge-agent.service"
EXPOSURE_BAR = 1.3


def _service() -> dict[str, list[str]]:
    """Settings of [Service]; systemd lets a key come several times."""
    settings: dict[str, list[str]] = {}
    section = UNIT.read_text().split("[Service]")[1].split("[Install]")[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        settings.setdefault(key, []).append(value)
    return settings


@pytest.mark.needs("systemd-analyze")
def test_exposure_is_within_the_bar() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"Overall exposure level for edge-agent.service: ([\d.]+)", said)
    assert found is not None
    assert float(found.group(1)) <= EXPOSURE_BAR


def test_a_forbidden_call_is_refused_not_fatal() -> None:
    assert _service()["SystemCallErrorNumber"] == ["EPERM"]  # else numpy's mbind kills the agent at import


def test_a_thread_may_lower_its_priority() -> None:
    refused, allowed = _service()["SystemCallFilter"][-2:]
    assert "@resources" in refused  # holds setpriority; what comes later overrules it
    assert allowed == "setpriority"


def test_proc_stays_readable_for_psutil_and_the_boot_id() -> None:
    assert "ProcSubset" not in _service()


def test_interfaces_can_be_listed() -> None:
    assert "AF_NETLINK" in _service()["RestrictAddressFamilies"][0].split()


def test_who_asks_on_the_control_socket_is_not_hidden() -> None:
    assert "PrivateUsers" not in _service()


def test_systemd_never_gives_up() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(UNIT.read_text())
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    assert _service()["Restart"] == ["always"]
    assert _service()["Type"] == ["notify"]
    assert "WatchdogSec" in _service()
