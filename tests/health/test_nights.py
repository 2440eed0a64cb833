"""The nightly record from leaves: what was seen, what was dark, and what nobody can know."""

from __future__ import annotations

import random
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import itertools

from night_leaves import IST, MIN, Story, at

from edge_agent.clock import timestamp
from edge_agent.health import nights_words as words
from edge_agent.health.duty import Hours
from edge_agent.health.nights import Minutes, NightRecord, Schedule, Sight, night_record
from edge_agent.health.nights_leaf import join, read_part, to_leaves
from edge_agent.health.scribe import chronicle
from edge_agent.ledger import leaf
from edge_agent.model import ClockTrust, Instant

EVENING = date(2026, 11, 21)
DUSK, DAWN = "2026-11-21 20:00", "2026-11-22 06:00"
END = "2026-11-22 06:15"


def begun(cameras: int = 2) -> Story:
    return Story([f"cam-{n:02}" for n in range(1, cameras + 1)], "2026-11-21 05:00").boot().all_up()


def record(story: Story, **hours: Hours) -> NightRecord:
    held = Schedule(IST, hours={name.replace("_", "-"): rule for name, rule in hours.items()})
    return night_record(chronicle(story.leaves()), held, EVENING, story.now_us)


def sight(found: NightRecord, camera: str = "cam-01") -> Sight:
    return next(s for s in found.sights if s.camera == camera)


def adds_up(minutes: Minutes) -> bool:
    parts = [minutes.of(state) for state in ("seen", "dark", "unusable", "unknown", "muted")]
    return sum(parts) == minutes.due


def test_a_good_night_is_seen_whole() -> None:
    found = record(begun().until(END))
    assert [s.whole for s in found.sights] == [Minutes(1440, 1440)] * 2
    assert [s.night for s in found.sights] == [Minutes(600, 600)] * 2
    assert found.whole
    assert not found.outages
    assert words.headline(found) == "Every camera saw all night."


def test_darkness_counts_from_the_last_packet_until_sight() -> None:
    story = begun().until("2026-11-21 22:05")
    story.turn("cam-01", "dark", "2026-11-21 22:04", verdict="camera_lost", confidence=80, incident="a")
    story.until("2026-11-22 04:16").turn("cam-01", "up")
    found = record(story.until(END))
    assert sight(found).night == Minutes(600, 228, dark={"camera_lost": 372})
    assert sight(found, "cam-02").night.seen == 600
    (outage,) = found.outages
    assert (outage.since_us, outage.until_us) == (at("2026-11-21 22:04"), at("2026-11-22 04:16"))
    assert (
        words.sentence(found, outage)
        == "cam-01, 22:04 to 04:16: no pictures came from this camera (80 % sure)."
    )
    assert words.headline(found) == "1 of 2 cameras was dark for 6 h 12 min of the night."


def test_a_verdict_found_later_holds_for_the_whole_incident() -> None:
    story = begun().until("2026-11-21 22:05")
    for camera in ("cam-01", "cam-02"):
        story.turn(camera, "dark", "2026-11-21 22:04", verdict="undetermined", confidence=20, incident="a")
    story.until("2026-11-21 22:20")
    since = timestamp(at("2026-11-21 22:04"))
    told = {"incident": "a", "step": "revised", "scope": "recorder", "verdict": "dvr_reboot", "since": since}
    story.add("incident", **told, subject="dvr", confidence=90, until=None, cameras=["cam-01"])
    found = record(story.all_up().until(END))
    assert sight(found).night.dark == {"dvr_reboot": 16}
    assert [o.cameras for o in found.outages] == [("cam-01", "cam-02")]


@pytest.mark.parametrize(
    ("before", "cause"),
    [("power_lost", "box_power_lost"), ("killed", "agent_killed"), ("stopped", "agent_stopped")],
)
def test_the_agents_absence_is_unknown_with_its_cause(before: str, cause: str) -> None:
    story = begun().until("2026-11-21 23:00").until("2026-11-22 01:00", marks=False)
    found = record(story.boot(before).all_up().until(END))
    for each in found.sights:
        assert each.night == Minutes(600, 480, unknown={cause: 120})
    assert len(found.outages) == 1


