"""The status as a technician sees it on a terminal of 80 columns."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from edge_agent.cli.context import amount, length
from edge_agent.cli.show import status_view

WHY = "main: no video packets for 5 s; sub: no video packets for 5 s; 192.0.2.7:554 accepts connections"


def _camera(name: str, state: str, since: str, reason: str = "") -> dict[str, Any]:
    stream = {"codec": "h264", "height": 720, "kbps": 3400}
    return {
        "id": name,
        "name": "Gate",
        "state": state,
        "since": since,
        "reason": reason,
        "streams": {} if reason else {"main": stream, "sub": stream},
    }


def _shown(*cameras: dict[str, Any], **more: Any) -> str:
    document = {
        "site": {"id": "site-1", "name": "Test"},
        "link": {"up": True, "reason": ""},
        "recorders": [],
        "cameras": list(cameras),
        "ring": {"main": {"bytes": 2**30, "max_bytes": 2**32, "days": 0.01, "fault": ""}},
        "clock": {"wall": "2026-11-23 01:50:34 IST", "trust": "saved"},
        "ledger": {"size": 7, "cosigned": 7},
    } | more
    out = StringIO()
    Console(file=out, width=80).print(status_view(document))
    return out.getvalue()


def test_a_reason_is_a_sentence_below_the_table_and_not_a_column_of_words() -> None:
    shown = _shown(_camera("cam-01", "dark", "2026-11-22 23:04:05 IST", WHY))
    assert f"cam-01: {WHY[:60]}" in shown
    assert shown.count("\n") < 18


def test_what_befell_several_cameras_is_said_once() -> None:
    shown = _shown(*(_camera(f"cam-0{n}", "dark", "2026-11-22 23:04:05 IST", WHY) for n in (1, 2)))
    assert f"cam-01, cam-02: {WHY[:50]}" in shown
    assert shown.count("no video") == WHY.count("no video")


def test_today_is_the_sites_own_day_whatever_the_zone_of_the_terminal() -> None:
    shown = _shown(
        _camera("cam-01", "up", "2026-11-23 01:02:03 IST"), _camera("cam-02", "up", "2026-11-22 23:04:05 IST")
    )
    assert "01:02:03" in shown
    assert "11-22 23:04" in shown
    assert "11-23" not in shown.split("clock:")[0]


@pytest.mark.parametrize(
    ("days", "text"),
    [(0.0, "0 min"), (0.01, "14 min"), (0.25, "6.0 h"), (1.9, "45.6 h"), (31.25, "31.2 days")],
)
def test_how_far_back_is_said_in_the_unit_that_fits(days: float, text: str) -> None:
    assert length(days) == text


def test_a_verdict_and_the_clock_are_told_in_words() -> None:
    camera = _camera("cam-01", "dark", "2026-11-22 23:04:05 IST", WHY) | {"why": "camera_lost (60 %)"}
    shown = _shown(camera)
    assert "cam-01: no pictures come from this camera (60 %): main: no video" in shown
    assert "clock: 2026-11-23 01:50:34 IST, not confirmed by a time server" in shown


def test_planned_work_is_told_with_its_end_its_reason_and_who_announced_it() -> None:
    until = "2026-11-23 02:30:00 IST"
    work = {"cameras": [], "until": until, "reason": "new cable", "who": "local uid 0"}
    shown = " ".join(_shown(work=[work, work | {"cameras": ["cam-02"]}]).split())
    assert f"planned work, no alarm: all cameras until {until}: new cable (local uid 0)" in shown
    assert f"no alarm: cam-02 until {until}" in shown


def test_the_first_footage_is_not_told_as_none() -> None:
    assert amount(8_000_000) == "8.0 MB"
    assert "ring main: 1.00 GiB of 4 GiB" in _shown()


def test_a_state_disk_that_takes_nothing_is_told() -> None:
    shown = _shown(ledger={"size": 7, "cosigned": 7, "refused": 3})
    assert "the state disk takes nothing: 3 leaves wait in memory" in shown
    assert "state disk" not in _shown()


def test_the_months_data_is_told_with_its_bound_if_there_is_one() -> None:
    data = {"month": "2026-11", "used_mb": 1234.5, "budget_mb": 4000}
    assert "data in 2026-11: 1,234.5 of 4000 MB sent and received" in _shown(data=data)
    assert "1,234.5 MB sent" in _shown(data=data | {"budget_mb": None})
