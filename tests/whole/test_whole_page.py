"""The console's page over the whole city: the time line of a camera, and its past played in a browser."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("mosquitto", "chromium")

Soon = Callable[[Callable[[], object], float, str], None]
SHOTS = os.environ.get("EDGE_AGENT_SCREENSHOTS")
FOUND = "edgeAgent.timeline()"


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(Path(SHOTS) / f"{name}.png")


@pytest.fixture
def viewer(page: Any, watcher: Any) -> Any:
    """The large view of the first camera, with its coverage."""
    page.open(watcher.city.url)
    page.until("document.querySelectorAll('.tile').length === 2", 20)
    page.run("edgeAgent.open('cam-01')")
    page.until("document.querySelectorAll('.bars i.span').length > 0", 20)
    return page


def newest_end(page: Any) -> float:
    return float(page.run(f"Math.max(...{FOUND}.spans.map((span) => span[1]))"))


def wait_for_footage(page: Any, seconds: float) -> None:
    """Until the newest piece is so long."""
    deadline = time.monotonic() + 40
    while page.run(f"(s => s[1] - s[0])({FOUND}.spans.at(-1))") < seconds * 1000:
        assert time.monotonic() < deadline, "not enough footage"
        time.sleep(1)
        page.run("edgeAgent.lookAgain()")


def test_a_past_minute_plays_from_a_click_on_the_time_line(viewer: Any) -> None:
    wait_for_footage(viewer, 9)
    viewer.run("document.querySelector('[data-zoom=minutes]').click()")
    viewer.until(f"{FOUND} && {FOUND}.to_ms - {FOUND}.from_ms <= 600000")
    at_ms = newest_end(viewer) - 8_000
    x, y = viewer.run(f"edgeAgent.timelinePoint({at_ms})")
    for kind in ("mousePressed", "mouseReleased"):
        viewer.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    viewer.until("edgeAgent.pastStats() !== null")
    viewer.until("edgeAgent.pastStats().firstPictureMs != null", 15)
    viewer.until("edgeAgent.pastStats().frames > 25")
    stats = viewer.run("edgeAgent.pastStats()")
    assert at_ms - 1500 <= stats["nowMs"] <= at_ms + 6000
    shot(viewer, "past")
    frames, shown_ms = stats["frames"], stats["nowMs"]
    viewer.run("document.querySelector('[data-speed=\"4\"]').click()")
    viewer.until("edgeAgent.pastStats().speed === 4 && edgeAgent.pastStats().placed")
    viewer.until(f"edgeAgent.pastStats().nowMs > {shown_ms} + 4000")
    assert viewer.run("edgeAgent.pastStats().frames") > frames
    assert not viewer.errors


def test_pause_holds_the_picture_and_live_comes_back(viewer: Any) -> None:
    wait_for_footage(viewer, 9)
    viewer.run(f"edgeAgent.past({newest_end(viewer) - 8_000})")
    viewer.until("edgeAgent.pastStats()?.firstPictureMs != null", 15)
    viewer.run("document.querySelector('.viewer .do-pause').click()")
    held = viewer.run("edgeAgent.pastStats().nowMs")
    time.sleep(1.5)
    assert viewer.run("edgeAgent.pastStats().nowMs") == pytest.approx(held, abs=50)
    assert "Paused" in viewer.run("document.getElementById('viewer-status').innerText")
    viewer.run("document.querySelector('.viewer .do-pause').click()")
    viewer.until(f"edgeAgent.pastStats().nowMs > {held} + 500", 15)
    viewer.run("document.querySelector('.viewer .do-live').click()")
    viewer.until("edgeAgent.stats('cam-01')?.firstPictureMs != null", 15)
    assert viewer.run("edgeAgent.pastStats()") is None


def test_gaps_are_told_in_words_and_jumped(viewer: Any, watcher: Any, soon: Soon) -> None:
    """One recorder input is switched off and on again, as at night."""
    page, control = viewer, watcher.city.dvr.control
    page.run("document.querySelector('[data-zoom=minutes]').click()")
    control.set_channel(1, mode="off")
    try:
        page.until("document.querySelector('[data-camera=cam-01]').innerText.includes('Not seeing')", 20)
        page.run("edgeAgent.lookAgain()")
        page.until("document.querySelectorAll('.bars i.gap.dark').length > 0")
        shot(page, "dark-line")
    finally:
        control.set_channel(1, mode="on")
    watcher.wait_until_seeing(2)
    time.sleep(3)
    page.run("edgeAgent.lookAgain()")
    page.until("document.querySelector('.outages').innerText.includes('Not seeing: no')", 20)
    gap_ms = page.run(f"{FOUND}.gaps.findLast((gap) => gap.kind === 'dark').from_ms")
    page.run(f"edgeAgent.past({gap_ms - 1500})")
    page.until("edgeAgent.pastStats()?.gaps > 0", 20)
    page.until("document.querySelector('.jumped').innerText.includes('No footage')")
    shot(page, "gap")
    page.until("edgeAgent.pastStats().epochs >= 2")
    page.resize(390, 844, mobile=True)
    assert page.run("document.querySelector('.viewer').scrollWidth <= innerWidth")
    shot(page, "past-phone")
    assert not page.errors
