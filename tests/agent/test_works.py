"""Announced work: kept over a restart, ended for those it was announced for, told with its end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_agent.agent import works
from edge_agent.clock import ManualClock
from edge_agent.health.signals import WorkAnnounced

CLOCK = ManualClock(wall_us=1_790_000_000_000_000)
HOUR_US = 3_600_000_000


def announced(*cameras: str, hours: float = 1) -> WorkAnnounced:
    now = CLOCK.now()
    return WorkAnnounced(now, cameras, now.wall_us + round(hours * HOUR_US), "new cable", "local uid 0")


def test_what_is_announced_holds_after_a_restart_and_what_is_over_does_not(tmp_path: Path) -> None:
    works.save(tmp_path, [announced(), announced("cam-02", hours=-1), announced("cam-01")])
    assert works.load(tmp_path, CLOCK.now()) == [announced(), announced("cam-01")]


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"cameras": "all"}]', b"[" * 100_000, b"\xff\xfe"])
def test_a_file_that_is_none_of_ours_announces_nothing(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / works.NAME).write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert works.load(tmp_path, CLOCK.now()) == []
    assert "announce planned work again" in caplog.text


def test_without_a_file_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert works.load(tmp_path, CLOCK.now()) == []
    assert not caplog.text


def test_an_end_ends_what_was_announced_for_just_these_cameras_and_a_bare_one_everything() -> None:
    every, one = announced(), announced("cam-01")
    assert works.ended_by([every, one], ("cam-01",)) == [one]
    assert works.ended_by([every, one], ("cam-02",)) == []
    assert works.ended_by([every, one], ()) == [every, one]


def test_status_tells_until_when_in_the_time_of_the_site() -> None:
    (told,) = works.status([announced("cam-01")], "Asia/Kolkata")
    assert told["until"].endswith("IST")
    assert (told["cameras"], told["reason"], told["who"]) == (["cam-01"], "new cable", "local uid 0")