def test_a_camera_that_is_dark_when_the_box_dies_is_not_known_to_be_dark_afterwards() -> None:
    story = begun().until("2026-11-21 22:00").turn("cam-01", "dark", verdict="camera_lost")
    story.until("2026-11-21 23:00").until("2026-11-22 01:00", marks=False).boot("power_lost").all_up()
    assert sight(record(story.until(END))).night == Minutes(
        600, 420, dark={"camera_lost": 60}, unknown={"box_power_lost": 120}
    )


def test_an_absence_that_a_power_cut_explains_afterwards_is_told_so_and_a_pulled_cable_explains_none() -> (
    None
):
    story = begun().until("2026-11-21 23:00").until("2026-11-22 01:00", marks=False)
    story.boot("power_lost").all_up()
    span = {"since": timestamp(at("2026-11-21 22:59")), "until": timestamp(story.now_us), "cameras": []}
    story.add("incident", incident="c", scope="box", verdict="lan_down", confidence=90, **span)
    assert sight(record(story)).night.unknown == {"box_power_lost": 120}
    story.add("incident", incident="p", scope="box", verdict="power_cut", confidence=80, **span)
    assert sight(record(story.until(END))).night == Minutes(600, 480, unknown={"power_cut": 120})


def test_a_hole_in_the_ledger_is_unknown_and_what_was_before_goes_on_after_it() -> None:
    story = begun().until("2026-11-21 21:00").until("2026-11-21 21:30", marks=False)
    assert sight(record(story.until(END))).night == Minutes(600, 569, unknown={"ledger_hole": 31})


def test_nothing_is_known_after_the_last_word() -> None:
    story = begun().until("2026-11-21 21:00")
    story.now_us = at(END)
    assert sight(record(story)).night == Minutes(600, 60, unknown={"no_record": 540})


def test_a_camera_of_which_nothing_is_told_is_unknown_never_dark() -> None:
    story = Story(["cam-01"], "2026-11-21 05:00").boot().until(END)
    assert sight(record(story)).whole == Minutes(1440, unknown={"starting": 1440})


def test_marks_fill_in_when_the_leaf_itself_is_lost() -> None:
    story = begun(1).until("2026-11-21 22:00").until("2026-11-21 22:30", marks=False)
    story.letters["cam-01"] = "l"  # its `camera` leaf fell into the hole
    story.until("2026-11-22 01:00")
    story.letters["cam-01"] = "u"  # and that of its return into another
    story.until("2026-11-22 01:30", marks=False)
    found = sight(record(story.until(END)))
    assert found.night == Minutes(600, 389, dark={"undetermined": 149}, unknown={"ledger_hole": 62})


def test_planned_work_mutes_not_seeing_and_never_seeing() -> None:
    story = begun().until("2026-11-21 23:00")
    story.add("work", cameras=["cam-01"], until=timestamp(at("2026-11-22 01:00")), reason="new lens", who="r")
    story.until("2026-11-21 23:30").turn("cam-01", "dark", verdict="camera_lost")
    story.until("2026-11-22 02:00").turn("cam-01", "up")
    assert sight(record(story.until(END))).night == Minutes(600, 450, 90, {"camera_lost": 60})


def test_work_told_inside_the_camera_leaf_mutes_too() -> None:
    story = begun().until("2026-11-21 23:00")
    planned = {"reason": "cleaning", "until": timestamp(at("2026-11-22 00:00"))}
    story.turn("cam-01", "dark", verdict="camera_lost", planned=planned)
    assert sight(record(story.until(END))).night == Minutes(600, 180, 60, {"camera_lost": 360})


