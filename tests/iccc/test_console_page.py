"""The page in a real browser: what a person sees within a second, and how far behind it stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("mosquitto", "chromium")
SITE = "pump-17"
SHOTS = os.environ.get("EDGE_AGENT_SCREENSHOTS")


def shot(page: Any, name: str, **options: Any) -> None:
    if SHOTS:
        page.screenshot(Path(SHOTS) / f"{name}.png", **options)


def live(page: Any, camera: str, role: str) -> None:
    page.run(f"edgeAgent.live({camera!r}, {role!r})")
    page.until(f"edgeAgent.stats({camera!r})?.firstPictureMs != null")


def test_the_page_shows_the_site_its_cameras_and_their_pictures(page: Any, console: Any) -> None:
    page.open(console.url)
    page.until("document.querySelectorAll('.tile').length === 4")
    page.until("document.querySelectorAll('.tile img').length === 4")
    page.until("document.body.innerText.includes('Since ')")
    text = page.run("document.body.innerText")
    for words in ("Shree Petroleum, Ring Road", "Dispenser 1 and 2", "Since ", "Online", "Picture "):
        assert words in text
    shot(page, "overview")
    page.resize(390, 844, mobile=True)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    shot(page, "phone", whole=True)
    assert not page.errors


def test_live_shows_a_picture_within_a_second_and_stays_near_now(page: Any, console: Any) -> None:
    page.open(console.url)
    page.until("document.querySelectorAll('.tile').length === 4")
    live(page, "cam-01", "main")
    assert page.run("edgeAgent.stats('cam-01').firstPictureMs") <= 1000
    time.sleep(5)
    stats = page.run("edgeAgent.stats('cam-01')")
    assert stats["delayMeasured"]
    late = [d["ms"] for d in stats["delays"] if d["t"] > 3000]
    assert sorted(late)[len(late) // 2] <= 600
    assert stats["stalls"] == 0
    shot(page, "live")


def test_a_camera_that_goes_dark_is_told_by_word_and_in_the_feed(page: Any, console: Any, box: Any) -> None:
    page.open(console.url)
    page.until("document.querySelectorAll('.tile img').length === 4")
    page.until("document.body.innerText.includes('Since ')")
    box.say_camera(
        "cam-03", "dark", "Cash counter stopped sending", "no packets for 10 s; 192.168.1.8:554 answers"
    )
    page.until("document.querySelector('[data-camera=cam-03]').innerText.includes('Not seeing')")
    assert "Cash counter stopped sending" in page.run("document.getElementById('feed').innerText")
    assert page.run("document.title").startswith("(1)")
    shot(page, "dark")


def test_names_from_outside_are_shown_never_run(page: Any, console: Any, box: Any) -> None:
    box.names["cam-01"] = "<img src=x onerror=\"document.title='owned'\">"
    box.say_birth()
    page.open(console.url)
    page.until("document.querySelectorAll('.tile').length === 4")
    page.until("document.querySelector('.tile h3').textContent.includes('onerror')")
    assert page.run("document.title") == "Command centre"


def test_a_new_epoch_plays_on(page: Any, console: Any, box: Any) -> None:
    page.open(console.url)
    page.until("document.querySelectorAll('.tile').length === 4")
    live(page, "cam-02", "sub")
    box.streams["cam-02", _sub()].new_epoch()
    page.until("edgeAgent.stats('cam-02').epochs === 2")
    before = page.run("edgeAgent.stats('cam-02').frames")
    page.until(f"edgeAgent.stats('cam-02').frames > {before} + 24")


def test_the_large_view_plays_the_main_stream_and_closes_by_key(page: Any, console: Any) -> None:
    page.open(console.url)
    page.until("document.querySelectorAll('.tile').length === 4")
    page.run("document.querySelector('.do-enlarge').click()")
    page.until("edgeAgent.stats('cam-01')?.firstPictureMs != null")
    page.until("document.getElementById('viewer-figures').innerText.includes('1280 x 720')")
    time.sleep(1)
    shot(page, "viewer")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", windowsVirtualKeyCode=27)
    page.until("!document.getElementById('viewer').open")


def _sub() -> Any:
    from edge_agent.model import Role

    return Role.SUB
