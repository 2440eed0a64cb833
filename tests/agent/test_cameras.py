from __future__ import annotations

from dataclasses import replace

from edge_agent.agent.cameras import Cameras
from edge_agent.agent.reach import HostChecked
from edge_agent.agent.reports import cause, change_leaf
from edge_agent.capture.device_events import DeviceEvent, EventKind
from edge_agent.clock import ManualClock
from edge_agent.config import Config, parse
from edge_agent.events import StreamLost, StreamStarted
from edge_agent.model import Camera, Codec, Endpoint, Role, StreamKey


def config(**capture: str) -> Config:
    return parse({"site": {"id": "site-1", "name": "Test"}, "capture": capture})


def camera(host: str = "192.0.2.1") -> Camera:
    main = Endpoint(f"rtsp://{host}:554/main", host, 554)
    return Camera("cam-01", "S1:1", "Till", main, Endpoint(f"rtsp://{host}:554/sub", host, 554), "dvr", 1)


def test_main_and_warm_sub_are_opened_and_an_off_stream_is_not() -> None:
    clock = ManualClock()
    wiring = Cameras(config()).admit([camera()], clock.now())
    assert [str(key) for key, _, _ in wiring.start] == ["cam-01/main", "cam-01/sub"]
    wiring = Cameras(config(sub="on_demand")).admit([camera()], clock.now())
    assert [str(key) for key, _, _ in wiring.start] == ["cam-01/main"]


def test_a_recorder_that_moved_has_its_streams_reopened_and_an_unchanged_one_is_left_alone() -> None:
    clock, cameras = ManualClock(), Cameras(config())
    cameras.admit([camera()], clock.now())
    assert cameras.admit([camera()], clock.now()).start == ()
    moved = cameras.admit([camera("192.0.2.9")], clock.now())
    assert len(moved.stop) == len(moved.start) == 2


def test_a_dark_camera_tells_since_when_why_and_whether_its_host_answers() -> None:
    clock, cameras = ManualClock(), Cameras(config())
    cameras.admit([camera()], clock.now())
    for role in Role:
        cameras.started(StreamStarted(clock.now(), StreamKey("cam-01", role), Codec.H264, 1280, 720))
    last_packet = clock.now()
    clock.advance(5)
    for role in Role:
        reason = "no packets for 5 s"
        cameras.lost(StreamLost(clock.now(), StreamKey("cam-01", role), last_packet, reason, 1.0))
    cameras.checked(HostChecked(clock.now(), "192.0.2.1", 554, True, "accepts connections", 3))
    clock.advance(5)
    (change,) = cameras.tick(clock.now())
    watched = cameras.get("cam-01")
    assert watched is not None
    leaf = change_leaf(change, watched, due=True)
    assert (leaf["camera"], leaf["state"], leaf["since"]) == ("cam-01", "dark", "2026-09-21T14:13:20.000Z")
    assert leaf["host_reachable"] is True
    assert "no packets for 5 s" in leaf["cause"]
    assert "192.0.2.1:554 accepts connections" in cause(watched)


def test_a_check_from_before_is_forgotten_when_the_camera_sees_again() -> None:
    clock, cameras = ManualClock(), Cameras(config(sub="off"))
    cameras.admit([camera()], clock.now())
    cameras.checked(HostChecked(clock.now(), "192.0.2.1", 554, False, "does not answer", 2000))
    cameras.started(StreamStarted(clock.now(), StreamKey("cam-01", Role.MAIN), Codec.H264, 1280, 720))
    watched = cameras.get("cam-01")
    assert watched is not None
    assert watched.checked is None


def test_what_the_recorder_says_stands_beside_what_we_saw_until_it_takes_it_back() -> None:
    clock, cameras = ManualClock(), Cameras(config())
    cameras.admit([camera()], clock.now())
    loss = DeviceEvent(
        clock.now(), "dvr", 1, EventKind.VIDEO_LOSS, active=True, initial=True, topic="VideoSource/SignalLoss"
    )
    watched = cameras.get("cam-01")
    assert watched is not None

    cameras.hinted(loss)
    cameras.hinted(replace(loss, channel=2, kind=EventKind.TAMPER))
    cameras.hinted(replace(loss, kind=EventKind.MOTION))
    assert cause(watched).endswith("the recorder says: no video at this input")

    cameras.hinted(replace(loss, active=False))
    assert "recorder says" not in cause(watched)

    cameras.hinted(replace(loss, channel=None, kind=EventKind.STORAGE))
    assert "its disk has failed" in cause(watched)
    cameras.forget_hints("dvr")
    assert not watched.hints
