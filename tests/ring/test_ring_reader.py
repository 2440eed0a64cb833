"""Reading back: coverage, gaps, records across segments and runs, damage."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from edge_agent.errors import SealError
from edge_agent.model import Role
from edge_agent.ring.layout import index_name, segment_name
from edge_agent.ring.reader import Gap, RingReader
from edge_agent.seal.opener import gap_of
from edge_agent.seal.record import Kind

FOREVER = 1 << 62
S = 1_000_000


@pytest.fixture
def reader(bench):
    return RingReader({Role.MAIN: bench.directory})


def test_records_run_across_segments_and_into_the_open_one(bench, reader):
    writer, cameras = bench.writer(segment_s=2), [bench.channel("a"), bench.channel("b")]
    written = bench.record(writer, cameras, 7)
    mine = [r.raw for r in written if r.header.stream == cameras[0].stream]
    assert len(list(bench.directory.glob("*.ear"))) > 2
    assert [r.raw for r in reader.records(cameras[0].stream, 0, FOREVER)] == mine


def test_reading_goes_on_as_the_open_segment_grows(bench, reader):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 1)
    before = len(list(reader.records(camera.stream, 0, FOREVER)))
    bench.record(writer, [camera], 1)
    assert len(list(reader.records(camera.stream, 0, FOREVER))) == before + 5


def test_a_seek_begins_at_the_keyframe_even_in_the_segment_before(bench, reader):
    writer, camera = bench.writer(segment_s=3), bench.channel()
    began = bench.clock.wall_us
    bench.record(writer, [camera], 8)
    opener = bench.opener()
    for at_s in (0.1, 1.0, 2.5, 3.1, 3.3, 3.7, 4.1, 6.9):
        got = list(reader.records(camera.stream, began + round(at_s * S), FOREVER))
        assert [r.header.kind for r in got[:2]] == [Kind.KEY, Kind.INIT]
        first = got[2].header
        assert first.keyframe
        assert first.wall_us - began == int(at_s / 2) * 2 * S
        assert [r.header.n for r in got[2:]] == list(range(first.n, 42))
        opener.rejoin(camera.stream, first.epoch)
        for record in got:
            opener.open(record)


def test_records_end_at_the_asked_moment(bench, reader):
    writer, camera = bench.writer(), bench.channel()
    began = bench.clock.wall_us
    bench.record(writer, [camera], 4)
    got = list(reader.records(camera.stream, began + S, began + 2 * S))
    assert max(r.header.wall_us for r in got) < began + 2 * S


def test_a_finished_epoch_before_the_asked_moment_is_not_read(bench, reader):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 2)
    bench.clock.advance(5)
    at_us = bench.clock.wall_us
    for record in camera.begin():
        writer.put(camera.key, record)
    written = bench.record(writer, [camera], 2)
    got = list(reader.records(camera.stream, at_us - S, FOREVER))
    assert {r.header.epoch for r in got} == {written[-1].header.epoch}


def test_coverage_and_gaps_across_an_agent_restart(bench, reader):
    began = bench.clock.wall_us
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 4)
    bench.clock.advance(10)
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 4)
    spans = reader.coverage(camera.stream, began, began + 20 * S)
    assert [(s.from_us - began, s.to_us - began) for s in spans] == [(0, 4 * S), (14 * S, 18 * S)]
    assert reader.gaps(camera.stream, began, began + 20 * S) == [
        Gap(began + 4 * S, began + 14 * S, stated=False),
        Gap(began + 18 * S, began + 20 * S, stated=False),
    ]


def test_a_sealed_gap_record_states_a_gap(bench, reader):
    began = bench.clock.wall_us
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 2)
    since = bench.clock.now()
    bench.clock.advance(6)
    writer.put(camera.key, camera.sealer.seal_gap("credit", since, bench.clock.now()))
    bench.record(writer, [camera], 2)
    assert reader.gaps(camera.stream, began, began + 10 * S) == [
        Gap(began + 2 * S, began + 8 * S, stated=True)
    ]


def test_footage_after_a_gap_begins_with_the_record_that_explains_it(bench, reader):
    writer, camera = bench.writer(), bench.channel()
    began = bench.clock.wall_us
    bench.record(writer, [camera], 2)
    since = bench.clock.now()
    bench.clock.advance(6)
    for record in (*camera.begin(), camera.sealer.seal_gap("no packets", since, bench.clock.now())):
        writer.put(camera.key, record)
    bench.record(writer, [camera], 2)
    kinds = [r.header.kind for r in reader.records(camera.stream, began, FOREVER)][12:16]
    assert kinds == [Kind.KEY, Kind.INIT, Kind.GAP, Kind.FRAGMENT]
    later = list(reader.records(camera.stream, bench.clock.wall_us - S, FOREVER))
    assert Kind.GAP not in [r.header.kind for r in later], "whoever asks for later is not told of before"


def test_stated_gaps_come_with_what_opens_them(bench, reader):
    writer, camera = bench.writer(segment_s=2), bench.channel()
    bench.record(writer, [camera], 3)
    since = bench.clock.now()
    bench.clock.advance(6)
    writer.put(camera.key, camera.sealer.seal_gap("credit", since, bench.clock.now()))
    bench.record(writer, [camera], 3)
    ((key, gap),) = reader.stated(camera.stream, 0, FOREVER)
    opener = bench.opener()
    opener.open(key)
    told_since, told_at, reason = gap_of(opener.open_gap(gap))
    assert (told_since.wall_us, told_at.wall_us - since.wall_us, reason) == (since.wall_us, 6 * S, "credit")
    with pytest.raises(SealError):
        opener.open_gap(key)
    assert not reader.stated(camera.stream, bench.clock.wall_us, FOREVER)


def test_coverage_joins_what_only_a_segment_boundary_parts(bench, reader):
    writer, camera = bench.writer(segment_s=2), bench.channel()
    began = bench.clock.wall_us
    bench.record(writer, [camera], 9)
    assert len(reader.coverage(camera.stream, began, began + 9 * S)) == 1


def test_indexes_change_nothing_but_speed(bench, reader):
    writer, camera = bench.writer(segment_s=2), bench.channel()
    bench.record(writer, [camera], 9)
    with_index = [r.raw for r in reader.records(camera.stream, 0, FOREVER)]
    for path in bench.directory.glob("*.idx"):
        path.unlink()
    plain = RingReader({Role.MAIN: bench.directory})
    assert [r.raw for r in plain.records(camera.stream, 0, FOREVER)] == with_index
    assert plain.coverage(camera.stream, 0, FOREVER) == reader.coverage(camera.stream, 0, FOREVER)


def test_the_writers_own_index_gives_the_same_without_a_scan(bench, reader, monkeypatch):
    writer, cameras = bench.writer(segment_s=2), [bench.channel("a"), bench.channel("b")]
    bench.record(writer, cameras, 5)
    asked = (cameras[0].stream, 0, FOREVER)
    wanted = (reader.coverage(*asked), [r.raw for r in reader.records(*asked)], reader.stat())
    monkeypatch.setattr("edge_agent.ring.shelf.SegmentScan.advance", _no_scan)
    live = RingReader({Role.MAIN: bench.directory}, {Role.MAIN: writer.open_index})
    assert (live.coverage(*asked), [r.raw for r in live.records(*asked)], live.stat()) == wanted


def _no_scan(*_args, **_kwargs):
    raise AssertionError("scanned")


def test_readers_in_other_threads_keep_up_with_a_running_writer(bench):
    writer, camera, stop = bench.writer(segment_s=1), bench.channel(), Event()
    bench.record(writer, [camera], 0.2)
    reader = RingReader({Role.MAIN: bench.directory}, {Role.MAIN: writer.open_index})
    problems: list[str] = []

    def read() -> None:
        while not stop.is_set():
            seen = [r.header.n for r in reader.records(camera.stream, 0, FOREVER)]
            if seen != list(range(len(seen))):
                problems.append(f"holes in {seen}")

    threads = [Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    bench.record(writer, [camera], 20)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert problems == []


def test_a_damaged_index_is_not_believed(bench):
    writer, camera = bench.writer(segment_s=2), bench.channel()
    written = bench.record(writer, [camera], 5)
    path = bench.directory / index_name(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    reader = RingReader({Role.MAIN: bench.directory})
    assert [r.raw for r in reader.records(camera.stream, 0, FOREVER)] == [r.raw for r in written]


def test_after_a_damaged_record_reading_goes_on_at_the_next_keyframe(bench, reader):
    writer, camera = bench.writer(), bench.channel()
    written = bench.record(writer, [camera], 6)
    path = bench.directory / segment_name(1)
    data = bytearray(path.read_bytes())
    data[data.index(written[15].raw) + 200] ^= 1  # the fourteenth fragment
    path.write_bytes(data)
    got = [r.header.n for r in reader.records(camera.stream, 0, FOREVER)]
    assert got == [0, 1, *range(2, 15), *range(22, 32)]


def test_stat_tells_sizes_times_and_damage(bench):
    began = bench.clock.wall_us
    writer, camera = bench.writer(segment_s=2), bench.channel()
    bench.record(writer, [camera], 5)
    (stat,) = RingReader({Role.MAIN: bench.directory}).stat()
    assert stat.segments == 3
    assert (stat.oldest_us, stat.newest_us) == (began, began + 5 * S)
    assert (stat.damaged_ranges, stat.damaged_bytes) == (0, 0)
    assert stat.days == pytest.approx(5 / 86400)


def test_an_empty_or_missing_ring_has_nothing(tmp_path):
    reader = RingReader({Role.MAIN: tmp_path / "absent"})
    assert reader.coverage(bytes(16), 0, FOREVER) == []
    assert list(reader.records(bytes(16), 0, FOREVER)) == []
