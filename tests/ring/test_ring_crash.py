"""Every crash prefix: a recorder stands in for the disk, the power fails after each of its operations.

For each prefix of writes, syncs, renames and unlinks three disks are rebuilt: what was not synced is lost,
kept, or torn (the newest write stops half-way, its last sector in zeros). On each the next run must record,
and the reader must find everything that was announced as durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.model import Role
from edge_agent.ring.facts import RingSynced
from edge_agent.ring.layout import number_of
from edge_agent.ring.reader import RingReader
from edge_agent.ring.segment import SegmentScan
from edge_agent.ring.store import Store
from edge_agent.seal.record import iter_records

FOREVER = 1 << 62


class RecorderStore(Store):
    """Does everything for real and remembers it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log: list[tuple] = []
        self._names: dict[int, int] = {}
        self._made = 0
        self.crowded = False

    def free_bytes(self):
        return 0 if self.crowded else super().free_bytes()

    def create(self, name):
        file = super().create(name)
        self._made += 1
        self._names[file] = self._made
        self.log.append(("create", name, self._made))
        return file

    def write(self, file, buffers):
        super().write(file, buffers)
        for buffer in buffers:
            self.log.append(("write", self._names[file], bytes(buffer)))

    def sync(self, file):
        super().sync(file)
        self.log.append(("sync", self._names[file]))

    def sync_directory(self):
        super().sync_directory()
        self.log.append(("sync_directory",))

    def rename(self, name, to):
        super().rename(name, to)
        self.log.append(("rename", name, to))

    def unlink(self, name):
        held: set[bytes] = set()
        if name.endswith(".ear"):
            held = {r.digest for r in iter_records((self.directory / name).read_bytes()[64:])}
        super().unlink(name)
        self.log.append(("unlink", name, held))


@dataclass
class Disk:
    """What a file system may hold after a power cut: synced files, synced names, and the rest at its whim."""

    written: dict[int, list[bytes]] = field(default_factory=dict)
    synced: dict[int, int] = field(default_factory=dict)  # writes that a sync covered
    names: dict[str, int] = field(default_factory=dict)
    durable_names: dict[str, int] = field(default_factory=dict)
    newest: int = 0

    def apply(self, operation: tuple) -> None:
        kind, *what = operation
        if kind == "create":
            self.names[what[0]] = what[1]
            self.written[what[1]] = []
        elif kind == "write":
            self.written[what[0]].append(what[1])
            self.newest = what[0]
        elif kind == "sync":
            self.synced[what[0]] = len(self.written[what[0]])
        elif kind == "sync_directory":
            self.durable_names = dict(self.names)
        elif kind == "rename":
            self.names[what[1]] = self.names.pop(what[0])
        else:
            self.names.pop(what[0], None)

    def build(self, directory: Path, unsynced: str) -> None:
        directory.mkdir()
        for name, inode in (self.durable_names if unsynced == "lost" else self.names).items():
            writes = self.written[inode]
            safe = self.synced.get(inode, 0)
            content = b"".join(writes[:safe] if unsynced == "lost" else writes)
            if unsynced == "torn" and inode == self.newest and len(writes) > safe:
                content = content[: len(content) - len(writes[-1]) // 2 - 1]
                floor = len(b"".join(writes[:safe]))
                tail = min(512, len(content) - floor)
                content = content[: len(content) - tail] + bytes(tail)
            (directory / name).write_bytes(content)


@pytest.fixture
def story(bench):
    """Two cameras, segments that change, an eviction and a clean stop; what was durable after each step."""
    store = RecorderStore(bench.directory)
    writer = bench.writer(store, segment_s=1, min_free_bytes=1)
    durable: list[tuple[int, list]] = []
    put: list = []
    cameras = [bench.channel("a", size=60), bench.channel("b", size=60)]
    for cycle in range(9):
        store.crowded = cycle == 7  # somebody else fills the disk: all closed segments go
        bench.clock.advance(5 if cycle == 7 else 0)
        put += bench.record(writer, cameras, 0.4)
        if bench.ears.of(RingSynced):
            durable.append((len(store.log), list(put)))
        if cycle == 5:
            for record in cameras[0].begin():
                writer.put(cameras[0].key, record)
                put.append(record)
    writer.finish()
    return bench, store.log, durable, cameras


@pytest.mark.parametrize("unsynced", ["lost", "kept", "torn"])
def test_every_prefix_leaves_a_ring_that_reads_and_records(story, tmp_path, unsynced):
    bench, log, durable, cameras = story
    disk = Disk()
    for step, operation in enumerate(log, 1):
        disk.apply(operation)
        directory = tmp_path / f"{unsynced}-{step}"
        disk.build(directory, unsynced)
        evicted = {d for op in log[:step] if op[0] == "unlink" for d in op[2]}
        promised = next((put for length, put in reversed(durable) if length <= step), [])
        safe = [r for r in promised if r.digest not in evicted]
        _check_recovery(bench, directory, safe, cameras, whole=not evicted)


def test_the_story_has_every_kind_of_operation(story):
    _, log, _, _ = story
    assert {op[0] for op in log} == {"create", "write", "sync", "sync_directory", "rename", "unlink"}
    assert any(op[0] == "unlink" and op[2] for op in log)
    assert len({op[1] for op in log if op[0] == "create" and op[1].endswith(".ear")}) > 3


def _check_recovery(bench, directory: Path, safe: Sequence, cameras, *, whole: bool) -> None:
    old = {p.name: p.read_bytes() for p in directory.glob("*.ear")}
    found = {}
    for name in old:
        scan = SegmentScan(directory / name, number_of(name))
        while not scan.advance(1 << 20, final=True):
            pass
        for camera in cameras:
            for entry in scan.index.entries(camera.stream):
                found[entry.digest] = entry
        assert len(scan.index.damage) <= 1, "only a torn end may be damaged"
    assert {r.digest for r in safe} <= set(found), "a durable record is lost"

    again = type(bench)(directory)
    writer, camera = again.writer(), again.channel("a")
    new = again.record(writer, [camera], 0.6)
    assert {p.name: p.read_bytes() for p in directory.glob("*.ear") if p.name in old} == old
    assert new[0].header.epoch not in {e.epoch for e in found.values()}
    read = [r.digest for r in RingReader({Role.MAIN: directory}).records(camera.stream, 0, FOREVER)]
    mine = [r.digest for r in (*safe, *new) if r.header.stream == camera.stream]
    wanted = set(mine)
    if not whole:  # an epoch whose beginning was evicted plays from its next keyframe
        assert read[-len(new) :] == [r.digest for r in new]
        return
    assert [d for d in read if d in wanted] == mine
