"""From the night watch's own decisions to the record: a recorder that is off for half a night."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from night_leaves import IST, MIN, Story, at

from edge_agent.health import nights_words as words
from edge_agent.health.decisions import Decision, kind
from edge_agent.health.nights import Minutes, Schedule, night_record
from edge_agent.health.scribe import chronicle
from edge_agent.health.signals import (
    BoxStarted,
    CameraKnown,
    Ended,
    HostKnocked,
    Mains,
    MainsSeen,
    Signal,
    StreamFlows,
    StreamSilent,
)
from edge_agent.health.watch import NightWatch
from edge_agent.model import ClockTrust, Instant, Role

CAMERAS = ("cam-01", "cam-02")


class Site:
    def __init__(self) -> None:
        self.story = Story(CAMERAS, "2026-11-21 05:00").boot()
        self.watch = NightWatch()

    def now(self) -> Instant:
        return Instant(self.story.now_us, (self.story.now_us - at("2026-11-21 04:59")) * 1000, ClockTrust.NTP)

    def observe(self, signal: Signal) -> None:
        self._note(self.watch.observe(signal))

    def run(self, until: str, step_us: int = MIN) -> None:
        while self.story.now_us < at(until):
            self.story.now_us += step_us
            self._note(self.watch.advance(self.now()))
            self.story.add("mark", cam="uu")

    def _note(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self.story.add(kind(decision), **decision.to_leaf())


def test_a_recorder_that_is_off_is_one_line_with_what_was_observed() -> None:
    site = Site()
    site.observe(BoxStarted(site.now(), "b", Ended.FIRST, None))
    site.observe(MainsSeen(site.now(), Mains.ON, "nut", 100))
    for number, camera in enumerate(CAMERAS, 1):
        site.observe(CameraKnown(site.now(), camera, "dvr", number, "192.0.2.7", (Role.MAIN,)))
        site.observe(StreamFlows(site.now(), camera, Role.MAIN, 640, 360))
    site.run("2026-11-21 22:04")
    last_packet = site.now()
    site.story.now_us += 5_000_000
    for camera in CAMERAS:
        site.observe(StreamSilent(site.now(), camera, Role.MAIN, last_packet, "no packets", False, False))
    site.story.now_us += 2_000_000
    site.observe(HostKnocked(site.now(), "192.0.2.7", 554, False, False, "no answer"))
    site.run("2026-11-22 04:16", 10_000_000)
    for camera in CAMERAS:
        site.observe(StreamFlows(site.now(), camera, Role.MAIN, 640, 360))
    site.run("2026-11-22 06:20")
    found = night_record(chronicle(site.story.leaves()), Schedule(IST), date(2026, 11, 21), site.story.now_us)
    assert {s.camera: s.night for s in found.sights} == dict.fromkeys(
        CAMERAS, Minutes(600, 228, dark={"dvr_off_mains_present": 372})
    )
    (outage,) = found.outages
    assert outage.cameras == CAMERAS
    assert words.headline(found) == "All 2 cameras were dark for 6 h 12 min of the night."
