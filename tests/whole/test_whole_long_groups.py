"""Live view of a smart codec's main stream, over the real broker: its sub stream comes, and is said to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.demo.settings import SITE
from edge_agent.iccc.live import LiveFragment
from edge_agent.model import Role

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.long]

Soon = Callable[[Callable[[], object], float, str], None]


def test_a_main_stream_without_keyframes_is_shown_by_its_sub_stream(watcher: Any, soon: Soon) -> None:
    control = watcher.city.dvr.control
    control.set_channel(2, variant="long-gop")
    try:
        control.act("cut", channel=2)  # a new session, with one keyframe and no other

        def outgrown() -> bool:
            with watcher.client.live(SITE, "cam-02", Role.MAIN, operator="asha") as live:
                return live.started.role is Role.SUB

        soon(lambda: time.sleep(5) or outgrown(), 120, "a group that outgrew the tap")
        with watcher.client.live(SITE, "cam-02", Role.MAIN, operator="asha") as live:
            items = [item for item in (live.next_item(5) for _ in range(8)) if item]

        assert live.started.role is Role.SUB
        assert "this is the sub stream" in live.started.note
        assert any(isinstance(item, LiveFragment) and item.header.keyframe for item in items)
        assert not live.receiver.refused
    finally:
        control.set_channel(2, variant="normal")


def test_a_main_stream_with_usual_groups_is_shown_itself(watcher: Any) -> None:
    with watcher.client.live(SITE, "cam-01", Role.MAIN, operator="asha") as live:
        items = [item for item in (live.next_item(5) for _ in range(4)) if item]

    assert (live.started.role, live.started.note) == (Role.MAIN, None)
    assert any(isinstance(item, LiveFragment) for item in items)
