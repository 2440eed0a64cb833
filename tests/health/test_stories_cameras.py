"""Nights in which one camera stops seeing, or all of them do, or nothing of the sort happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shop import Shop, World
from storyteller import Change, Step, Story, check, hint, light, plug, unplug, wires, work

from edge_agent.health.decisions import IncidentClosed, IncidentOpened, IncidentRevised, Scope, Sight, Verdict

R, SITE, CAMERA = Scope.RECORDER, Scope.SITE, Scope.CAMERA
V = Verdict
NIGHT = "infrared"


def flaps(*seconds: float, pause: float = 8.0) -> tuple[tuple[float, object], ...]:
    return tuple(step for s in seconds for step in ((s, wires(False)), (s + pause, wires(True))))


def drawn_anew(world: World) -> None:
    """The recorder's NO VIDEO picture is another one from now on."""
    world.set(shop=replace(world.shop, lost="other_slate"))


def loose(
    first: float, last: float, gone_s: float, there_s: float, off: Change, on: Change
) -> tuple[Step, ...]:
    """It goes and comes by turns, and stays in the end."""
    steps: list[Step] = []
    while first < last:
        steps += [(first, off), (first + gone_s, on)]
        first += gone_s + there_s
    return tuple(steps)


STORIES = (
    # One camera.
    Story("unplugged, slate", Shop(),
          ((200, unplug(2)), (900, plug(2))), ((V.NO_SIGNAL_SLATE, CAMERA, 85),), within_s=45),
    Story("unplugged, slate, at night", Shop(scene=NIGHT),
          ((200, unplug(2)), (900, plug(2))), ((V.NO_SIGNAL_SLATE, CAMERA, 85),), within_s=45),
    Story("unplugged, slate, no hints", Shop(hints=False),
          ((200, unplug(2)),), ((V.NO_SIGNAL_SLATE, CAMERA, 85),), open=1, within_s=45),
    Story("unplugged, slate, no hints, drawn anew later", Shop(hints=False),
          ((200, unplug(2)), (305, drawn_anew)),
          ((V.NO_SIGNAL_SLATE, CAMERA, 85),), open=1, within_s=45),
    Story("unplugged, slate, smart codec at night", Shop(hints=False, smart=True, scene=NIGHT),
          ((200, unplug(2)),), ((V.NO_SIGNAL_SLATE, CAMERA, 80),), open=1, within_s=45),
    Story("unplugged, slate, nothing decoded", Shop(measured=False),
          ((200, unplug(2)),), ((V.NO_SIGNAL_SLATE, CAMERA, 75),), open=1, within_s=45),
    Story("slate from the beginning", Shop(hints=False),
          ((0, unplug(3)),), ((V.NO_SIGNAL_SLATE, CAMERA, 80),), open=1, within_s=45),
    Story("slate from the beginning, with hints", Shop(),
          ((0, unplug(3)),), ((V.NO_SIGNAL_SLATE, CAMERA, 85),), open=1, within_s=45),
    Story("unplugged, no slate", Shop(lost="silent"),
          ((200, unplug(2)), (900, plug(2))), ((V.CAMERA_LOST, CAMERA, 90),)),
    Story("unplugged, no slate, no hints", Shop(lost="silent", hints=False),
          ((200, unplug(2)), (900, plug(2))), ((V.CAMERA_LOST, CAMERA, 70),)),
    Story("unplugged, stream refused", Shop(lost="refused", hints=False),
          ((200, unplug(2)), (900, plug(2))), ((V.STREAM_REFUSED, CAMERA, 75),)),
    Story("two of them refused", Shop(lost="refused", hints=False),
          ((200, unplug(1, 2)),), ((V.STREAM_REFUSED, R, 60),), open=1),
    Story("unplugged, refused and hinted", Shop(lost="refused"),
          ((200, unplug(2)), (900, plug(2))), ((V.CAMERA_LOST, CAMERA, 90),)),
    Story("unplugged, black slate with hints", Shop(lost="black_slate"),
          ((200, unplug(2)), (900, plug(2))), ((V.NO_SIGNAL_SLATE, CAMERA, 85),), within_s=45),
    Story("unplugged, black slate without hints", Shop(lost="black_slate", hints=False),
          ((200, unplug(2)), (900, plug(2))), ((V.BLACK, CAMERA, 45),), within_s=75),
    Story("single camera gone", Shop(recorder=""),
          ((200, wires(False, 2)), (900, wires(True, 2))), ((V.CAMERA_LOST, CAMERA, 70),)),
    Story("black lens", Shop(),
          ((200, lambda w: w.cover(True, 2)), (900, lambda w: w.cover(False, 2))),
          ((V.BLACK, CAMERA, 40),), within_s=75),
    Story("no light and no infrared", Shop(scene=NIGHT),
          ((200, light("unlit", 1)), (900, light(NIGHT, 1))), ((V.BLACK, CAMERA, 40),), within_s=75),
    Story("slate, then the stream too", Shop(),
          ((200, unplug(2)), (600, wires(False, 2)), (900, wires(True, 2)), (1000, plug(2))),
          ((V.NO_SIGNAL_SLATE, CAMERA, 85), (V.CAMERA_LOST, CAMERA, 85), (V.NO_SIGNAL_SLATE, CAMERA, 75)),
          within_s=45),
    Story("two cameras, one after the other", Shop(lost="silent"),
          ((200, unplug(1)), (400, unplug(3))),
          ((V.CAMERA_LOST, CAMERA, 70), (V.CAMERA_LOST, CAMERA, 70)), open=2),
    Story("two cameras half a minute apart are two failures", Shop(cameras=8, lost="silent"),
          ((200, unplug(1)), (225, unplug(3)), (600, plug(1)), (900, plug(3))),
          ((V.CAMERA_LOST, CAMERA, 90), (V.CAMERA_LOST, CAMERA, 90))),
    Story("two slates half a minute apart are two failures", Shop(cameras=8, hints=False),
          ((200, unplug(1)), (225, unplug(3))),
          ((V.NO_SIGNAL_SLATE, CAMERA, 85), (V.NO_SIGNAL_SLATE, CAMERA, 85)), open=2, within_s=45),
    Story("two single cameras have no cause in common", Shop(recorder=""),
          ((200, wires(False, 1)), (225, wires(False, 3))),
          ((V.CAMERA_LOST, CAMERA, 70), (V.CAMERA_LOST, CAMERA, 70)), open=2),
    # What comes and goes.
    Story("a loose plug", Shop(lost="silent", hints=False),
          loose(200, 1400, 15, 5, wires(False, 2), wires(True, 2)),
          ((V.CAMERA_LOST, CAMERA, 70),), until=2100),
    Story("a loose plug, a minute there and a minute not", Shop(lost="silent"),
          loose(200, 1400, 60, 60, unplug(2), plug(2)), ((V.CAMERA_LOST, CAMERA, 70),), until=2100),
    Story("a flickering input, slate and hints", Shop(),
          loose(200, 1200, 7, 7, unplug(2), plug(2)),
          ((V.NO_SIGNAL_SLATE, CAMERA, 85),), until=2100, within_s=45),
    Story("a slate, and a hint that comes and goes", Shop(measured=False),
          ((200, unplug(2)), *loose(205, 1200, 30, 30, hint(2, False), hint(2, True))),
          ((V.NO_SIGNAL_SLATE, CAMERA, 75),), open=1, until=1900, within_s=75),
    Story("a hint that comes and goes alone", Shop(), loose(205, 1200, 7, 7, hint(2, True), hint(2, False))),
    Story("lost again an hour later", Shop(lost="silent"),
          ((200, unplug(2)), (300, plug(2)), (3900, unplug(2)), (4000, plug(2))),
          ((V.CAMERA_LOST, CAMERA, 90), (V.CAMERA_LOST, CAMERA, 90)), until=5000),
    Story("one slate that ended, and then all of them", Shop(),
          ((200, unplug(3)), (260, plug(3)), (282, unplug(3)), (290, unplug()), (900, plug())),
          ((V.NO_SIGNAL_SLATE, CAMERA, 85), (V.ALL_CAMERAS_OFF, R, 80)), within_s=45),
    Story("one camera that was back, and then all of them", Shop(lost="silent"),
          ((200, unplug(1)), (260, plug(1)), (290, unplug()), (900, plug())),
          ((V.CAMERA_LOST, CAMERA, 90), (V.ALL_CAMERAS_OFF, R, 85))),
    # Several.
    Story("all of a recorder's cameras, one after the other", Shop(cameras=5, lost="silent", hints=False),
          tuple((200 + 7 * n, unplug(n + 1)) for n in range(5)), ((V.ALL_CAMERAS_OFF, R, 50),), open=1),
    Story("all cameras off, slates", Shop(),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 90),), within_s=45),
    Story("all cameras off, slates, no hints", Shop(hints=False, cameras=8, scene=NIGHT),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 80),), within_s=45),
    Story("all sixteen off, slates", Shop(cameras=16),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 90),), within_s=45),
    Story("all cameras off, no slates", Shop(lost="silent"),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 85),)),
    Story("all cameras off, no slates, no hints", Shop(lost="silent", hints=False),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 50),)),
    Story("all cameras off, refused and hinted", Shop(lost="refused"),
          ((200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 85),)),
    Story("half the cameras off together", Shop(cameras=8, lost="silent"),
          ((200, unplug(1, 2, 3, 4)), (900, plug(1, 2, 3, 4))), ((V.CAMERA_LOST, R, 60),)),
    Story("lights out for all, no infrared", Shop(),
          ((200, light("unlit")), (900, light("day"))), ((V.BLACK, R, 40),), within_s=75),
    # Nothing at all.
    Story("a quiet day", Shop(), ()),
    Story("a quiet night", Shop(scene=NIGHT), ()),
    Story("a quiet night with a smart codec", Shop(scene=NIGHT, smart=True), (), until=4000),
    Story("a shutter before the lens", Shop(scene="wall", smart=True), (), until=4000),
    Story("infrared at dusk, all at once", Shop(), ((200, light(NIGHT)), (900, light("day")))),
    Story("dark for the blink of the infrared", Shop(), ((200, light("unlit")), (212, light(NIGHT)))),
    Story("a shadow of forty seconds", Shop(), ((200, light("unlit", 1)), (240, light("day", 1)))),
    Story("reconnects of eight seconds", Shop(), flaps(200, 260, 300, 400, 800)),  # type: ignore[arg-type]
    Story("a summer of flicker", Shop(cameras=2), flaps(*range(100, 1400, 20))),  # type: ignore[arg-type]
    Story("a stuck hint alone", Shop(), ((200, hint(1, True)),), ()),
    # Planned work.
    Story("planned work", Shop(lost="silent"),
          ((100, work(1300)), (200, unplug()), (900, plug())), ((V.ALL_CAMERAS_OFF, R, 85),)),
)  # fmt: skip


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_night(story: Story) -> None:
    check(story)


