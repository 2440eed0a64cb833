"""Each night is recorded once: at a quarter past six, after a restart, and whatever the clock did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "health"))

from night_leaves import IST, Story, at

from edge_agent.agent.nights import NightsDesk, missing, over
from edge_agent.agent.nights_reading import backwards, leaves_since
from edge_agent.clock import ManualClock
from edge_agent.health.nights import Schedule
from edge_agent.ledger import leaf
from edge_agent.model import ClockTrust

EVENING = date(2026, 11, 21)


class Box:
    """An owner with a ledger in memory; `settle` is the chores' thread."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.clock = ManualClock(wall_us=story.now_us, boot_ns=10**12)
        self.chores: list[tuple[Callable[[], Any], Callable[[Any], None], Callable[[str], None]]] = []
        self.parts = SimpleNamespace(
            clock=self.clock,
            ledger=SimpleNamespace(log=self),
            chores=SimpleNamespace(ask=lambda *chore: self.chores.append(chore)),
        )
        self.policy = SimpleNamespace(demand=SimpleNamespace(schedule=Schedule(IST)))
        self.journal = SimpleNamespace(night=self.note)
        self.start()

    def start(self) -> None:
        self.desk = NightsDesk(self)  # type: ignore[arg-type]

    def note(self, data: dict[str, Any]) -> None:
        self.story.now_us = self.clock.wall_us
        self.story.add("night", **data)

    @property
    def size(self) -> int:
        return len(self.story.entries)

    def entries(self, first: int, count: int) -> list[bytes]:
        return self.story.entries[first : first + count]

    def tick(self) -> None:
        self.desk.tick(self.clock.now())
        waiting, self.chores = self.chores, []
        for question, then, _failed in waiting:
            then(question())

    def nights(self) -> list[str]:
        return [str(item.data["night"]) for item in self.story.leaves() if item.kind == "night"]


def night_over(minute: str = "06:20") -> Box:
    story = Story(["cam-01"], "2026-11-21 05:00").boot().all_up().until(f"2026-11-22 {minute}")
    return Box(story)


def test_the_next_start_makes_what_was_missed_and_only_once() -> None:
    box = night_over()
    for _ in range(3):
        box.tick()
    box.start()
    box.tick()
    assert box.nights() == ["2026-11-20", "2026-11-21"]  # of the first only its last hour is known


def test_nothing_is_made_before_a_quarter_past() -> None:
    box = night_over("06:14")
    box.tick()
    assert box.nights() == ["2026-11-20"]
    box.clock.advance(120)
    box.desk._ring()  # what `schedule` calls at 06:15
    box.tick()
    assert box.nights() == ["2026-11-20", "2026-11-21"]


def test_the_bell_is_set_by_the_sites_clock_and_set_anew_when_the_clock_is_stepped() -> None:
    box = night_over()
    (job,) = box.desk._scheduler.jobs
    assert str(job.at_time) == "06:15:00"
    assert str(job.at_time_zone) == IST
    box.tick()
    box.clock.step_wall(5 * 86_400)
    box.tick()
    assert box.desk._scheduler.jobs != [job]
    box.clock.step_wall(-5 * 86_400)
    for _ in range(3):
        box.tick()
    assert box.nights().count("2026-11-21") == 1


def test_no_night_is_told_by_a_clock_that_nobody_has_set() -> None:
    box = night_over()
    box.clock.trust = ClockTrust.NONE
    box.tick()
    assert box.nights() == []
    box.clock.trust = ClockTrust.NTP
    box.tick()
    assert "2026-11-21" in box.nights()


def test_after_hours_without_a_time_server_the_boxs_own_clock_has_to_do() -> None:
    box = night_over()
    box.clock.trust = ClockTrust.SAVED
    box.tick()
    box.clock.advance(7300)
    box.tick()
    assert "2026-11-21" in box.nights()


def test_a_failed_look_is_repeated_later() -> None:
    box = night_over()
    box.desk.tick(box.clock.now())
    ((_question, _then, failed),) = box.chores
    box.chores = []
    failed("the disk is gone")
    box.tick()
    assert box.nights() == []
    box.clock.advance(301)
    box.tick()
    assert "2026-11-21" in box.nights()


@pytest.mark.parametrize("part", [0, 1])
def test_a_record_cut_by_a_power_loss_is_made_again(part: int) -> None:
    story = Story([f"cam-{n}" for n in range(60)], "2026-11-21 05:00", every=2).boot().all_up()
    story.until("2026-11-22 06:20")
    (made,) = missing(story.leaves(), Schedule(IST), [EVENING], story.now_us)
    assert len(made.leaves) > 1
    story.add("night", **made.leaves[part])
    assert missing(story.leaves(), Schedule(IST), [EVENING], story.now_us)
    for data in made.leaves:
        story.add("night", **data)
    assert not missing(story.leaves(), Schedule(IST), [EVENING], story.now_us)


def test_a_week_of_missed_nights_is_made_up_for() -> None:
    now_us = at("2026-11-22 06:15")
    assert over(Schedule(IST), now_us) == [date(2026, 11, day) for day in range(15, 22)]
    assert over(Schedule(IST), now_us - 1)[-1] == date(2026, 11, 20)


def test_reading_goes_back_to_the_start_of_the_run_and_skips_earlier_marks() -> None:
    story = Story(["cam-01"], "2026-11-10 05:00", every=30).boot()
    story.until("2026-11-11 05:00").boot("killed").turn("cam-01", "dark", verdict="camera_lost")
    story.until("2026-11-22 06:20")
    found = leaves_since(
        backwards(lambda first, count: story.entries[first : first + count], len(story.entries)),
        at("2026-11-21 06:00"),
    )
    assert [item.kind for item in found[:3]] == ["boot", "cameras", "camera"]
    assert found[0].at.wall_us == at("2026-11-11 05:00")
    assert sum(item.kind == "mark" for item in found) < 60
    assert found == sorted(found, key=lambda item: item.at.wall_us)
    assert all(leaf.decode(e) for e in story.entries)
