"""Nights in which the recorder, the power or the network between fails: one incident, one verdict."""

from __future__ import annotations

import pytest
from shop import Shop
from storyteller import Story, change, check, plug, power_off, power_on, unplug, wires

from edge_agent.health.decisions import Scope, Sight, Verdict
from edge_agent.health.verdict import LATE_CONFIDENCE

R, SITE, BOX, CAMERA, LINK = Scope.RECORDER, Scope.SITE, Scope.BOX, Scope.CAMERA, Scope.LINK
V = Verdict
MAINS_LOST, MAINS_BACK = change(mains=False), change(mains=True)


def dies_with_mains(world: object) -> None:
    change(mains=False, dvr="off")(world)  # type: ignore[arg-type]


STORIES = (
    # The recorder loses power.
    Story("recorder off, nobody knows of mains", Shop(), ((200, power_off),), ((V.DVR_OFF, R, 70),), open=1),
    Story("recorder off, mains there", Shop(ups=True),
          ((200, power_off),), ((V.DVR_OFF_MAINS_PRESENT, R, 80),), open=1),
    Story("recorder off all night, on in the morning", Shop(ups=True, scene="infrared"),
          ((200, power_off), (30_000, power_on)), ((V.DVR_OFF_MAINS_PRESENT, R, 95),), until=31_000),
    Story("recorder off for long, mains unknown", Shop(),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF, R, 95),)),
    Story("recorder off for long, tells no start", Shop(tells_start=False),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF, R, 70),)),
    Story("recorder off, the box sees no neighbours", Shop(arp=False),
          ((200, power_off),), ((V.DVR_UNREACHABLE, R, 60),), open=1),
    Story("no neighbours, but it tells its start", Shop(arp=False),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF, R, 95),)),
    Story("no neighbours, mains there, it tells its start", Shop(arp=False, ups=True),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF_MAINS_PRESENT, R, 95),)),
    Story("sixteen cameras, one incident", Shop(cameras=16),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF, R, 95),)),
    Story("recorder with one camera", Shop(cameras=1),
          ((200, power_off), (900, power_on)), ((V.DVR_OFF, R, 95),)),
    # It restarts.
    Story("nightly restart of three minutes", Shop(scene="infrared"),
          ((200, power_off), (340, power_on)), ((V.DVR_REBOOT, R, 95),)),
    Story("restart, tells no start", Shop(tells_start=False),
          ((200, power_off), (340, power_on)), ((V.DVR_REBOOT, R, 50),)),
    Story("restart with mains known", Shop(ups=True),
          ((200, power_off), (300, power_on)), ((V.DVR_REBOOT, R, 95),)),
    Story("starts for four minutes, refusing all the while", Shop(),
          ((200, power_off), (220, lambda w: w.dvr_starts(240))), ((V.DVR_REBOOT, R, 95),)),
    Story("two restarts in one night", Shop(),
          ((200, power_off), (300, power_on), (1200, power_off), (1300, power_on)),
          ((V.DVR_REBOOT, R, 95), (V.DVR_REBOOT, R, 95)), until=2000),
    Story("restart, one camera stays away", Shop(lost="silent"),
          ((200, power_off), (250, unplug(2)), (300, power_on)),
          ((V.DVR_REBOOT, R, 95), (V.CAMERA_LOST, CAMERA, 70)), open=1),
    Story("restart, one camera shows a slate after it", Shop(),
          ((200, power_off), (250, unplug(2)), (300, power_on)),
          ((V.DVR_REBOOT, R, 95), (V.NO_SIGNAL_SLATE, CAMERA, 85)), open=1),
    # Its cable, its service, its password.
    Story("a loose cable of the recorder", Shop(),
          tuple(step for s in range(200, 800, 30)
                for step in ((s, change(cable=False)), (s + 15, change(cable=True)))),
          ((V.DVR_UNREACHABLE, R, 85),)),
    Story("cable pulled and plugged", Shop(),
          ((200, change(cable=False)), (900, change(cable=True))), ((V.DVR_UNREACHABLE, R, 85),)),
    Story("cable pulled for two minutes", Shop(ups=True),
          ((200, change(cable=False)), (320, change(cable=True))), ((V.DVR_UNREACHABLE, R, 85),)),
    Story("service stopped", Shop(),
          ((200, change(service="closed")), (900, change(service="ok"))), ((V.DVR_REFUSES, R, 80),)),
    Story("all streams refused", Shop(),
          ((200, change(service="refuses")), (900, change(service="ok"))), ((V.DVR_REFUSES, R, 60),)),
    Story("password changed", Shop(), ((200, change(service="login")),), ((V.LOGIN_REFUSED, R, 85),), open=1),
    Story("password changed by a restart", Shop(),
          ((200, power_off), (230, power_on), (235, change(service="login"))),
          ((V.LOGIN_REFUSED, R, 80),), open=1),
    # Power.
    Story("power cut", Shop(ups=True),
          ((200, dies_with_mains), (900, MAINS_BACK), (901, power_on)), ((V.POWER_CUT, SITE, 90),)),
    Story("power cut at night", Shop(ups=True, scene="infrared"),
          ((200, dies_with_mains), (7200, MAINS_BACK), (7201, power_on)),
          ((V.POWER_CUT, SITE, 90),), until=8000),
    Story("short power cut is no restart", Shop(ups=True),
          ((200, dies_with_mains), (230, MAINS_BACK), (231, power_on)), ((V.POWER_CUT, SITE, 85),)),
    Story("power cut without a UPS signal", Shop(),
          ((200, dies_with_mains), (900, power_on)), ((V.DVR_OFF, R, 95),)),
    Story("power cut, recorder lives on its own supply", Shop(ups=True),
          ((200, MAINS_LOST), (900, MAINS_BACK)), ((V.POWER_CUT, SITE, 90),)),
    Story("power cut, its supply lasts ten minutes", Shop(ups=True),
          ((200, MAINS_LOST), (800, power_off), (1200, MAINS_BACK), (1201, power_on)),
          ((V.POWER_CUT, SITE, 90),)),
    Story("power is back, the recorder is not", Shop(ups=True),
          ((200, dies_with_mains), (400, MAINS_BACK)),
          ((V.POWER_CUT, SITE, 90), (V.DVR_OFF_MAINS_PRESENT, R, 80)), open=1),
    Story("a flicker of the mains, then the recorder alone", Shop(ups=True),
          ((200, MAINS_LOST), (220, MAINS_BACK), (250, power_off)),
          ((V.DVR_OFF_MAINS_PRESENT, R, 80),), open=1),
    Story("a flicker of the mains, then all cameras", Shop(ups=True, lost="silent"),
          ((200, MAINS_LOST), (220, MAINS_BACK), (250, unplug())), ((V.ALL_CAMERAS_OFF, R, 85),), open=1),
    Story("a power cut that it outlived, then the recorder alone", Shop(ups=True),
          ((200, MAINS_LOST), (320, MAINS_BACK), (323, power_off)),
          ((V.POWER_CUT, SITE, 90), (V.DVR_OFF_MAINS_PRESENT, R, 80)), open=1),
    Story("a power cut, and a recorder that takes three minutes to start", Shop(ups=True),
          ((200, dies_with_mains), (500, MAINS_BACK), (501, lambda w: w.dvr_starts(180))),
          ((V.POWER_CUT, SITE, 90),)),
    Story("a cut of twenty seconds, and a start of three minutes", Shop(ups=True),
          ((200, dies_with_mains), (220, MAINS_BACK), (221, lambda w: w.dvr_starts(180))),
          ((V.POWER_CUT, SITE, 90),)),
    Story("back from a power cut, then the recorder alone", Shop(ups=True),
          ((200, dies_with_mains), (400, MAINS_BACK), (401, power_on), (446, power_off)),
          ((V.POWER_CUT, SITE, 90), (V.DVR_OFF_MAINS_PRESENT, R, 80)), open=1),
    Story("UPS tests itself for ten seconds", Shop(ups=True), ((200, MAINS_LOST), (212, MAINS_BACK)), ()),
    Story("cameras without power, recorder on its own", Shop(ups=True, lost="silent"),
          ((200, MAINS_LOST), (201, unplug()), (900, MAINS_BACK), (901, plug())), ((V.POWER_CUT, SITE, 75),)),
    Story("slates in a power cut", Shop(ups=True),
          ((200, MAINS_LOST), (201, unplug()), (900, MAINS_BACK), (901, plug())),
          ((V.POWER_CUT, SITE, 75),), within_s=45),
    # Switch and router.
    Story("router and recorder gone together", Shop(),
          ((200, change(gateway=False, cable=False)), (900, change(gateway=True, cable=True))),
          ((V.DVR_UNREACHABLE, R, 85), (V.WAN_DOWN, LINK, 80))),
    Story("single cameras' switch dies", Shop(recorder=""),
          ((200, wires(False)), (900, wires(True))), ((V.ALL_CAMERAS_OFF, SITE, 60),)),
    Story("single cameras lose mains", Shop(recorder="", ups=True),
          ((200, MAINS_LOST), (200, wires(False)), (900, MAINS_BACK), (901, wires(True))),
          ((V.POWER_CUT, SITE, 85),)),
)  # fmt: skip


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_night(story: Story) -> None:
    check(story)


def test_a_recorder_s_failure_is_told_once_and_names_all_its_cameras() -> None:
    told = check(STORIES[8])
    assert len(told.incidents[0].cameras) == 16
    dark = told.turned(Sight.DARK)
    assert len(dark) == 16
    assert {turn.incident for turn in dark} == {told.incidents[0].id}


def test_after_a_power_cut_the_recorder_s_own_darkness_begins_when_mains_came_back() -> None:
    story = next(s for s in STORIES if s.name == "power is back, the recorder is not")
    cut, off = check(story).incidents
    assert cut.until is not None
    assert off.since == cut.until


def test_mains_that_failed_well_after_the_recorder_are_a_doubtful_reason() -> None:
    """A UPS may be slow to tell; or the recorder was off before."""
    steps = ((170.0, power_off), (200.0, MAINS_LOST), (320.0, MAINS_BACK))
    story = Story(
        "", Shop(ups=True), steps, ((V.POWER_CUT, SITE, 60), (V.DVR_OFF_MAINS_PRESENT, R, 80)), open=1
    )
    cut, off = check(story).incidents
    assert cut.cause.confidence == LATE_CONFIDENCE
    assert off.since == cut.until
