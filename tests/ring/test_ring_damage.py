"""Damage is located, never hidden, never cut away; the scan makes indexes and changes no footage."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import FormatError
from edge_agent.model import Role
from edge_agent.ring.facts import RingScanned
from edge_agent.ring.index import SegmentIndex, decode, decode_head
from edge_agent.ring.layout import SegmentHeader, index_name, segment_name
from edge_agent.ring.reader import RingReader
from edge_agent.ring.scanner import RingScanner
from edge_agent.ring.segment import SegmentScan
from edge_agent.ring.store import Store

FOREVER = 1 << 62


def _scan(path, number=1) -> SegmentIndex:
    scan = SegmentScan(path, number)
    while not scan.advance(1 << 20, final=True):
        pass
    return scan.index


def _scanner(bench, writer) -> RingScanner:
    return RingScanner(
        role=Role.MAIN,
        store=Store(bench.directory),
        catalogue=writer.catalogue,
        clock=bench.clock,
        inbox=bench.ears,
    )


@pytest.fixture
def segment(bench):
    """One segment's bytes, and where each of its records begins."""
    writer, camera = bench.writer(), bench.channel(size=50)
    written = bench.record(writer, [camera], 4)
    path = bench.directory / segment_name(1)
    places, at = [], 64
    for record in written:
        places.append((at, at + len(record.raw)))
        at += len(record.raw)
    return path, path.read_bytes(), written, places


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_located_to_its_record_and_costs_only_that(segment, data):
    path, whole, written, places = segment
    at = data.draw(st.integers(64, len(whole) - 1))
    hurt = bytearray(whole)
    hurt[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(hurt)
    index = _scan(path)
    (victim,) = [i for i, (start, end) in enumerate(places) if start <= at < end]
    assert index.damage == [places[victim]]
    left = {e.digest for e in index.entries(written[0].header.stream)}
    assert left == {r.digest for i, r in enumerate(written) if i != victim}


@pytest.mark.parametrize("cut", [1, 7, 8, 100, 135, 136, 300])
def test_a_torn_end_is_damage_once_nobody_writes(segment, cut):
    path, whole, _, places = segment
    start = places[-1][0]
    path.write_bytes(whole[: start + cut] if cut < places[-1][1] - start else whole[:-1])
    index = _scan(path)
    assert index.damage == [(start, path.stat().st_size)]


def test_the_growing_end_of_the_open_segment_is_no_damage(segment):
    path, whole, _, places = segment
    path.write_bytes(whole[:-20])
    scan = SegmentScan(path, 1)
    assert scan.advance(1 << 20, final=False)
    assert (scan.index.damage, scan.index.size) == ([], places[-1][0])
    path.write_bytes(whole)
    scan.advance(1 << 20, final=False)
    assert scan.index.size == len(whole)


def test_a_lost_block_of_zeros_is_one_range_and_reading_resynchronises(segment):
    path, whole, written, places = segment
    start, end = places[3][0] + 10, places[9][0] + 10
    path.write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    index = _scan(path)
    assert index.damage == [(places[3][0], places[9][1])]
    assert index.records == len(written) - 7


def test_a_mark_inside_a_body_is_not_taken_for_a_record(bench):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 0.6)
    path = bench.directory / segment_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole[:64] + b"EAR1\x00\x88" * 500 + whole[64:])
    assert _scan(path).damage == [(64, 64 + 3000)]


def test_a_damaged_segment_header_costs_no_record(segment):
    path, whole, written, _ = segment
    path.write_bytes(bytes(64) + whole[64:])
    assert _scan(path).records == len(written)


