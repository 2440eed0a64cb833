"""The minute mark pins what was synced, and the list behind it is in the ring for whoever checks later."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from edge_agent.agent.footage import Footage
from edge_agent.clock import ManualClock
from edge_agent.ledger import leaf
from edge_agent.model import Role, StreamKey
from edge_agent.ring.facts import RingSynced
from edge_agent.seal.keys import BoxKey
from edge_agent.seal.record import Record, Tip
from edge_agent.seal.tips import parse_tips


class Ring:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = False

    def reserve(self, role: Role, size: int) -> bool:
        return not self.full

    def put(self, key: StreamKey, record: Record) -> None:
        self.records.append(record)


def footage(ring: Ring) -> Footage:
    parts: Any = SimpleNamespace(rings={Role.MAIN: ring}, box=BoxKey(bytes(32)), boot_id=bytes(16))
    journal: Any = SimpleNamespace(ring_scanned=None)
    return Footage(parts, journal)


def tip(stream: bytes, epoch: bytes, n: int) -> Tip:
    return Tip(stream, epoch, n, os.urandom(32))


def synced(owner: Footage, clock: ManualClock, *tips: Tip) -> None:
    owner.reactions[RingSynced](RingSynced(clock.now(), Role.MAIN, tips, 1000, 1.0))


def root(*tips: Tip) -> bytes:
    return leaf.tips_root(leaf.Tip(t.stream, t.epoch, t.n, t.digest) for t in tips)


def test_the_mark_is_the_root_over_the_list_that_goes_into_the_ring() -> None:
    ring, clock = Ring(), ManualClock()
    owner = footage(ring)
    one, two = tip(b"a" * 16, b"1" * 16, 7), tip(b"b" * 16, b"2" * 16, 9)
    synced(owner, clock, one)
    synced(owner, clock, two)
    assert owner.mark(clock.now()) == root(one, two)
    assert parse_tips(ring.records[0]) == (one, two)


def test_a_silent_stream_stays_in_the_mark_and_an_ended_epoch_is_named_once_more() -> None:
    ring, clock = Ring(), ManualClock()
    owner = footage(ring)
    silent = tip(b"a" * 16, b"1" * 16, 7)
    ended, running = tip(b"b" * 16, b"2" * 16, 9), tip(b"b" * 16, b"3" * 16, 4)
    synced(owner, clock, silent, ended)
    synced(owner, clock, running)
    assert owner.mark(clock.now()) == root(silent, ended, running)
    assert owner.mark(clock.now()) == root(silent, running)


def test_a_ring_without_credit_costs_the_list_but_not_the_mark() -> None:
    ring, clock = Ring(), ManualClock()
    ring.full = True
    owner = footage(ring)
    one = tip(b"a" * 16, b"1" * 16, 7)
    synced(owner, clock, one)
    assert owner.mark(clock.now()) == root(one)
    assert ring.records == []
