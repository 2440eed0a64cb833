from __future__ import annotations

from dataclasses import replace

from edge_agent.agent import senses
from edge_agent.agent.cameras import Cameras, Watched
from edge_agent.agent.reach import HostChecked
from edge_agent.agent.reports import cause, turned_leaf
from edge_agent.capture.device_events import DeviceEvent, EventKind
from edge_agent.clock import ManualClock
from edge_agent.config import Config, parse
from edge_agent.events import Fact, StreamLost, StreamStarted
from edge_agent.health.decisions import CameraTurned
from edge_agent.health.watch import NightWatch
from edge_agent.model import Camera, Codec, Endpoint, Instant, Role, StreamKey


def config(**capture: str) -> Config:
    return parse({"site": {"id": "site-1", "name": "Test"}, "capture": capture})


def camera(host: str = "192.0.2.1") -> Camera:
    main = Endpoint(f"rtsp://{host}:554/main", host, 554)
    return Camera("cam-01", "S1:1", "Till", main, Endpoint(f"rtsp://{host}:554/sub", host, 554), "dvr", 1)


def nobody(_camera: str) -> None:
    return None


class Site:
    """One camera, and the night watch that judges it."""

    def __init__(self) -> None:
        self.clock, self.watch = ManualClock(), NightWatch()
        self.cameras = Cameras(config(), self.watch.state)
        for signal in self.cameras.admit([camera()], self.clock.now()).known:
            self.watch.observe(signal)

    @property
    def watched(self) -> Watched:
        watched = self.cameras.get("cam-01")
        assert watched is not None
        return watched

    def flow(self) -> None:
        for role in Role:
            fact = StreamStarted(self.clock.now(), StreamKey("cam-01", role), Codec.H264, 1280, 720)
            self.cameras.started(fact)
            self._sense(fact)

    def lose(self, since: Instant, reason: str) -> None:
        for role in Role:
            fact = StreamLost(self.clock.now(), StreamKey("cam-01", role), since, reason, 1.0)
            self.cameras.lost(fact)
            self._sense(fact)

    def _sense(self, fact: Fact) -> None:
        signal = senses.read(fact)
        assert signal is not None
        self.watch.observe(signal)


def test_main_and_warm_sub_are_opened_and_an_off_stream_is_not() -> None:
    clock = ManualClock()
    wiring = Cameras(config(), nobody).admit([camera()], clock.now())
    assert [str(key) for key, _, _ in wiring.start] == ["cam-01/main", "cam-01/sub"]
    wiring = Cameras(config(sub="on_demand"), nobody).admit([camera()], clock.now())
    assert [str(key) for key, _, _ in wiring.start] == ["cam-01/main"]


def test_a_recorder_that_moved_has_its_streams_reopened_and_an_unchanged_one_is_left_alone() -> None:
    clock, cameras = ManualClock(), Cameras(config(), nobody)
    cameras.admit([camera()], clock.now())
    assert cameras.admit([camera()], clock.now()).start == ()
    moved = cameras.admit([camera("192.0.2.9")], clock.now())
    assert len(moved.stop) == len(moved.start) == 2


def test_a_dark_camera_tells_since_when_why_and_whether_its_host_answers() -> None:
    site = Site()
    site.flow()
    last_packet = site.clock.now()
    site.clock.advance(5)
    site.lose(last_packet, "no packets for 5 s")
    site.cameras.checked(HostChecked(site.clock.now(), "192.0.2.1", 554, True, "accepts connections", 3))
    site.clock.advance(6)
    decided = site.watch.advance(site.clock.now())
    turn = next(d for d in decided if isinstance(d, CameraTurned))
    leaf = turned_leaf(turn, site.watched, due=True)
    assert (leaf["camera"], leaf["state"], leaf["since"]) == ("cam-01", "dark", "2026-09-21T14:13:20.000Z")
    assert leaf["host_reachable"] is True
    assert "no packets for 5 s" in leaf["cause"]
    assert leaf["verdict"]
    assert leaf["evidence"]
    assert "192.0.2.1:554 accepts connections" in cause(site.watched)


def test_where_to_knock_are_hosts_that_were_tried_and_give_nothing() -> None:
    site = Site()
    assert site.cameras.silent_hosts() == frozenset()
    assert site.cameras.silent_recorders() == {"dvr"}
    site.flow()
    assert site.cameras.silent_recorders() == frozenset()
    site.lose(site.clock.now(), "gone")
    assert site.cameras.silent_hosts() == {("192.0.2.1", 554)}


def test_a_check_from_before_is_forgotten_when_the_camera_sees_again() -> None:
    site = Site()
    site.cameras.checked(HostChecked(site.clock.now(), "192.0.2.1", 554, False, "does not answer", 2000))
    assert site.watched.checked is not None
    site.flow()
    assert site.watched.checked is None


def test_what_the_recorder_says_stands_beside_what_we_saw_until_it_takes_it_back() -> None:
    site = Site()
    clock, cameras, watched = site.clock, site.cameras, site.watched
    loss = DeviceEvent(
        clock.now(), "dvr", 1, EventKind.VIDEO_LOSS, active=True, initial=True, topic="VideoSource/SignalLoss"
    )

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
