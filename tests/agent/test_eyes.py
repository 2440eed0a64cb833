"""Whose picture is measured when: spread, the small stream first, closer when something is suspicious."""

from __future__ import annotations

from edge_agent.agent.eyes import HURRY_FOR_S, Eyes
from edge_agent.capture.pictures import KeyframeMeasured
from edge_agent.clock import ManualClock
from edge_agent.health.camera import CameraWatch
from edge_agent.health.signals import CameraKnown, StreamFlows
from edge_agent.model import Codec, Instant, Keyframe, Role, StreamKey


class Room:
    """Cameras whose streams have a new keyframe every two seconds."""

    def __init__(self, count: int = 1, roles: tuple[Role, ...] = (Role.MAIN, Role.SUB)) -> None:
        self.clock = ManualClock()
        self.asked: list[tuple[float, StreamKey, int]] = []
        self.eyes = Eyes(self._keyframe, self._measure, 10.0)
        self.cameras = [self._camera(f"cam-{n:02d}", roles) for n in range(count)]

    def _camera(self, name: str, roles: tuple[Role, ...]) -> CameraWatch:
        camera = CameraWatch.begin(CameraKnown(self.clock.now(), name, "dvr", 1, "192.0.2.1", roles))
        for role in roles:
            camera.flows(StreamFlows(self.clock.now(), name, role, 640, 360))
        return camera

    def _keyframe(self, key: StreamKey) -> Keyframe | None:
        newest = self.clock.boot_ns // 2_000_000_000 * 2_000_000_000
        return Keyframe(key, Codec.H264, b"", Instant(0, newest))

    def _measure(self, keyframe: Keyframe, width: int) -> None:
        self.asked.append((self.clock.monotonic(), keyframe.key, width))

    def live(self, seconds: float) -> list[tuple[float, StreamKey, int]]:
        self.asked.clear()
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.eyes.tick(self.cameras, self.clock.monotonic())
        return list(self.asked)

    def took(self, jpeg: bytes) -> Instant:
        now = self.clock.now()
        key = StreamKey("cam-00", Role.SUB)
        self.eyes.took(KeyframeMeasured(now, key, now, 0, 0, 0, 0, 0, None, "", jpeg))
        return now


def test_one_keyframe_a_camera_in_ten_seconds_the_small_stream_first() -> None:
    room = Room()
    asked = room.live(100)
    assert 9 <= len(asked) <= 11
    assert {key for _, key, _ in asked} == {StreamKey("cam-00", Role.SUB)}


def test_the_full_picture_is_measured_where_no_small_one_flows() -> None:
    assert {key.role for _, key, _ in Room(roles=(Role.MAIN,)).live(30)} == {Role.MAIN}


def test_cameras_take_turns_instead_of_coming_together() -> None:
    moments = [at for at, _, _ in Room(count=16).live(40)]
    assert max(moments.count(at) for at in moments) <= 2


def test_a_silent_camera_is_not_measured() -> None:
    room = Room()
    room.cameras[0].flowing.clear()
    assert room.live(30) == []


def test_the_same_keyframe_is_not_measured_twice() -> None:
    room = Room()
    room.eyes._keyframe = lambda key: Keyframe(key, Codec.H264, b"", Instant(0, 5))
    assert len(room.live(60)) == 1


def test_suspicion_brings_a_closer_look_for_a_while_and_not_for_ever() -> None:
    room = Room()
    room.live(12)
    room.eyes.hurry("cam-00", room.clock.monotonic())
    close = room.live(HURRY_FOR_S)
    assert len(close) >= 12
    assert all(width for _, _, width in close)
    room.eyes.hurry("cam-00", room.clock.monotonic())
    assert len(room.live(HURRY_FOR_S)) <= 5


def test_the_last_good_and_the_first_bad_picture_are_those_beside_the_change() -> None:
    room = Room()
    room.live(1)
    for number in range(10):
        room.took(b"good %d" % number)
        room.clock.advance(60)
    since = room.clock.now()
    room.took(b"bad 1")
    room.clock.advance(3)
    room.took(b"bad 2")
    good, bad = room.eyes.last_before("cam-00", since), room.eyes.first_after("cam-00", since)
    assert good is not None
    assert bad is not None
    assert (good.jpeg, bad.jpeg) == (b"good 9", b"bad 1")
    assert room.eyes.last_before("cam-99", since) is None
