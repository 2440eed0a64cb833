"""Recorded footage as it arrives: whole, lost, forged or from elsewhere; every hole is shown. No broker."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.iccc.playback import (
    DAMAGED,
    LOST_ON_WAY,
    Journey,
    PlaybackGap,
    PlaybackItem,
    PlaybackReceiver,
)
from edge_agent.model import Fragment, InitSegment, Role
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Kind, Record
from edge_agent.seal.sealer import StreamSealer
from edge_agent.uplink import parts, ulid
from edge_agent.uplink.messages import LiveStarted

PRIVATE, PUBLIC = generate_recipient()
BOX = BoxKey(secrets.token_bytes(32))
STREAM = b"s" * 16
GROUP = 5
S = 1_000_000


@dataclass
class Recorded:
    """A stream's records on a box's disk, run after run."""

    init: InitSegment
    clock: ManualClock = field(default_factory=ManualClock)
    records: list[Record] = field(default_factory=list)
    boot: bytes = b"1" * 16
    stream: bytes = STREAM
    box: BoxKey = BOX

    def __post_init__(self) -> None:
        self.from_us = self.clock.wall_us
        self.restart()

    def restart(self) -> None:
        self.sealer = StreamSealer(
            box=self.box, recipients=(Recipient("iccc", PUBLIC),), stream_id=self.stream,
            boot_id=self.boot, aead=Aead.CHACHA20_POLY1305,
        )  # fmt: skip

    def run(self, fragments: int, gap: str = "", gap_s: float = 0.0) -> Recorded:
        """A new epoch, after a pause that its first record explains, or nobody does."""
        since = self.clock.now()
        self.clock.advance(gap_s)
        self.records += self.sealer.begin_epoch(self.init, self.clock.now())
        if gap:
            self.records.append(self.sealer.seal_gap(gap, since, self.clock.now()))
        for number in range(fragments):
            data = b"%d" % len(self.records)
            part = Fragment(data, self.clock.now(), 200_000, 0, number % GROUP == 0, False, 1)
            self.records.append(self.sealer.seal(part))
            self.clock.advance(0.2)
        return self


class Desk:
    """The command centre's end of one session."""

    def __init__(self, from_us: int, to_us: int, stream: bytes = STREAM) -> None:
        self.session = ulid.new(from_us)
        started = LiveStarted(session=self.session, lease=self.session, topic="t")
        opener = Opener("iccc", PRIVATE, BOX.public)
        self.receiver = PlaybackReceiver(started, Role.MAIN, opener, stream, from_us, to_us)
        self.journey = Journey(from_us)
        self.sent = 0

    def send(self, records: Sequence[Record], lost: frozenset[int] = frozenset()) -> list[PlaybackItem]:
        """What the viewer gets; records whose place is in `lost` do not arrive."""
        items: list[PlaybackItem] = []
        for place, record in enumerate(records):
            number, self.sent = self.sent, self.sent + 1
            for payload in parts.split(record.raw, ulid.to_bytes(self.session), number, 300):
                numbered = None if place in lost else self.receiver.receive(payload)
                if numbered is not None:
                    items += self.journey.take(numbered.item, numbered.lost)
        return items


@pytest.fixture(scope="module")
def init(loops: Any) -> InitSegment:
    made: InitSegment = loops[Role.SUB].init
    return made


@pytest.fixture
def disk(init: InitSegment) -> Recorded:
    return Recorded(init)


def desk_for(disk: Recorded) -> Desk:
    return Desk(disk.from_us, disk.clock.wall_us + S)


def gaps(items: Sequence[PlaybackItem]) -> list[PlaybackGap]:
    return [item for item in items if isinstance(item, PlaybackGap)]


def fragments(items: Sequence[PlaybackItem]) -> list[LiveFragment]:
    return [item for item in items if isinstance(item, LiveFragment)]


def test_a_rotation_of_the_key_leaves_no_gap(disk: Recorded) -> None:
    disk.run(12).run(9)
    items = desk_for(disk).send(disk.records)
    assert not gaps(items)
    assert len(fragments(items)) == 21
    assert sum(isinstance(item, LiveInit) for item in items) == 2


def test_a_gap_is_told_in_the_box_s_own_words(disk: Recorded) -> None:
    disk.run(10)
    since_us = disk.clock.wall_us
    disk.run(10, gap="no packets for 5 s", gap_s=7)
    assert gaps(desk_for(disk).send(disk.records)) == [
        PlaybackGap(since_us, since_us + 7 * S, "no packets for 5 s")
    ]


