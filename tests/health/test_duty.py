from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from edge_agent.health.duty import ALWAYS, due

IST = "Asia/Kolkata"


def at(clock: str) -> int:
    local = datetime.fromisoformat(f"2026-11-22T{clock}").replace(tzinfo=ZoneInfo(IST))
    return int(local.timestamp() * 1e6)


@pytest.mark.parametrize(
    ("spans", "clock", "expected"),
    [
        (ALWAYS, "00:00:00", True),
        (ALWAYS, "23:59:59", True),
        (("20:00-06:00",), "23:30:00", True),
        (("20:00-06:00",), "05:59:59", True),
        (("20:00-06:00",), "06:00:00", False),
        (("20:00-06:00",), "19:59:59", False),
        (("09:00-12:00", "14:00-18:00"), "13:00:00", False),
        (("09:00-12:00", "14:00-18:00"), "14:00:00", True),
    ],
)
def test_duty_follows_local_wall_time(spans: tuple[str, ...], clock: str, expected: bool) -> None:
    assert due(spans, IST, at(clock)) is expected