@pytest.mark.parametrize("ended", [["cam-01"], []])
def test_work_that_is_ended_early_mutes_no_longer(ended: list[str]) -> None:
    """Whoever ends all work ends that of a single camera; what an outage told of it goes with it."""
    until = timestamp(at("2026-11-22 03:00"))
    story = begun().until("2026-11-21 23:00")
    story.add("work", cameras=["cam-01"], until=until, reason="new lens", who="r")
    planned = {"reason": "new lens", "until": until}
    story.until("2026-11-21 23:30").turn("cam-01", "dark", verdict="camera_lost", planned=planned)
    story.until("2026-11-22 00:30")
    story.add("work", cameras=ended, until=timestamp(story.now_us), reason="done", who="r")
    found = record(story.until("2026-11-22 02:00").turn("cam-01", "up").until(END))
    assert sight(found).night == Minutes(600, 450, 60, {"camera_lost": 90})
    assert {work.until_us for work in found.works} == {at("2026-11-22 00:30")}


def test_an_end_of_work_at_one_camera_leaves_that_of_another() -> None:
    story = begun().until("2026-11-21 23:00")
    story.add("work", cameras=["cam-01"], until=timestamp(at("2026-11-22 01:00")), reason="new lens", who="r")
    story.add("work", cameras=["cam-02"], until=timestamp(story.now_us), reason="done", who="r")
    story.until("2026-11-21 23:30").turn("cam-01", "dark", verdict="camera_lost")
    story.until("2026-11-22 00:30").turn("cam-01", "up")
    assert sight(record(story.until(END))).night == Minutes(600, 540, 60)


def test_what_was_dark_when_the_box_fell_silent_is_dark_no_longer_than_it_told() -> None:
    story = begun().until("2026-11-21 22:00").turn("cam-01", "dark", verdict="camera_lost", incident="a")
    story.until("2026-11-22 00:16").until(END, marks=False)
    found = record(story)
    dark, silent = (o for o in found.outages if o.cameras == ("cam-01",) or "cam-01" in o.cameras)
    assert (dark.state, dark.until_us) == ("dark", at("2026-11-22 00:16"))
    assert (silent.state, silent.since_us) == ("unknown", at("2026-11-22 00:16"))


def test_planned_work_is_told_beside_a_night_that_was_seen() -> None:
    story = begun().until("2026-11-21 23:00")
    story.add("work", cameras=["cam-01"], until=timestamp(at("2026-11-22 01:00")), reason="new lens", who="r")
    story.turn("cam-01", "dark", verdict="camera_lost").until("2026-11-22 00:30").turn("cam-01", "up")
    assert words.headline(record(story.until(END))) == "Every camera saw all night, but for planned work."


def test_only_due_minutes_count() -> None:
    story = begun().until("2026-11-21 21:00").turn("cam-01", "dark", verdict="camera_lost")
    found = record(story.until(END), cam_01=Hours(("08:00-22:00",)))
    assert sight(found).whole == Minutes(840, 780, dark={"camera_lost": 60})
    assert sight(found).night == Minutes(120, 60, dark={"camera_lost": 60})
    assert sight(found).idle == ((at("2026-11-21 06:00"), at("2026-11-21 08:00")),
                                 (at("2026-11-21 22:00"), at(DAWN)))  # fmt: skip


def test_what_was_written_before_the_clock_was_set_is_moved_to_its_time() -> None:
    """A box without a clock wakes in 1970 at 23:00, and learns the time twenty minutes later."""
    story = begun(1).until("2026-11-21 22:00").until("2026-11-21 23:00", marks=False)
    true_us = story.now_us
    story._boot, story._offset_us = 9, -5_000_000
    story.trust, story.now_us = ClockTrust.NONE, 5_000_000
    story.add("boot", before="power_lost", alive=None).add("cameras", ids=["cam-01"])
    for minute in range(20):
        story.now_us = 5_000_000 + minute * MIN
        if minute == 1:
            story.turn("cam-01", "up")
        story.add("mark", cam="u")
    story.trust, story._offset_us = ClockTrust.NTP, true_us - 10_000_000
    story.now_us = true_us + 20 * MIN
    story.add("mark", cam="u")
    night = sight(record(story.until(END))).night
    assert night == Minutes(600, 540, unknown={"box_power_lost": 60})


def test_a_night_that_runs_is_told_up_to_the_last_word() -> None:
    found = record(begun().until("2026-11-21 23:30"))
    assert not found.whole
    assert sight(found).night == Minutes(210, 210)