def test_a_gap_without_words_means_that_nobody_was_there(disk: Recorded) -> None:
    disk.run(10)
    disk.restart()
    disk.run(10, gap_s=7)
    disk.boot = b"2" * 16
    disk.restart()
    disk.run(10, gap_s=9)
    causes = [gap.cause for gap in gaps(desk_for(disk).send(disk.records))]
    assert causes == ["the agent did not run", "the agent did not run: the box was restarted"]


def test_what_the_disk_lost_is_a_gap_up_to_the_next_keyframe(disk: Recorded) -> None:
    disk.run(20)
    damaged = [r for r in disk.records if r.header.n not in (8, 9)]
    items = desk_for(disk).send(damaged)
    (gap,) = gaps(items)
    assert gap.cause == DAMAGED
    shown = [f.header.n for f in fragments(items)]
    assert shown == [2, 3, 4, 5, 6, 7, *range(12, 22)]
    assert (gap.from_us, gap.to_us) == (
        fragments(items)[5].header.end_us,
        fragments(items)[6].header.wall_us,
    )


@settings(max_examples=60, deadline=None)
@given(lost=st.frozensets(st.integers(0, 34), max_size=12))
def test_whatever_is_lost_on_the_way_is_shown_as_a_gap(init: InitSegment, lost: frozenset[int]) -> None:
    disk = Recorded(init).run(14).run(15, gap="credit", gap_s=3)
    items = desk_for(disk).send(disk.records, lost)
    sent = [r for r in disk.records if r.header.kind is Kind.FRAGMENT]
    order = {(r.header.epoch, r.header.n): place for place, r in enumerate(sent)}
    reach = -1
    told = False
    for item in items:
        if isinstance(item, PlaybackGap):
            told = True
        if isinstance(item, LiveFragment):
            place = order[item.header.epoch, item.header.n]
            assert place > reach
            assert told or place == reach + 1, "a hole that nobody sees"
            assert item.data == b"%d" % disk.records.index(sent[place])
            reach, told = place, False
    for before, after in pairwise(items):
        if isinstance(before, PlaybackGap) and isinstance(after, LiveFragment):
            assert after.header.keyframe


def test_lost_on_the_way_is_told_apart_from_lost_on_the_disk(disk: Recorded) -> None:
    disk.run(20)
    assert [g.cause for g in gaps(desk_for(disk).send(disk.records, frozenset({9})))] == [LOST_ON_WAY]


def test_a_seek_within_an_epoch_shows_no_gap_in_either_direction(disk: Recorded) -> None:
    disk.run(40)
    desk, head = desk_for(disk), disk.records[:2]
    assert len(fragments(desk.send(disk.records[:12]))) == 10
    for first in (27, 2):
        target = next(r for r in disk.records if r.header.n == first)
        desk.journey.seek(target.header.wall_us)
        items = desk.send([*head, *(r for r in disk.records[2:] if r.header.n >= first)][:9])
        assert not gaps(items)
        assert [f.header.n for f in fragments(items)] == list(range(first, first + 7))


def test_others_records_and_other_times_are_refused(init: InitSegment, disk: Recorded) -> None:
    disk.run(10)
    forged = Recorded(init, box=BoxKey(secrets.token_bytes(32))).run(5)
    foreign = Recorded(init, stream=b"t" * 16).run(5)
    desk = desk_for(disk)
    assert not desk.send([*forged.records, *foreign.records])
    later = Desk(disk.from_us + 3600 * S, disk.from_us + 7200 * S)
    assert not fragments(later.send(disk.records))
    assert set(later.receiver.refused) == {"record of another time than the one asked for"}


def test_an_altered_record_is_refused_and_shown_as_a_gap(disk: Recorded) -> None:
    disk.run(12)
    desk = desk_for(disk)
    victim = disk.records[4]
    altered = Record(victim.header, victim.raw[:-9] + bytes(9), victim.digest)
    items = desk.send([*disk.records[:4], altered, *disk.records[5:]])
    assert desk.receiver.refused
    assert len(gaps(items)) == 1
    assert victim.header.n not in [f.header.n for f in fragments(items)]


def test_a_record_that_comes_again_later_changes_nothing(disk: Recorded) -> None:
    disk.run(10)
    desk = desk_for(disk)
    desk.send(disk.records)
    desk.sent = 3
    assert not desk.send(disk.records[3:6])
    assert not gaps(desk.send([]))
