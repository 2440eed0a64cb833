"""A playback's reader: when it ends, what it loses by being slow, and what it owes the box. No broker."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edge_agent.errors import UplinkError
from edge_agent.iccc import screening
from edge_agent.iccc.live import LiveFragment
from edge_agent.iccc.orders import Ordered
from edge_agent.iccc.playback import TOO_SLOW, Numbered, PlaybackEnd, PlaybackGap
from edge_agent.iccc.screening import Asked, PlaybackStream
from edge_agent.seal.record import Header, Kind
from edge_agent.uplink import ulid
from edge_agent.uplink.messages import Lifecycle, LiveStarted, Reply, ReplyData, timestamp

T0 = 1_790_000_000_000_000
ID = ulid.new(T0)


class Box:
    """Answers of the box, by hand; its parts are numbered items already."""

    def __init__(self) -> None:
        self.next_number = 0
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.seek_from = 0
        self.final: tuple[Reply, float] | None = None

    def answered(self, _states: object) -> tuple[Reply, float] | None:
        return self.final

    def forget(self) -> None:
        self.final = None

    def receive(self, payload: bytes) -> Numbered:
        """A payload is the fragment's number; every fifth is a keyframe."""
        n = int(payload)
        self.next_number = n + 1
        header = Header(
            Kind.FRAGMENT, b"s" * 16, b"e" * 16, n + 2, 16, 0, T0 + n * 200_000, 0, bytes(16), bytes(32),
            duration_us=200_000, flags=1 if n % 5 == 0 else 0,
        )  # fmt: skip
        return Numbered(n, LiveFragment(bytes(1000), header))

    def widen(self, from_us: int) -> None:
        self.seek_from = from_us

    def end(self, records: int, ended: str = "end of footage") -> None:
        self.final = (self.reply(ended=ended, records=records), time.monotonic())

    def reply(self, **result: Any) -> Reply:
        data = ReplyData(command=ID, op="playback.start", status=Lifecycle.DONE, result=result)
        return Reply(id=ID, session=ID, seq=0, ts=timestamp(T0), mono=0, data=data)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def stream(box: Box) -> PlaybackStream:
    started = LiveStarted(session=ID, lease=ID, topic="t", lease_s=60)
    asked = Asked(T0, T0 + 60_000_000, time.monotonic(), T0)
    receiver: Any = box
    ordered: Ordered = receiver
    return PlaybackStream(
        receiver, started, asked, ordered,
        lambda _op, _args: box.reply(record=7), lambda op, args: box.sent.append((op, args)),
    )  # fmt: skip


def feed(stream: PlaybackStream, numbers: range) -> None:
    for number in numbers:
        stream.feed(b"%d" % number)


def test_it_ends_when_all_that_the_box_counted_is_here(box: Box, stream: PlaybackStream) -> None:
    feed(stream, range(3))
    box.end(4)
    assert [stream.next_item(0.01) is not None for _ in range(4)] == [True, True, True, False]
    feed(stream, range(3, 4))
    items = list(stream)
    assert items[-1] == PlaybackEnd("end of footage", complete=True)


def test_a_record_that_never_comes_ends_it_incomplete(
    box: Box, stream: PlaybackStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "STRAGGLERS_S", 0.05)
    feed(stream, range(3))
    box.end(9)
    assert list(stream)[-1] == PlaybackEnd("end of footage", complete=False)


def test_a_box_that_falls_silent_is_not_waited_for_for_ever(
    stream: PlaybackStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "SILENT_S", 0.05)
    (end,) = list(stream)
    assert isinstance(end, PlaybackEnd)
    assert not end.complete


def test_a_slow_reader_sees_its_own_loss_as_a_gap(
    stream: PlaybackStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "QUEUE_BYTES", 7_500)
    feed(stream, range(12))
    taken = [stream.next_item(0.01) for _ in range(7)]
    feed(stream, range(12, 20))
    items = [*taken, *(item for _ in range(9) if (item := stream.next_item(0.01)) is not None)]
    (gap,) = [item for item in items if isinstance(item, PlaybackGap)]
    assert gap.cause == TOO_SLOW
    shown = [item.header.n - 2 for item in items if isinstance(item, LiveFragment)]
    assert shown == [0, 1, 2, 3, 4, 5, 6, 15, 16, 17, 18, 19]
    assert stream.dropped == 8


def test_after_a_seek_what_was_on_its_way_is_forgotten(box: Box, stream: PlaybackStream) -> None:
    feed(stream, range(6))
    assert stream.next_item(0.01) is not None
    stream.seek(T0 - 5_000_000)
    assert box.seek_from == T0 - 5_000_000
    feed(stream, range(6, 9))
    shown = [stream.next_item(0.01) for _ in range(3)]
    assert isinstance(shown[0], PlaybackGap)
    assert [item.header.n - 2 for item in shown[1:] if isinstance(item, LiveFragment)] == [7, 8]


def test_the_lease_is_renewed_while_it_is_read_and_given_back_at_the_end(
    box: Box, stream: PlaybackStream
) -> None:
    stream._renewed_s -= 21
    stream.next_item(0.01)
    stream.next_item(0.01)
    stream.close()
    stream.close()
    assert [op for op, _ in box.sent] == ["live.renew", "playback.stop"]
    assert box.sent[0][1]["lease_s"] == 60


def test_a_playback_that_has_ended_is_not_stopped_again(box: Box, stream: PlaybackStream) -> None:
    box.end(0)
    list(stream)
    stream.close()
    assert box.sent == []


def test_a_seek_without_an_answer_is_an_error(box: Box, stream: PlaybackStream) -> None:
    stream._command = lambda _op, _args: box.reply()
    with pytest.raises(UplinkError, match="names no record"):
        stream.seek(T0)
