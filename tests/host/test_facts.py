"""What the box says of itself, from the real box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from edge_agent.host.facts import HostProbe


@dataclass(frozen=True)
class Reading:
    current: float


def test_a_reading_is_plausible(tmp_path: Path) -> None:
    facts = HostProbe(tmp_path).read(1234.9)
    assert 0 <= facts.cpu_percent <= 100
    assert 0 < facts.memory_percent < 100
    assert 0 < facts.process_rss_bytes < psutil.virtual_memory().total
    assert 0 < facts.disk_free_bytes <= facts.disk_total_bytes
    assert facts.uptime_s == 1234


def test_a_footage_directory_that_is_not_there_yet_is_measured_at_its_parent(tmp_path: Path) -> None:
    assert HostProbe(tmp_path / "not" / "mounted").read(0).disk_total_bytes > 0


def test_the_most_telling_sensor_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = {"nvme": [Reading(71.0)], "cpu_thermal": [Reading(0.0), Reading(55.54)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors)
    assert HostProbe(tmp_path).read(0).temperature_c == 55.5


def test_a_box_without_sensors_has_no_temperature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    assert HostProbe(tmp_path).read(0).temperature_c is None
