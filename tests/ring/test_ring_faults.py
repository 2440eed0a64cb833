"""Errors of the disk at every call: the failed file is never touched again, and no sealed record is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Event

import pytest

from edge_agent.model import Role
from edge_agent.ring.facts import RingFaulted, RingRecovered, RingSynced
from edge_agent.ring.layout import segment_name
from edge_agent.ring.reader import RingReader
from edge_agent.ring.store import Store

FOREVER = 1 << 62


class FaultyStore(Store):
    """Fails the `at`-th call of `method`, or all from then on; notes what is done to a file afterwards."""

    def __init__(self, directory: Path, method: str, at: int, error: int, *, for_ever: bool = False) -> None:
        super().__init__(directory)
        self.method, self.at, self.error, self.for_ever = method, at, error, for_ever
        self.calls = 0
        self.broken: set[int] = set()
        self.touched_after: list[str] = []

    def _fails(self, method: str) -> bool:
        if method != self.method:
            return False
        self.calls += 1
        return self.calls == self.at or (self.for_ever and self.calls > self.at)

    def _check(self, method: str, file: int) -> None:
        if file in self.broken:
            self.touched_after.append(method)
        if self._fails(method):
            self.broken.add(file)
            raise OSError(self.error, os.strerror(self.error))

    def create(self, name):
        if self._fails("create"):
            raise OSError(self.error, os.strerror(self.error))
        return super().create(name)

    def write(self, file, buffers):
        if self.method == "short":
            self.calls += 1
            if self.calls == self.at:
                whole = b"".join(bytes(b) for b in buffers)
                super().write(file, [whole[: len(whole) // 2]])
                self.broken.add(file)
                raise OSError(errno.ENOSPC, "No space left on device")
        self._check("write", file)
        super().write(file, buffers)

    def sync(self, file):
        self._check("sync", file)
        super().sync(file)

    def close(self, file):
        super().close(file)
        self.broken.discard(file)  # the number may be given to another file

    def sync_directory(self):
        if self._fails("sync_directory"):
            raise OSError(self.error, os.strerror(self.error))
        super().sync_directory()

    def rename(self, name, to):
        if self._fails("rename"):
            raise OSError(self.error, os.strerror(self.error))
        super().rename(name, to)

    def unlink(self, name):
        if self._fails("unlink"):
            raise OSError(self.error, os.strerror(self.error))
        super().unlink(name)

    def free_bytes(self):
        if self._fails("free_bytes"):
            raise OSError(self.error, os.strerror(self.error))
        return super().free_bytes()


METHODS = ["create", "write", "short", "sync", "sync_directory", "rename", "unlink", "free_bytes"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", range(1, 13))
def test_one_error_at_any_call_loses_nothing(bench, method, at):
    store = FaultyStore(bench.directory, method, at, errno.EIO)
    writer, cameras = bench.writer(store, segment_s=1), [bench.channel("a"), bench.channel("b")]
    written = bench.record(writer, cameras, 5)
    bench.clock.advance(60)
    written += bench.record(writer, cameras, 1)
    writer.finish()
    assert store.touched_after == []
    assert writer.counters().waiting_bytes == 0
    reader = RingReader({Role.MAIN: bench.directory})
    for camera in cameras:
        mine = [r.raw for r in written if r.header.stream == camera.stream]
        assert [r.raw for r in reader.records(camera.stream, 0, FOREVER)] == mine
    faults = bench.ears.of(RingFaulted)
    assert len(bench.ears.of(RingRecovered)) == len(faults) <= 1
    if method in ("write", "short", "sync") and store.calls >= at and faults:
        assert faults[0].segment > 0
        assert faults[0].waiting_bytes > 0


def test_nothing_is_announced_as_durable_before_its_sync_returned(bench):
    store = FaultyStore(bench.directory, "sync", 2, errno.EIO)  # 1 is the new segment's own
    writer, camera = bench.writer(store), bench.channel()
    bench.record(writer, [camera], 0.6)
    assert bench.ears.of(RingSynced) == []
    assert len(bench.ears.of(RingFaulted)) == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.ENOENT])
def test_a_disk_that_stays_broken_bounds_memory_and_leaves_no_litter(bench, error):
    store = FaultyStore(bench.directory, "write", 4, error, for_ever=True)
    writer, camera = bench.writer(store, credit_bytes=20_000), bench.channel()
    for record in camera.begin():
        writer.put(camera.key, record)
    for _ in range(600):
        if writer.reserve(Role.MAIN, 600):
            writer.put(camera.key, camera.fragment())
        bench.clock.advance(1)
        writer.cycle()
    faults = bench.ears.of(RingFaulted)
    assert writer.counters().waiting_bytes <= 20_000
    assert writer.counters().refused > 0
    assert len(faults) < 30
    assert faults[-1].retry_in_s == 30
    assert len(list(bench.directory.glob("*.ear"))) == 1
    store.for_ever = False
    bench.clock.advance(31)
    writer.cycle()
    assert writer.counters().waiting_bytes == 0
    (recovered,) = bench.ears.of(RingRecovered)
    assert (bench.directory / segment_name(recovered.segment)).exists()


def test_a_run_that_crashed_inside_the_thread_goes_on_in_a_new_segment(bench):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 1)
    stop = Event()
    stop.set()
    writer.run(stop, lambda: None)  # what the supervisor does after an exception
    bench.record(writer, [camera], 1)
    assert (bench.directory / segment_name(2)).exists()