def test_planned_work_is_recorded_with_its_reason_and_end() -> None:
    told = check(STORIES[-1])
    for turn in told.turned(Sight.DARK):
        assert turn.planned is not None
        assert turn.planned.reason == "new cable"
    assert all(d.incident.planned for d in told.decisions if isinstance(d, IncidentOpened))


def test_a_camera_still_dark_after_the_planned_work_is_told_again_without_it() -> None:
    steps = ((100.0, work(400, 1)), (200.0, unplug(1)))
    told = check(Story("", Shop(lost="silent"), steps, ((V.CAMERA_LOST, CAMERA, 70),), open=1))
    last = told.decisions[-1]
    assert isinstance(last, IncidentRevised)
    assert last.incident.planned is None
    assert 500 <= (last.at.boot_ns / 1e9 - 100) <= 505


def test_work_on_one_camera_does_not_mute_another() -> None:
    steps = ((100.0, work(900, 1)), (200.0, unplug(2)))
    told = check(Story("", Shop(lost="silent"), steps, ((V.CAMERA_LOST, CAMERA, 70),), open=1))
    assert told.turned(Sight.DARK)[0].planned is None


def test_a_slate_is_told_since_the_picture_went_not_since_it_was_understood() -> None:
    told = check(STORIES[2])
    turn = told.turned(Sight.UNUSABLE)[0]
    assert 195 <= turn.since.boot_ns / 1e9 - 100 <= 215