def test_a_long_outage_keeps_its_true_beginning_and_has_no_end() -> None:
    story = Story(["cam-01"], "2026-11-19 05:00", every=2).boot().all_up().until("2026-11-19 12:00")
    story.turn("cam-01", "dark", verdict="camera_lost")
    (outage,) = record(story.until(END)).outages
    assert outage.since_us == at("2026-11-19 12:00")
    assert outage.until_us is None


def test_the_record_fits_leaves_and_comes_back_whole() -> None:
    story = begun(40)
    chance = random.Random(7)
    for minute in range(60, 1400, 45):
        story.until(_clock(minute))
        for camera in chance.sample(story.cameras, 6):
            if story.letters[camera] == "l":
                story.turn(camera, "up")
            else:
                story.turn(camera, "dark", verdict="camera_lost", confidence=70, incident=f"i{minute}")
    found = record(story.until(END))
    leaves = to_leaves(found)
    assert len(leaves) > 2
    for data in leaves:
        assert len(leaf.encode("night", data, Instant(at(END), 0), bytes(16))) <= leaf.MAX_LEAF_BYTES
    back = join(read_part(data) for data in leaves)
    assert back is not None
    assert back.sights == found.sights
    assert set(back.outages) <= set(found.outages)
    assert len(back.outages) + back.left_out == len(found.outages)
    assert join(read_part(data) for data in leaves[1:]) is None


def _clock(minute: int) -> str:
    day = EVENING + timedelta(days=(5 * 60 + minute) // 1440)
    return f"{day} {(5 + minute // 60) % 24:02}:{minute % 60:02}"


things = st.lists(
    st.tuples(
        st.integers(1, 400),
        st.sampled_from(
            ["up", "dark", "unusable", "unknown", "boot", "stop", "hole", "still", "work", "mark"]
        ),
        st.integers(0, 600),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(things)
def test_whatever_is_told_minutes_add_up_and_lines_have_no_hole(told: list[tuple[int, str, int]]) -> None:
    story = Story(["cam-01", "cam-02"], "2026-11-21 05:30").boot().all_up()
    for minutes, what, back in told:
        story.now_us += minutes * MIN + 7
        since = timestamp(story.now_us - back * MIN)
        match what:
            case "boot":
                story.boot("power_lost")
            case "stop":
                story.add("stop", text="")
            case "hole" | "mark":
                story.add("mark", cam="ul")
            case "still":
                story.add("standstill", lost_s=back * 3)
            case "work":
                story.add("work", cameras=[], until=timestamp(story.now_us + back * MIN), reason="", who="")
            case state:
                story.add(
                    "camera", camera="cam-01", state=state, since=since, verdict="camera_lost", incident="x"
                )
    held = Schedule(IST, hours={"cam-02": Hours(("07:00-23:30",))})
    found = night_record(chronicle(story.leaves()), held, EVENING, story.now_us)
    for each in found.sights:
        assert adds_up(each.whole)
        assert adds_up(each.night)
        line = chronicle(story.leaves()).between(each.camera, found.from_us, found.to_us)
        assert all(one[1] == two[0] for one, two in itertools.pairwise(line))
    if found.whole:
        assert [s.whole.due for s in found.sights] == [1440, 990]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["camera", "state", "since", "verdict", "confidence", "incident", "cam", "ids",
                             "planned", "cameras", "until", "lost_s", "before", "alive", "into", "scope"]),
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=3))
            | st.just("2026-11-21T20:00:00.000Z") | st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
        ),
        max_size=12,
    ),
    st.sampled_from(["camera", "incident", "mark", "cameras", "work", "boot", "standstill", "stop"]),
)  # fmt: skip
def test_hostile_leaves_are_read_without_an_error(datas: list[dict[str, Any]], kind: str) -> None:
    story = begun(1)
    for data in datas:
        moment = Instant(story.now_us, 0, ClockTrust.NTP)
        story.entries.append(leaf.encode(kind, data, moment, bytes(16)))
    night_record(chronicle(story.leaves()), Schedule(IST), EVENING, story.now_us)
