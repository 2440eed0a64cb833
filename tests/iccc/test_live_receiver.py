"""What a hostile broker may try with live records, without a broker."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.iccc.live import MAX_LAG_S, Anchor, LiveFragment, LiveInit, LiveReceiver
from edge_agent.model import Fragment, InitSegment, Role
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.sealer import StreamSealer
from edge_agent.uplink import parts, ulid
from edge_agent.uplink.messages import LiveStarted

PRIVATE, PUBLIC = generate_recipient()
BOOT = secrets.token_bytes(16)


@dataclass
class Stream:
    """A box's stream, a session, and the receiver at the command centre."""

    init: InitSegment
    box: BoxKey = field(default_factory=lambda: BoxKey(secrets.token_bytes(32)))
    clock: ManualClock = field(default_factory=ManualClock)
    stream_id: bytes = b"s" * 16

    def __post_init__(self) -> None:
        self.sealer = self.sealer_of(self.box)
        self.session = ulid.new(self.clock.wall_us)
        self.sent = 0
        self.receiver: LiveReceiver | None = None

    def sealer_of(self, box: BoxKey, boot: bytes = BOOT) -> StreamSealer:
        recipient = Recipient("iccc-1", PUBLIC)
        return StreamSealer(
            box=box, recipients=(recipient,), stream_id=self.stream_id, boot_id=boot, aead=Aead.AES_256_GCM
        )

    def epoch(self, sealer: StreamSealer | None = None) -> tuple[Record, Record]:
        return (sealer or self.sealer).begin_epoch(self.init, self.clock.now())

    def fragment(self, *, keyframe: bool = False, sealer: StreamSealer | None = None) -> Record:
        self.clock.advance(0.2)
        data = b"fragment %d" % self.sent
        return (sealer or self.sealer).seal(Fragment(data, self.clock.now(), 200_000, 0, keyframe, False, 1))

    def start(self, epoch: bytes | None, first: int | None, others: dict[bytes, Role] | None = None) -> None:
        started = LiveStarted(
            session=self.session,
            lease=self.session,
            topic="t",
            epoch=epoch.hex() if epoch else None,
            first=first,
        )
        opener = Opener("iccc-1", PRIVATE, self.box.public)
        anchor = Anchor(self.clock.boot_ns, self.clock.monotonic())
        self.receiver = LiveReceiver(started, anchor, Role.SUB, opener, self.stream_id, others)

    def send(self, *records: Record) -> list[Any]:
        return [item for record in records for item in self._send(record.raw) if item is not None]

    def _send(self, raw: bytes) -> Iterator[Any]:
        assert self.receiver is not None
        for payload in parts.split(raw, ulid.to_bytes(self.session), self.sent, 256):
            yield self.receiver.receive(payload, self.clock.monotonic())
        self.sent += 1

    def refusals(self) -> str:
        assert self.receiver is not None
        return "; ".join(self.receiver.refused)


@pytest.fixture
def stream(loops: Any) -> Stream:
    return Stream(loops[Role.SUB].init)


def kinds(items: list[Any]) -> str:
    return "".join("i" if isinstance(item, LiveInit) else "f" for item in items)


