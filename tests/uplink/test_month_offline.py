"""Thirty days without a line, by a clock that is set: what a box keeps in memory, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from uplink_world import SITE, Facts

from edge_agent.clock import ManualClock
from edge_agent.ledger import leaf
from edge_agent.ledger.leaf import CameraMark
from edge_agent.ledger.wire import MAX_BATCH_BYTES, Batch
from edge_agent.uplink.brokers import Broker
from edge_agent.uplink.commands import CommandVerifier
from edge_agent.uplink.control import MAX_BACKLOG_UNDER_WAY, ControlLink
from edge_agent.uplink.link import Limits, Link, LinkSettings, Outgoing
from edge_agent.uplink.messages import HeartbeatData, encode
from edge_agent.uplink.mqtt import WINDOW, MqttConnection
from edge_agent.uplink.outbox import RULES, Lane
from edge_agent.uplink.replicate import Replicator

MINUTES, URGENT = 30 * 24 * 60, 20_000
TENTH = 10  # of the minutes tell the link of their facts: enough to see that it keeps nothing


class Disk:
    """The ledger of the thirty days: each leaf is made when it is read, as if from the disk."""

    def __init__(self) -> None:
        self.size = 0
        self.at = ManualClock().now()

    def entries(self, first: int, count: int) -> list[bytes]:
        return [self._leaf(index) for index in range(first, min(first + count, self.size))]

    def checkpoint(self, size: int) -> str:
        return f"checkpoint over {size}"

    def _leaf(self, index: int) -> bytes:
        tips = index.to_bytes(32, "big")
        return leaf.encode("mark", leaf.mark(7, [index], tips, [CameraMark.UP] * 8, tips), self.at, bytes(16))


def month_offline(disk: Disk, clock: ManualClock) -> tuple[ControlLink, Replicator]:
    """A link that was never up, given more than a box would say to it in that time."""
    replicator, files = Replicator(disk), Path("unread")
    link = Link(LinkSettings((Broker("a.example"),), SITE, files, files, files), clock, MqttConnection)
    control = ControlLink(
        site=SITE, link=link, inbox=Facts(), clock=clock, verifier=CommandVerifier({}, SITE), sign=encode,
        backlog=replicator,
    )  # fmt: skip
    for minute in range(MINUTES):
        clock.advance(60)
        before = disk.size
        disk.size = (minute + 1) + (minute + 1) * URGENT // MINUTES
        told = range(before + 1, disk.size) if minute % TENTH == 0 else ()
        for event in replicator.synced(disk.size, told):
            control.send_event(event)
        if told:
            control.send_heartbeat(HeartbeatData())
    return control, replicator


def drained(control: ControlLink) -> Iterator[Outgoing]:
    """What the link takes, a window at a time, all of it acknowledged."""
    while window := [m for _ in range(WINDOW) if (m := control.next_message(window_open=True, room=True))]:
        backlog = [message for message in window if message.topic.endswith("/up/ledger")]
        assert len(backlog) <= MAX_BACKLOG_UNDER_WAY
        yield from window
        for message in window:
            control.acknowledged(message.token)


def test_a_month_offline_waits_on_the_disk_and_comes_whole_behind_what_is_alive() -> None:
    disk, clock = Disk(), ManualClock()
    control, replicator = month_offline(disk, clock)
    assert disk.size == replicator.waiting() == MINUTES + URGENT
    assert control.stats().waiting <= 1 + RULES[Lane.EVENT].items

    control.link_up(Broker("a.example"), Limits(1_000_000, 100))
    control.send_heartbeat(HeartbeatData())
    sent = list(drained(control))

    kinds = [message.topic.rsplit("/", 1)[1] for message in sent]
    first_of_backlog = kinds.index("ledger")
    assert kinds[:2] == ["state", "heartbeat"]
    assert kinds.count("heartbeat") == 1
    assert set(kinds[first_of_backlog:]) == {"ledger"}

    batches = [Batch.decode(message.payload) for message in sent[first_of_backlog:]]
    firsts = [batch.first for batch in batches]
    assert firsts == [0, *accumulate(len(batch.leaves) for batch in batches)][:-1]
    assert batches[-1].first + len(batches[-1].leaves) == disk.size
    assert batches[-1].checkpoint == f"checkpoint over {disk.size}"
    assert max(len(batch.encode()) for batch in batches) <= MAX_BATCH_BYTES
    assert b"".join(batches[700].leaves) == b"".join(disk.entries(firsts[700], len(batches[700].leaves)))
