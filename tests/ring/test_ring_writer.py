"""The writer on real files: what is durable when, new segments, the credit, a clean stop."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

from edge_agent.model import Role
from edge_agent.ring.facts import RingOpened, RingSynced
from edge_agent.ring.layout import SegmentHeader, segment_name
from edge_agent.ring.reader import RingReader
from edge_agent.seal.record import Kind, Tip, iter_records


def _records(path: Path) -> list:
    return list(iter_records(path.read_bytes()[64:]))


def test_what_is_put_lies_on_disk_verbatim_and_is_announced(bench):
    writer, camera = bench.writer(), bench.channel()
    written = bench.record(writer, [camera], 2.0)
    assert [r.raw for r in _records(bench.directory / segment_name(1))] == [r.raw for r in written]
    synced = bench.ears.of(RingSynced)
    assert synced[-1].tips == (Tip.of(written[-1]),)
    assert sum(f.synced_bytes for f in synced) == sum(len(r.raw) for r in written)


def test_a_batch_is_written_stream_by_stream(bench):
    writer, cameras = bench.writer(), [bench.channel(f"cam-{i}") for i in range(3)]
    for camera in cameras:
        for record in camera.begin():
            writer.put(camera.key, record)
    for _ in range(4):
        for camera in cameras:
            writer.put(camera.key, camera.fragment())
    writer.cycle()
    streams = [r.header.stream for r in _records(bench.directory / segment_name(1))]
    assert streams == sorted(streams, key=[c.stream for c in cameras].index)


def test_a_segment_starts_with_copies_of_every_live_key_and_init(bench):
    writer, cameras = bench.writer(segment_s=2), [bench.channel("a"), bench.channel("b")]
    written = bench.record(writer, cameras, 1.8)
    writer.end_stream(cameras[1].stream)
    writer.cycle()
    bench.clock.advance(1)
    bench.record(writer, cameras[:1], 0.6)
    second = _records(bench.directory / segment_name(2))
    live = [r.raw for r in written if r.header.stream == cameras[0].stream][:2]
    assert [r.raw for r in second[:2]] == live
    assert cameras[1].stream not in {r.header.stream for r in second}


def test_a_key_whose_init_falls_into_the_next_segment_is_copied_there(bench):
    writer, first = bench.writer(max_bytes=1 << 20), bench.channel("a")
    second = bench.channel("b")
    key, init = second.begin()
    head = first.begin()
    room = (1 << 20) - 64 - sum(len(r.raw) for r in head) - len(key.raw) - 20
    first.size = room - len(first.fragment().raw) + first.size
    fill = first.fragment()
    for record in (*head, fill):
        writer.put(first.key, record)
    writer.cycle()
    for record in (key, init, second.fragment()):
        writer.put(second.key, record)
    writer.cycle()
    before, after = (_records(bench.directory / segment_name(n)) for n in (1, 2))
    assert before[-1].raw == key.raw
    assert [r.raw for r in after[:4]] == [head[0].raw, head[1].raw, key.raw, init.raw]


def test_no_segment_outgrows_its_limit(bench):
    writer, camera = bench.writer(max_bytes=16 << 20), bench.channel(size=100_000)
    bench.record(writer, [camera], 8)
    sizes = [p.stat().st_size for p in sorted(bench.directory.glob("*.ear"))]
    assert len(sizes) > 2
    assert max(sizes) <= 1 << 20


def test_a_segment_header_names_ring_number_box_and_run(bench):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 0.6)
    header = SegmentHeader.parse((bench.directory / segment_name(1)).read_bytes()[:64])
    assert (header.role, header.number, header.created_us > 0) == (Role.MAIN, 1, True)


def test_credit_is_refused_when_the_disk_does_not_keep_up_and_returns_with_the_sync(bench):
    writer, camera = bench.writer(credit_bytes=10_000), bench.channel()
    for record in camera.begin():
        writer.put(camera.key, record)
    while writer.reserve(Role.MAIN, 600):
        writer.put(camera.key, camera.fragment())
    assert writer.counters().waiting_bytes <= 10_000
    assert writer.counters().refused == 1
    writer.cycle()
    assert writer.counters().waiting_bytes == 0
    assert writer.reserve(Role.MAIN, 600)


def test_a_reservation_that_is_never_used_is_void_after_the_next_sync(bench):
    writer, camera = bench.writer(credit_bytes=10_000), bench.channel()
    assert writer.reserve(Role.MAIN, 9_000)
    assert not writer.reserve(Role.MAIN, 9_000)
    bench.record(writer, [camera], 0.2)
    assert writer.reserve(Role.MAIN, 9_000)


def test_a_number_is_never_used_again(bench):
    for _ in range(3):
        writer, camera = bench.writer(), bench.channel()
        bench.record(writer, [camera], 0.6)
    assert [p.name for p in sorted(bench.directory.glob("*.ear"))] == [segment_name(n) for n in (1, 2, 3)]
    assert [f.next_segment for f in bench.ears.of(RingOpened)] == [1, 2, 3]


def test_after_a_clean_stop_the_next_run_knows_the_last_digest(bench):
    writer, camera = bench.writer(), bench.channel()
    written = bench.record(writer, [camera], 1)
    writer.finish()
    after = bench.writer()
    assert after.previous(camera.stream) == written[-1].digest
    later = bench.channel(previous=after.previous(camera.stream))
    assert later.begin()[0].header.prev == written[-1].digest


def test_after_a_crash_the_last_digest_is_unknown_not_stale(bench):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 1)
    writer.finish()
    crashed = bench.writer()
    bench.record(crashed, [bench.channel()], 1)
    assert bench.writer().previous(camera.stream) == bytes(32)
    assert [f.clean for f in bench.ears.of(RingOpened)] == [True, True]


def test_a_still_does_not_become_the_stream_of_a_segment(bench):
    writer, camera = bench.writer(segment_s=1), bench.channel()
    bench.record(writer, [camera], 0.6)
    for record in camera.sealer.seal_still(b"jpeg", bench.clock.now()):
        writer.put(camera.key, record)
    bench.clock.advance(2)
    written = bench.record(writer, [camera], 0.6)
    copies = _records(bench.directory / segment_name(2))[:2]
    assert [r.header.kind for r in copies] == [Kind.KEY, Kind.INIT]
    assert copies[0].header.epoch == written[-1].header.epoch


def test_the_worker_flushes_when_it_is_stopped(bench):
    writer, camera, stop = bench.writer(), bench.channel(), Event()
    thread = Thread(target=writer.run, args=(stop, lambda: None))
    thread.start()
    records = [*camera.begin(), camera.fragment()]
    for record in records:
        writer.put(camera.key, record)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    reader = RingReader({Role.MAIN: bench.directory})
    assert [r.raw for r in reader.records(camera.stream, 0, 1 << 62)] == [r.raw for r in records]