def test_the_scan_indexes_what_a_crash_left_and_touches_no_footage(bench):
    writer, camera = bench.writer(segment_s=2), bench.channel()
    written = bench.record(writer, [camera], 5)
    last = bench.directory / segment_name(3)
    last.write_bytes(last.read_bytes()[:-5])
    before = {p.name: p.read_bytes() for p in bench.directory.glob("*.ear")}

    after = bench.writer()
    after.cycle()
    _scanner(bench, after).scan_unread(Event(), lambda: None)
    (scanned,) = bench.ears.of(RingScanned)
    assert (scanned.segments, scanned.damaged_ranges) == (3, 1)
    assert scanned.damaged_bytes == len(written[-1].raw) - 5
    assert {p.name: p.read_bytes() for p in bench.directory.glob("*.ear")} == before
    assert decode((bench.directory / index_name(3)).read_bytes()).damage
    assert after.catalogue.unread() == []
    assert all(s.to_us is not None and s.trusted for s in after.catalogue.segments()[:2])
    (stat,) = RingReader({Role.MAIN: bench.directory}).stat()
    assert (stat.damaged_ranges, stat.damaged_bytes) == (1, scanned.damaged_bytes)


def test_the_scanner_works_in_a_thread_of_its_own_and_ends_when_told(bench):
    writer, camera = bench.writer(segment_s=1), bench.channel()
    bench.record(writer, [camera], 5)
    after, stop, seen = bench.writer(), Event(), Event()
    after.cycle()
    scanner = _scanner(bench, after)
    thread = Thread(target=scanner.run, args=(stop, seen.set))
    thread.start()
    deadline = time.monotonic() + 20
    while after.catalogue.unread() and time.monotonic() < deadline:
        stop.wait(0.01)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert after.catalogue.unread() == []
    assert seen.is_set()


def test_recording_begins_before_any_closed_segment_is_read(bench, monkeypatch):
    writer, camera = bench.writer(segment_s=1), bench.channel()
    bench.record(writer, [camera], 5)
    old = len(list(bench.directory.glob("*.ear")))
    opened: list[str] = []
    monkeypatch.setattr("os.open", _spy(opened))
    after, fresh = bench.writer(), bench.channel()
    bench.record(after, [fresh], 0.6)
    assert [name for name in opened if name.endswith((".ear", ".idx"))] == [segment_name(old + 1)]


def _spy(opened: list[str]):
    real = os.open

    def spy(path, *args, **kwargs):
        opened.append(Path(path).name)
        return real(path, *args, **kwargs)

    return spy


def test_an_index_survives_its_own_encoding(bench):
    writer, cameras = bench.writer(), [bench.channel("a"), bench.channel("b")]
    bench.record(writer, cameras, 4)
    index = _scan(bench.directory / segment_name(1))
    again = decode(index.encode())
    assert again.encode() == index.encode()
    for camera in cameras:
        assert list(again.entries(camera.stream)) == list(index.entries(camera.stream))
    head = decode_head(index.encode())
    assert (head.epochs, head.stretches, head.damage) == (index.epochs, index.stretches, index.damage)


def test_the_writers_index_is_what_a_scan_would_find(bench):
    writer, cameras = bench.writer(segment_s=2), [bench.channel("a"), bench.channel("b")]
    bench.record(writer, cameras, 5)
    for number in (1, 2):
        scanned = _scan(bench.directory / segment_name(number), number)
        assert (bench.directory / index_name(number)).read_bytes() == scanned.encode()


@given(st.binary(max_size=200))
def test_noise_is_no_index_and_no_segment_header(noise):
    with pytest.raises(FormatError):
        decode(noise)
    with pytest.raises(FormatError):
        SegmentHeader.parse(noise)


def test_the_scan_goes_on_where_its_priority_cannot_be_lowered(bench, monkeypatch):
    def refused(*_: int) -> None:
        raise PermissionError("setpriority")

    monkeypatch.setattr("os.setpriority", refused)
    bench.record(bench.writer(segment_s=2), [bench.channel()], 5)
    after = bench.writer()
    after.cycle()
    stop = Event()

    _scanner(bench, after).run(stop, lambda: stop.set() if bench.ears.of(RingScanned) else None)

    assert stop.is_set()
