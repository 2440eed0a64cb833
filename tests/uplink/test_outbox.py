"""Lanes, bounds, and what is sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.link import Outgoing
from edge_agent.uplink.outbox import RULES, Lane, Outbox


def message(text: str = "x", size: int = 1) -> Outgoing:
    return Outgoing(text, bytes(size))


def drain(outbox: Outbox) -> list[str]:
    return [m.topic for m in iter(outbox.take, None)]


def test_the_urgent_overtake_the_patient() -> None:
    outbox = Outbox()
    for lane in reversed(Lane):
        outbox.put(lane, [message(lane.name)])
    assert drain(outbox) == [lane.name for lane in Lane]


def test_only_the_newest_heartbeat_waits() -> None:
    outbox = Outbox()
    for text in "abc":
        outbox.put(Lane.HEARTBEAT, [message(text)])
    assert drain(outbox) == ["c"]
    assert outbox.dropped[Lane.HEARTBEAT] == 2


def test_a_snapshot_is_taken_whole_or_not_at_all() -> None:
    outbox = Outbox()
    assert outbox.put(Lane.SNAPSHOT, [message("a", 100_000)] * 80)
    assert not outbox.put(Lane.SNAPSHOT, [message("b", 100_000)] * 5)
    assert drain(outbox) == ["a"] * 80


def test_what_was_under_way_is_sent_again_first_and_in_order() -> None:
    outbox = Outbox()
    for text in "abcd":
        outbox.put(Lane.EVENT, [message(text)])
    first = [outbox.take(), outbox.take(), outbox.take()]
    assert first[1] is not None
    outbox.settle(first[1].token)
    outbox.requeue()
    assert drain(outbox) == ["a", "c", "d"]


def test_presence_heartbeat_and_ledger_are_not_repeated_in_a_new_session() -> None:
    outbox = Outbox()
    for lane in (Lane.PRESENCE, Lane.HEARTBEAT, Lane.LEDGER):
        outbox.put(lane, [message()])
    drain(outbox)
    outbox.requeue()
    assert drain(outbox) == []


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "settle", "requeue"]), st.sampled_from(Lane),
                          st.integers(1, 300_000)), max_size=200))  # fmt: skip
def test_bounds_hold_whatever_happens(steps: list[tuple[str, Lane, int]]) -> None:
    outbox, taken = Outbox(), list[Outgoing]()
    for what, lane, size in steps:
        if what == "put":
            outbox.put(lane, [message(size=size)])
        elif what == "take" and len(taken) < 16 and (one := outbox.take()):
            taken.append(one)
        elif what == "settle" and taken:
            outbox.settle(taken.pop(0).token)
        elif what == "requeue":
            outbox.requeue()
            taken.clear()
        for each, rule in RULES.items():
            waiting = outbox._waiting[each]
            assert len(waiting) <= rule.items
            assert outbox._sizes[each] == sum(len(m.payload) for m in waiting) <= rule.size
