"""What is concluded about a site from its messages."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.iccc.console.views import camera_json, site_json
from edge_agent.iccc.sites import QUIET_AFTER_S, FeedEntry, SiteView, hear, pass_time
from edge_agent.uplink import messages, ulid
from edge_agent.uplink.stamper import Stamper

SITE = "pump-17"
CAMERAS = (
    messages.CameraInfo(id="cam-01", name="Forecourt"),
    messages.CameraInfo(id="cam-02", name="Cash counter"),
)


class Box:
    """Stamps messages of one run, and folds them into a site."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.site = SiteView(SITE)
        self.entries: list[FeedEntry] = []
        self.boot = "ab" * 16
        self.connect()

    def connect(self) -> None:
        self.stamper = Stamper(ulid.new(self.clock.wall_us))

    def tell(self, message: messages.Message, *, retained: bool = False) -> None:
        self.site, entries = hear(self.site, message, self.clock.wall_us, retained=retained)
        self.entries += entries

    def birth(self, *, retained: bool = False, **more: Any) -> None:
        data = messages.BirthData(
            site=SITE, name="Pump", boot=self.boot, software="1", cameras=CAMERAS, **more
        )
        self.tell(self.stamper.birth(data, self.clock.now()), retained=retained)

    def state(self, word: str, cause: str = "", *, retained: bool = False) -> None:
        data = messages.StateData(state=messages.Liveness(word), cause=cause)
        self.tell(self.stamper.state(data, self.clock.now()), retained=retained)

    def heartbeat(self, **states: str) -> None:
        cameras = tuple(messages.CameraState(id=c.replace("_", "-"), state=s) for c, s in states.items())
        self.tell(self.stamper.heartbeat(messages.HeartbeatData(cameras=cameras), self.clock.now()))

    def event(self, camera: str, state: str) -> None:
        detail: dict[str, Any] = {"state": state, "cause": "no packets"}
        data = messages.EventData(
            kind="camera", camera=camera, text="Forecourt stopped sending", detail=detail
        )
        self.tell(self.stamper.event(data, self.clock.now()))

    def words(self) -> list[str]:
        return [entry.text for entry in self.entries]


def test_birth_then_heartbeat_make_a_site_online_with_its_cameras() -> None:
    box = Box()
    box.birth()
    box.heartbeat(cam_01="up", cam_02="up")
    assert box.site.presence == "online"
    assert [(c.name, c.state) for c in box.site.cameras] == [("Forecourt", "up"), ("Cash counter", "up")]
    assert box.words() == ["Box reported for the first time"]


def test_an_event_changes_the_camera_at_once_and_its_heartbeat_does_not_repeat_it() -> None:
    box = Box()
    box.birth()
    box.heartbeat(cam_01="up", cam_02="up")
    box.event("cam-01", "dark")
    assert box.site.cameras[0].state == "dark"
    box.heartbeat(cam_01="dark", cam_02="up")
    assert box.words()[1:] == ["Forecourt stopped sending"]
    assert box.entries[-1].tone == "bad"


def test_what_a_full_ring_gives_up_all_day_does_not_bury_the_feed() -> None:
    box = Box()
    box.birth()
    before = box.words()
    box.tell(box.stamper.event(messages.EventData(kind="eviction"), box.clock.now()))
    assert box.words() == before


def test_a_fact_without_a_sentence_is_told_with_what_it_is_about() -> None:
    box = Box()
    box.birth()
    for kind, detail in (("work", {"reason": "cleaning"}), ("hold", {"case": "4711/2026"}), ("hold", {})):
        box.tell(box.stamper.event(messages.EventData(kind=kind, detail=detail), box.clock.now()))
    assert box.words()[-3:] == ["Planned work: cleaning", "Footage is held for 4711/2026", "hold"]


def test_a_change_that_only_a_heartbeat_tells_is_in_the_feed() -> None:
    box = Box()
    box.birth()
    box.heartbeat(cam_01="up", cam_02="up")
    box.heartbeat(cam_01="up", cam_02="dark")
    assert box.words()[1:] == ["Cash counter is not seeing"]


def test_a_last_will_makes_the_site_offline_and_its_cameras_unknown() -> None:
    box = Box()
    box.birth()
    box.heartbeat(cam_01="up", cam_02="up")
    box.state("offline", "connection lost")
    assert box.site.presence == "offline"
    camera = camera_json(box.site.cameras[0], box.site)
    assert camera["state"] == "unknown"
    assert "offline" in str(camera["reason"])


def test_the_will_of_an_earlier_connection_does_not_end_the_present_one() -> None:
    box = Box()
    box.birth()
    late = box.stamper.state(messages.StateData(state=messages.Liveness.OFFLINE), box.clock.now())
    box.connect()
    box.birth()
    box.tell(late)
    assert box.site.presence == "online"


def test_return_after_a_power_cut_and_after_a_cable_cut_are_told_apart() -> None:
    box = Box()
    box.birth()
    box.connect()
    box.birth()
    box.boot = "cd" * 16
    box.connect()
    box.birth(clean_shutdown=False)
    box.boot = "ef" * 16
    box.connect()
    box.birth(clean_shutdown=True)
    assert box.words()[1:] == ["Connected again", "Box started again", "Box started again"]
    assert "lost power" in box.entries[2].detail
    assert "orderly" in box.entries[3].detail


def test_retained_words_tell_how_it_is_not_that_it_happened_now() -> None:
    box = Box()
    box.birth(retained=True)
    box.state("offline", retained=True)
    assert box.site.presence == "offline"
    assert box.site.heard_us is None
    assert box.entries == []


def test_three_missed_heartbeats_make_a_site_quiet_once_and_one_brings_it_back() -> None:
    box = Box()
    box.birth()
    box.clock.advance(QUIET_AFTER_S + 1)
    site, entries = pass_time(box.site, box.clock.wall_us)
    assert site.presence == "quiet"
    assert len(entries) == 1
    assert pass_time(site, box.clock.wall_us) == (site, ())
    box.site = site
    box.heartbeat(cam_01="up")
    assert box.site.presence == "online"


def test_a_message_that_comes_twice_counts_once() -> None:
    box = Box()
    box.birth()
    data = messages.EventData(kind="boot", text="Started")
    event = box.stamper.event(data, box.clock.now())
    box.tell(event)
    box.tell(event)
    assert box.words()[1:] == ["Started"]


@given(
    st.lists(st.sampled_from(["birth", "online", "offline", "up", "dark", "suspect", "event"]), max_size=12)
)
def test_whatever_the_order_the_page_can_show_it(steps: list[str]) -> None:
    box = Box()
    for step in steps:
        box.clock.advance(1)
        if step == "birth":
            box.birth()
        elif step in ("online", "offline"):
            box.state(step)
        elif step == "event":
            box.event("cam-09", "dark")
        else:
            box.heartbeat(cam_01=step)
    shown = site_json(box.site)
    assert shown["presence"] in ("online", "offline", "quiet", "unknown")
    assert len({c.id for c in box.site.cameras}) == len(box.site.cameras)