def test_a_recorder_that_falls_silent_about_events_takes_its_hints_along() -> None:
    from edge_agent.health.signals import DeviceQuiet

    quiet = (400.0, lambda w: w.tell(DeviceQuiet(w.moment(), "dvr")))
    told = check(
        Story("", Shop(lost="silent"), ((200, unplug(2)), quiet), ((V.CAMERA_LOST, CAMERA, 70),), open=1)
    )
    assert told.incidents[0].cause.verdict is V.CAMERA_LOST


def test_what_comes_again_and_again_goes_on_with_its_first_beginning_and_says_how_often() -> None:
    told = check(next(s for s in STORIES if s.name == "a loose plug"))
    assert len(told.turned(Sight.DARK)) == 60
    (incident,) = told.incidents
    assert incident.again == 59
    assert incident.since.boot_ns / 1e9 - 100 < 201
    assert incident.until == told.turned(Sight.UP, "cam-02")[-1].since
    assert incident.cause.evidence[0].says.startswith("It had ended and came again 59 times since")
    closed = [d for d in told.decisions if isinstance(d, IncidentClosed)]
    assert len(closed) == 2, "at its first end at once, then after a calm"


def test_the_last_of_several_cameras_keeps_what_was_told_of_all() -> None:
    steps = ((200.0, unplug(1, 3)), (600.0, plug(1)))
    told = check(Story("", Shop(cameras=8, lost="silent"), steps, ((V.CAMERA_LOST, R, 60),), open=1))
    assert told.incidents[0].cameras == ("cam-01", "cam-03")


def test_what_had_ended_before_all_fell_stays_ended_and_its_camera_goes_on_with_the_others() -> None:
    told = check(next(s for s in STORIES if s.name == "one slate that ended, and then all of them"))
    slate, every = told.incidents
    assert slate.until is not None
    assert 255 <= slate.until.boot_ns / 1e9 - 100 <= 270
    assert slate.again == 1
    assert every.cameras == ("cam-01", "cam-02", "cam-03", "cam-04")
    assert every.since.boot_ns / 1e9 - 100 >= 282
    assert told.turned(Sight.UNUSABLE, "cam-03")[-1].incident == every.id


def test_of_cameras_lost_together_those_still_gone_keep_their_incident_and_its_beginning() -> None:
    lost, back = (1, 2, 3, 4), (1, 2)
    steps = ((200.0, unplug(*lost)), (600.0, plug(*back)))
    shop = Shop(cameras=8, lost="silent")
    told = check(Story("", shop, steps, ((V.CAMERA_LOST, R, 60),), open=1))
    for camera in told.watch.cameras:
        if camera.told is Sight.DARK:
            assert camera.incident == told.incidents[0].id
            assert camera.since.boot_ns / 1e9 - 100 < 201
