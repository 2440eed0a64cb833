"""What the owner does when the control connection comes and goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from edge_agent.agent.link import LinkDesk
from edge_agent.agent.parts import Uplink
from edge_agent.clock import ManualClock
from edge_agent.host.alive import Ending, LastRun
from edge_agent.uplink.facts import LinkDown, LinkUp


class Desk:
    """A desk whose connections only note what they are asked."""

    def __init__(self) -> None:
        self.clock, self.asked = ManualClock(), list[str]()
        nothing = SimpleNamespace(link_up=lambda _: None, link_down=lambda: None)
        control = SimpleNamespace(
            kick=self._note("kick control"),
            send_birth=self._note("birth"),
            send_heartbeat=self._note("heartbeat"),
        )
        media = SimpleNamespace(kick=self._note("kick media"))
        self.uplink = Uplink(cast(Any, control), cast(Any, media), cast(Any, None))
        owner = SimpleNamespace(
            parts=SimpleNamespace(
                uplink=self.uplink,
                ledger=SimpleNamespace(signing=True),
                clock=self.clock,
                probes=SimpleNamespace(link=lambda *, up: None),
            ),
            viewings=SimpleNamespace(ended=lambda _: None),
            beats=SimpleNamespace(soon=self._note("beat soon")),
        )
        self.desk = LinkDesk(cast(Any, owner), LastRun(Ending.STOPPED))
        self.desk._ledger = cast(Any, nothing)
        self.desk._birth = cast(Any, lambda: None)  # type: ignore[method-assign]

    def _note(self, what: str) -> Any:
        return lambda *_: self.asked.append(what)

    def hear(self, fact: LinkUp | LinkDown) -> None:
        self.desk.reactions[type(fact)](fact)


def test_when_the_command_centre_is_back_the_media_connection_need_not_wait_out_its_pause() -> None:
    desk = Desk()
    desk.hear(LinkUp(desk.clock.now(), "session"))
    assert desk.asked == ["kick media", "birth", "beat soon"]


def test_no_heartbeat_is_kept_for_a_line_that_is_away() -> None:
    desk = Desk()
    desk.hear(LinkUp(desk.clock.now(), "session"))
    desk.hear(LinkDown(desk.clock.now(), "cut"))
    desk.asked.clear()
    for _ in range(100):
        desk.desk.heartbeat()
    assert desk.asked == []


def test_the_way_out_that_is_back_wakes_both_connections() -> None:
    desk = Desk()
    desk.uplink.kick()
    assert desk.asked == ["kick control", "kick media"]
