"""Nights in which the box itself, its link, a clock or a disk is the story."""

from __future__ import annotations

import pytest
from shop import Shop, World
from storyteller import Story, box_dies, box_starts, change, check, power_off, power_on, unplug, wires

from edge_agent.health.decisions import Scope, Sight, Verdict
from edge_agent.health.signals import Ended, NetSeen

R, SITE, BOX, CAMERA, LINK = Scope.RECORDER, Scope.SITE, Scope.BOX, Scope.CAMERA, Scope.LINK
V = Verdict
CARRIER_LOST, CARRIER_BACK = change(carrier=False), change(carrier=True)


def port_says_lost(world: World) -> None:
    """What was read of the port before the cable was back arrives after its cameras."""
    world.tell(NetSeen(world.moment(), False, False, False, True))


STORIES = (
    # The box's own end.
    Story("box lost power", Shop(),
          ((200, box_dies), (600, box_starts(Ended.POWER_LOST))), ((V.BOX_POWER_LOST, BOX, 80),)),
    Story("box shut down", Shop(),
          ((200, box_dies), (600, box_starts(Ended.BOX_SHUTDOWN))), ((V.BOX_SHUTDOWN, BOX, 95),)),
    Story("agent stopped", Shop(),
          ((200, box_dies), (600, box_starts(Ended.STOPPED))), ((V.AGENT_STOPPED, BOX, 95),)),
    Story("agent killed", Shop(),
          ((200, box_dies), (230, box_starts(Ended.KILLED))), ((V.AGENT_KILLED, BOX, 85),)),
    Story("box and recorder lost power, the recorder stays off", Shop(),
          ((200, box_dies), (200, power_off), (600, box_starts(Ended.POWER_LOST))),
          ((V.BOX_POWER_LOST, BOX, 80), (V.DVR_OFF, R, 70)), open=1),
    Story("box lost power, then a camera", Shop(lost="silent"),
          ((200, box_dies), (600, box_starts(Ended.POWER_LOST)), (800, unplug(1))),
          ((V.BOX_POWER_LOST, BOX, 80), (V.CAMERA_LOST, CAMERA, 70)), open=1),
    Story("box stands still for a minute", Shop(),
          ((200, lambda w: w.stands_still(60)),), ((V.BOX_STOOD_STILL, BOX, 95),)),
    Story("box sleeps for an hour", Shop(),
          ((200, lambda w: w.stands_still(3600)),), ((V.BOX_STOOD_STILL, BOX, 95),), until=5000),
    # Its network.
    Story("box cable pulled", Shop(), ((200, CARRIER_LOST), (900, CARRIER_BACK)), ((V.LAN_DOWN, BOX, 90),)),
    Story("box cable pulled, at night, sixteen cameras", Shop(cameras=16, scene="infrared"),
          ((200, CARRIER_LOST), (900, CARRIER_BACK)), ((V.LAN_DOWN, BOX, 90),)),
    Story("box cable back, the broker a while later", Shop(),
          ((200, CARRIER_LOST), (900, change(carrier=True, broker=False)), (912, change(broker=True))),
          ((V.LAN_DOWN, BOX, 90),)),
    Story("box cable back, the port's own word a moment later", Shop(),
          ((200, CARRIER_LOST), (901, CARRIER_BACK), (904.5, port_says_lost)),
          ((V.LAN_DOWN, BOX, 90),)),
    Story("box cable back, the recorder is not", Shop(),
          ((200, CARRIER_LOST), (400, power_off), (600, CARRIER_BACK)),
          ((V.LAN_DOWN, BOX, 90), (V.DVR_OFF, R, 65)), open=1),
    Story("recorder off, then the box cable too, for a while", Shop(),
          ((200, power_off), (600, CARRIER_LOST), (1000, CARRIER_BACK)),
          ((V.DVR_OFF, R, 70), (V.LAN_DOWN, BOX, 90), (V.DVR_OFF, R, 65)), open=1),
    Story("recorder off, then the router too", Shop(),
          ((200, power_off), (600, change(gateway=False))),
          ((V.DVR_OFF, R, 70), (V.WAN_DOWN, LINK, 80)), open=2),
    Story("everything without power, the box on its own", Shop(ups=True),
          ((200, change(mains=False, carrier=False, dvr="off")),
           (900, change(mains=True, carrier=True)), (901, power_on)),
          ((V.POWER_CUT, SITE, 80),)),
    Story("everything without power, one camera is back before the mains are told", Shop(ups=True),
          ((200, change(mains=False, carrier=False)), (201, wires(False, 2, 3)), (500, change(carrier=True)),
           (520, wires(True, 2, 3)), (540, change(mains=True))),
          ((V.POWER_CUT, SITE, 80),)),
    Story("internet off", Shop(),
          ((200, change(internet=False)), (900, change(internet=True))), ((V.WAN_DOWN, LINK, 80),)),
    Story("router off", Shop(),
          ((200, change(gateway=False)), (900, change(gateway=True))), ((V.WAN_DOWN, LINK, 80),)),
    Story("broker off", Shop(),
          ((200, change(broker=False)), (900, change(broker=True))), ((V.BROKER_DOWN, LINK, 80),)),
    Story("internet slow for once", Shop(),
          ((200, change(internet=False)), (215, change(internet=True))), ()),
    Story("internet off, meanwhile a camera", Shop(lost="silent"),
          ((200, change(internet=False)), (500, unplug(1)), (900, change(internet=True))),
          ((V.WAN_DOWN, LINK, 80), (V.CAMERA_LOST, CAMERA, 70)), open=1),
    Story("internet off, meanwhile the recorder restarts", Shop(),
          ((200, change(internet=False)), (400, power_off), (500, power_on), (900, change(internet=True))),
          ((V.WAN_DOWN, LINK, 80), (V.DVR_REBOOT, R, 95))),
    # Clocks and disks.
    Story("box clock set by two hours", Shop(),
          ((200, lambda w: w.clock_steps(7200)),), ((V.CLOCK_STEP, BOX, 95),)),
    Story("box clock set back twenty years", Shop(),
          ((200, lambda w: w.clock_steps(-20 * 365 * 86400)),), ((V.CLOCK_STEP, BOX, 95),)),
    Story("recorder clock changed", Shop(), ((200, change(dvr_ahead=3600.0)),), ((V.CLOCK_STEP, R, 80),)),
    Story("recorder clock drifts", Shop(), ((200, change(dvr_ahead=2.0)), (600, change(dvr_ahead=4.0)))),
    Story("clock set while the recorder is off", Shop(),
          ((200, power_off), (300, lambda w: w.clock_steps(3600)), (900, power_on)),
          ((V.DVR_OFF, R, 90), (V.CLOCK_STEP, BOX, 95))),
    Story("recorder disk fails", Shop(),
          ((200, lambda w: w.storage(True)), (900, lambda w: w.storage(False))),
          ((V.RECORDING_STOPPED, R, 60),)),
)  # fmt: skip


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_night(story: Story) -> None:
    check(story)


def test_without_a_link_of_its_own_the_box_calls_no_camera_dark() -> None:
    told = check(next(s for s in STORIES if s.name == "box cable pulled"))
    assert not told.turned(Sight.DARK)
    assert len([t for t in told.turned(Sight.UNKNOWN) if t.before is Sight.UP]) == 4


def test_cameras_stay_up_while_only_the_way_to_the_command_centre_is_down() -> None:
    told = check(next(s for s in STORIES if s.name == "internet off"))
    assert {turn.state for turn in told.turns} == {Sight.UP}


def test_the_time_the_box_did_not_run_is_told_from_its_last_sign_of_life() -> None:
    told = check(next(s for s in STORIES if s.name == "box lost power"))
    lost = told.incidents[0]
    assert lost.until is not None
    assert (lost.until.wall_us - lost.since.wall_us) / 1e6 == 400


def test_what_nobody_could_tell_is_not_called_dark_once_the_link_is_back() -> None:
    name = "everything without power, one camera is back before the mains are told"
    told = check(next(story for story in STORIES if story.name == name))
    assert len(told.turned(Sight.UNKNOWN)) == 4
    assert not told.turned(Sight.DARK)
