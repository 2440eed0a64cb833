"""How far the backup reaches, and when it is told to be short."""

from __future__ import annotations

import pytest

from edge_agent.agent.backup import LASTING_S, Reach, Standing, judge, reach
from edge_agent.model import Role
from edge_agent.ring.reader import RingStat

GB = 10**9


def stat(held: int, days: float) -> RingStat:
    return RingStat(Role.MAIN, 1, held, 0, int(days * 86_400_000_000), 0, 0, days)


@pytest.mark.parametrize(
    ("held", "days", "budget", "room", "age", "will"),
    [
        (10 * GB, 1.0, 40 * GB, 100 * GB, None, 4.0),  # it fills at 10 GB a day
        (10 * GB, 1.0, 40 * GB, 10 * GB, None, 2.0),  # the disk gives less than the budget
        (10 * GB, 1.0, 40 * GB, 100 * GB, 3, 3.0),  # older footage is deleted by age
        (39 * GB, 4.2, 40 * GB, 100 * GB, None, 4.2),  # full: what it holds is what it will hold
        (10 * GB, 0.1, 40 * GB, 100 * GB, None, None),  # too early to tell
        (0, 0.0, 40 * GB, 100 * GB, None, None),
        (1 * GB, 0.001, 40 * GB, -1, None, 0.001),  # somebody else's files push it out
    ],
)
def test_what_a_ring_will_hold(
    held: int, days: float, budget: int, room: int, age: int | None, will: float | None
) -> None:
    found = reach(stat(held, days), budget, room, age, 30)
    assert found.will_hold_days == (None if will is None else pytest.approx(will))


def told(standing: Standing, will: float | None, now_s: float) -> tuple[Standing, bool]:
    return judge(standing, Reach(Role.MAIN, 1.0, will, 30), now_s)


def test_it_is_told_after_an_hour_and_once() -> None:
    standing, turned = told(Standing(), 20.0, 0.0)
    assert not turned
    standing, turned = told(standing, 21.0, LASTING_S - 1)
    assert not turned
    standing, turned = told(standing, 20.0, LASTING_S)
    assert turned
    assert standing.short
    standing, turned = told(standing, 20.0, 10 * LASTING_S)
    assert not turned


def test_a_good_hour_in_between_begins_the_wait_anew() -> None:
    standing, _ = told(Standing(), 20.0, 0.0)
    standing, _ = told(standing, 31.0, LASTING_S / 2)
    _, turned = told(standing, 20.0, LASTING_S)
    assert not turned


def test_it_is_cured_only_when_there_is_room_to_spare() -> None:
    standing = Standing(short=True)
    for now_s in (0.0, LASTING_S):
        standing, turned = told(standing, 30.1, now_s)  # around the demand nothing is told
        assert not turned
    standing, _ = told(standing, 31.0, LASTING_S)
    standing, turned = told(standing, 31.0, 2 * LASTING_S)
    assert turned
    assert not standing.short


def test_what_cannot_be_told_yet_is_neither_short_nor_enough() -> None:
    for short in (False, True):
        assert told(Standing(short), None, 9 * LASTING_S) == (Standing(short), False)