def test_key_init_and_fragments_open_in_order(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    items = stream.send(*head, stream.fragment(keyframe=True), stream.fragment())
    assert kinds(items) == "iff"
    assert stream.refusals() == ""


def test_a_viewer_joins_in_the_middle_of_an_epoch_at_a_keyframe(stream: Stream) -> None:
    head = stream.epoch()
    for _ in range(7):
        stream.fragment()
    stream.start(head[0].header.epoch, 9)
    assert kinds(stream.send(*head, stream.fragment(keyframe=True), stream.fragment())) == "iff"


def test_records_sent_again_for_another_viewer_are_taken_once(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    gop = [stream.fragment(keyframe=True), stream.fragment()]
    stream.send(*head, *gop)
    assert kinds(stream.send(*head, *gop, stream.fragment())) == "f"
    assert stream.refusals() == ""


def test_after_a_lost_fragment_it_goes_on_at_the_next_keyframe(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    stream.send(*head, stream.fragment(keyframe=True))
    stream.fragment()  # lost on the way
    assert stream.send(stream.fragment(), stream.fragment()) == []
    assert kinds(stream.send(stream.fragment(keyframe=True), stream.fragment())) == "ff"
    assert stream.receiver is not None
    assert stream.receiver.skipped == 2


def test_footage_forged_with_only_the_public_key_is_refused(stream: Stream) -> None:
    """HPKE authenticates nobody: without the box's signature on the key record this would play."""
    forger = stream.sealer_of(BoxKey(secrets.token_bytes(32)))
    head = stream.epoch(forger)
    stream.start(head[0].header.epoch, 2)
    assert stream.send(*head, stream.fragment(keyframe=True, sealer=forger)) == []
    assert "not signed by this box" in stream.refusals()


def test_another_epoch_than_the_signed_reply_names_is_refused(stream: Stream) -> None:
    old = stream.epoch()
    old_fragment = stream.fragment(keyframe=True)
    new = stream.epoch()
    stream.start(new[0].header.epoch, 2)
    assert stream.send(*old, old_fragment) == []
    assert kinds(stream.send(*new, stream.fragment(keyframe=True))) == "if"


def test_an_earlier_epoch_replayed_in_the_session_is_refused(stream: Stream) -> None:
    old = stream.epoch()
    old_fragment = stream.fragment(keyframe=True)
    stream.clock.advance(60)
    new = stream.epoch()
    stream.start(new[0].header.epoch, 2)
    stream.send(*new, stream.fragment(keyframe=True))
    assert stream.send(*old, old_fragment) == []
    assert kinds(stream.send(stream.fragment())) == "f"


def test_a_later_epoch_of_the_same_run_is_followed(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    stream.send(*head, stream.fragment(keyframe=True))
    assert kinds(stream.send(*stream.epoch(), stream.fragment(keyframe=True))) == "if"


def test_an_epoch_of_another_boot_is_refused(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    stream.send(*head, stream.fragment(keyframe=True))
    other = stream.sealer_of(stream.box, secrets.token_bytes(16))
    assert stream.send(*stream.epoch(other)) == []


def test_records_before_the_first_that_the_reply_names_are_refused(stream: Stream) -> None:
    head = stream.epoch()
    early = stream.fragment(keyframe=True)
    stream.start(head[0].header.epoch, 3)
    assert kinds(stream.send(*head, early)) == "i"
    assert "before the first" in stream.refusals()


def test_media_held_back_by_the_broker_is_not_live(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    stream.send(*head)
    late = stream.fragment(keyframe=True)
    stream.clock.advance(MAX_LAG_S + 1)
    assert stream.send(late) == []
    assert "another time" in stream.refusals()


def test_a_lost_key_record_is_noticed(stream: Stream) -> None:
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    assert stream.send(head[1], stream.fragment(keyframe=True)) == []
    assert stream.receiver is not None
    assert stream.receiver.lost_head


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_altered_byte_anywhere_never_opens(loops: Any, data: st.DataObject) -> None:
    stream = Stream(loops[Role.SUB].init)
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2)
    stream.send(*head)
    raw = bytearray(stream.fragment(keyframe=True).raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    items = [item for item in stream._send(bytes(raw)) if item is not None]
    assert not any(isinstance(item, LiveFragment) for item in items)


def test_the_box_steps_to_another_stream_of_the_camera_and_back_into_the_same_epoch(stream: Stream) -> None:
    other = Stream(stream.init, box=stream.box, clock=stream.clock, stream_id=b"o" * 16)
    there = other.epoch()
    for _ in range(40):
        other.fragment()
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2, {other.stream_id: Role.MAIN})
    stream.send(*head, stream.fragment(keyframe=True), stream.fragment())

    stepped = stream.send(*there, other.fragment(keyframe=True), other.fragment())
    assert kinds(stepped) == "iff"
    assert stepped[0].role is Role.MAIN
    back = stream.send(*head, stream.fragment(keyframe=True), stream.fragment())
    assert kinds(back) == "iff"
    assert back[0].role is Role.SUB
    assert stream.refusals() == ""


def test_a_stream_of_another_camera_is_not_stepped_to(stream: Stream) -> None:
    other = Stream(stream.init, box=stream.box, clock=stream.clock, stream_id=b"x" * 16)
    there = other.epoch()
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2, {b"o" * 16: Role.MAIN})
    stream.send(*head, stream.fragment(keyframe=True))

    assert stream.send(*there, other.fragment(keyframe=True)) == []
    assert "another stream" in stream.refusals()
    assert kinds(stream.send(stream.fragment())) == "f"


def test_an_epoch_of_another_stream_that_ended_before_is_not_stepped_to(stream: Stream) -> None:
    other = Stream(stream.init, box=stream.box, clock=stream.clock, stream_id=b"o" * 16)
    ended = other.epoch()
    old = other.fragment(keyframe=True)
    newer = other.epoch()
    head = stream.epoch()
    stream.start(head[0].header.epoch, 2, {other.stream_id: Role.MAIN})
    stream.send(*head, stream.fragment(keyframe=True))
    stream.send(*newer, other.fragment(keyframe=True))
    stream.send(*head, stream.fragment(keyframe=True))
    stream.clock.advance(MAX_LAG_S + 1)

    assert stream.send(*ended, old) == []
