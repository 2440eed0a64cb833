"""What a stranger finds on a disk after the power failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from crash_disk import CrashDisk
from disk_log import Op

from edge_agent.ring.layout import number_of
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.record import iter_records


def what_can_be_read(root: Path, synced: dict[str, int]) -> dict[bytes, bytes]:
    """digest -> epoch of every record on the disk; only what no sync covered may be damaged."""
    found: dict[bytes, bytes] = {}
    for path in root.glob("*/*.ear"):
        scan = SegmentScan(path, number_of(path.name) or 0)
        while not scan.advance(1 << 20, final=True):
            pass
        assert all(start >= synced[f"{path.parent.name}/{path.name}"] for start, _ in scan.index.damage)
        for stream in scan.index.streams():
            found |= {entry.digest: entry.epoch for entry in scan.index.entries(stream)}
    return found


def prefixes(log: Sequence[Op]) -> Iterator[tuple[int, CrashDisk, frozenset[bytes]]]:
    """After each call: how many there were, the disk, and the digests that evictions took with them."""
    disk, evicted = CrashDisk(), frozenset[bytes]()
    for calls, op in enumerate(log, 1):
        if op.kind == "unlink" and op.name.endswith(".ear") and not op.failed:
            evicted |= {record.digest for record in iter_records(disk.content(op.file)[64:])}
        disk.apply(op)
        yield calls, disk, evicted
