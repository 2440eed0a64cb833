"""Evicting for real: announced first, unlinked after the leaf or the wait, never the open segment."""

from __future__ import annotations

from threading import Event

import pytest

from edge_agent.model import Role
from edge_agent.ring.eviction import STEPS_A_CALL
from edge_agent.ring.facts import EvictionDue, SegmentEvicted
from edge_agent.ring.layout import index_name, segment_name
from edge_agent.ring.scanner import RingScanner
from edge_agent.ring.store import Store

MIB = 1 << 20


def _fill(bench, writer, camera, mib: int) -> None:
    """About so many MiB, a cycle every MiB, the evictor's clock moving on."""
    for _ in range(mib):
        for _ in range(2):
            if camera.sealer.epoch is None:
                for record in camera.begin():
                    writer.put(camera.key, record)
            writer.put(camera.key, camera.fragment())
        bench.clock.advance(6)
        writer.cycle()


def test_the_ring_stays_within_its_bytes_and_drops_the_oldest(bench):
    writer, camera = bench.writer(max_bytes=16 * MIB), bench.channel(size=500_000)
    _fill(bench, writer, camera, 30)
    numbers = [int(p.stem[4:]) for p in sorted(bench.directory.glob("*.ear"))]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 1
    assert sum(p.stat().st_size for p in bench.directory.glob("*.ear")) <= 16 * MIB
    evicted = [f.segment.number for f in bench.ears.of(SegmentEvicted)]
    assert evicted == list(range(1, numbers[0]))
    assert not (bench.directory / index_name(1)).exists()
    assert bench.ears.of(EvictionDue)[0].segment.from_us is not None


def test_an_eviction_waits_for_its_leaf(bench):
    writer, camera = (
        bench.writer(max_bytes=16 * MIB, await_leaf=True, leaf_wait_s=1000),
        bench.channel(size=500_000),
    )
    _fill(bench, writer, camera, 20)
    due = bench.ears.of(EvictionDue)
    assert due
    assert bench.ears.of(SegmentEvicted) == []
    assert (bench.directory / segment_name(1)).exists()
    writer.allow_eviction(due[0].segment.number)
    bench.clock.advance(6)
    writer.cycle()
    (gone,) = bench.ears.of(SegmentEvicted)
    assert (gone.segment.number, gone.acknowledged) == (1, True)
    assert not (bench.directory / segment_name(1)).exists()


def test_an_eviction_does_not_wait_for_ever(bench):
    writer, camera = (
        bench.writer(max_bytes=16 * MIB, await_leaf=True, leaf_wait_s=10),
        bench.channel(size=500_000),
    )
    _fill(bench, writer, camera, 25)
    gone = bench.ears.of(SegmentEvicted)
    assert gone
    assert not any(f.acknowledged for f in gone)
    numbers = [f.segment.number for f in bench.ears.of(EvictionDue)]
    assert numbers == sorted(set(numbers)), "announced once each"


def test_a_full_disk_gives_up_old_footage_but_not_the_open_segment(bench, monkeypatch):
    writer, camera = bench.writer(segment_s=1, min_free_bytes=10 * MIB), bench.channel()
    bench.record(writer, [camera], 5)
    monkeypatch.setattr(writer._store, "free_bytes", lambda: 0)
    bench.clock.advance(6)
    bench.record(writer, [camera], 0.2)
    bench.clock.advance(6)
    writer.cycle()
    assert [p.name for p in bench.directory.glob("*.ear")] == [segment_name(5)]


def test_a_budget_cut_to_a_tenth_is_met_bit_by_bit_beside_the_recording(bench):
    writer, camera = bench.writer(segment_s=0.2), bench.channel()
    bench.record(writer, [camera], 60)
    held = len(list(bench.directory.glob("*.ear")))
    assert held > 60
    after = bench.writer(max_bytes=1 << 20)
    for _ in range(held):
        gone = len(bench.ears.of(SegmentEvicted))
        bench.record(after, [camera], 0.2)
        assert len(bench.ears.of(SegmentEvicted)) - gone <= 3 * STEPS_A_CALL
    assert len(list(bench.directory.glob("*.ear"))) <= 3


@pytest.mark.parametrize("year_s", [-56 * 365 * 86400, 14 * 365 * 86400])
def test_a_clock_step_evicts_nothing_by_age(bench, year_s):
    writer, camera = bench.writer(segment_s=60, max_age_days=30), bench.channel()
    bench.record(writer, [camera], 2)
    for shift in (year_s, -year_s):
        bench.clock.step_wall(shift)
        for _ in range(60):
            bench.record(writer, [camera], 0.2)
            bench.clock.advance(60)
            writer.cycle()
    assert bench.ears.of(EvictionDue) == []


@pytest.mark.parametrize("year_s", [-56 * 365 * 86400, 14 * 365 * 86400])
def test_a_restart_within_the_wrong_hour_evicts_nothing_by_age(bench, year_s):
    first, camera = bench.writer(segment_s=60, max_age_days=30), bench.channel()
    bench.record(first, [camera], 2)
    bench.clock.step_wall(year_s)
    for writer in (first, bench.writer(segment_s=60, max_age_days=30)):
        for _ in range(30):
            bench.record(writer, [camera], 0.2)
            RingScanner(
                role=Role.MAIN,
                store=Store(bench.directory),
                catalogue=writer.catalogue,
                clock=bench.clock,
                inbox=bench.ears,
            ).scan_unread(Event(), lambda: None)
            bench.clock.advance(60)
            writer.cycle()
    assert bench.ears.of(EvictionDue) == []


def test_old_footage_goes_by_age_two_segments_a_minute(bench):
    writer, camera = bench.writer(segment_s=1, max_age_days=1), bench.channel()
    bench.record(writer, [camera], 9)
    bench.clock.advance(2 * 86400)
    for _ in range(12):
        bench.clock.advance(5)
        writer.cycle()
    assert [f.reason for f in bench.ears.of(EvictionDue)] == ["age", "age"]
    bench.clock.advance(60)
    writer.cycle()
    assert len(bench.ears.of(SegmentEvicted)) == 4
