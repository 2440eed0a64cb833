"""`ring`: sealing and the disk: CPU, bytes on the device over bytes of footage, start of a full ring."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.loop_disk import LoopDisk
from bench.table import Row, table
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.model import Fragment, InitSegment, Instant, Role, StreamKey
from edge_agent.ring.layout import SegmentHeader, segment_name
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.record import Aead, sealed_size
from edge_agent.seal.sealer import StreamSealer

GIB = 1 << 30
AT = Instant(0, 0)
INIT = InitSegment(bytes(1000), "avc3.64001f", 1920, 1080, 90000)
BOX = BoxKey(bytes(32))
RECIPIENTS = [Recipient("iccc", generate_recipient()[1])]
FRAGMENT_S, PERIOD_S = 0.2, 0.6  # three fragments a sync
SEGMENTS, SEGMENT_BYTES = 4000, 256 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """Of so many seconds of footage: CPU shares of one core, bytes by place, syncs."""

    sealing: float
    writing: float
    footage: int
    files: int
    device: int
    syncs: int


def run(directory: Path, seconds: float) -> str:
    heavy = _measured(directory, 16, 4_000_000, seconds)
    light = _measured(directory, 1, 256_000, 4 * seconds)
    whole = heavy.sealing + heavy.writing
    rows: list[Row] = [
        ("sealing and hashing, 16 x 4 Mbit/s", f"{heavy.sealing:.2%} of a core", ""),
        ("writing and syncing, 16 x 4 Mbit/s", f"{heavy.writing:.2%} of a core", ""),
        ("both", f"{whole:.2%} of a core", "4 %"),
        ("bytes in files over bytes of footage, 16 x 4 Mbit/s", f"{heavy.files / heavy.footage:.4f}", ""),
        (f"bytes on {_where()} over bytes of footage", f"{heavy.device / heavy.footage:.4f}", "1.05"),
        (
            f"beyond the footage, on {_where()}, a sync at 256 kbit/s",
            f"{(light.device - light.footage) / light.syncs / 1024:.1f} KiB",
            "32 KB",
        ),
        (
            f"start of {SEGMENTS:,} segments, 1 TB, to the first durable record",
            f"{_start(directory):.2f} s",
            "2 s",
        ),
    ]
    for aead in (Aead.AES_256_GCM, Aead.CHACHA20_POLY1305):
        for size in (10_000, 100_000):
            took_s = _seal_once(aead, size)
            rows.append(
                (f"{aead.name}, {size:,} bytes", f"{took_s * 1e6:.0f} us", f"{size / took_s / 1e6:.0f} MB/s")
            )
    return table("Sealing and the ring; the machine matters", ("what", "measured", "aim"), rows)


def _where() -> str:
    return "the device" if LoopDisk.possible() else "the page cache (as root: the device)"


def _measured(place: Path, cameras: int, bits_s: int, seconds: float) -> Cost:
    size = cameras * bits_s // 8 * seconds * 1.2 + 256 * (1 << 20)
    with LoopDisk(place, round(size)) if LoopDisk.possible() else nullcontext() as disk:
        directory = (disk.directory if disk else place) / f"ring-{bits_s}"
        before = disk.written() if disk else _flushed()
        cost = _record(directory, cameras, bits_s, seconds)
        device = (disk.written() if disk else _flushed()) - before
        return Cost(cost.sealing, cost.writing, cost.footage, cost.files, device, cost.syncs)


def _flushed() -> int:
    """Bytes that this process caused to be written, as the kernel counts: whole pages, no journal."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def _record(directory: Path, cameras: int, bits_s: int, seconds: float) -> Cost:
    """As fast as it goes: what a period's work costs does not depend on the pause after it."""
    policy = RingPolicy(max_bytes=16 * GIB, min_free_bytes=0)
    writer = RingWriter(
        role=Role.MAIN, directory=directory, policy=policy, box_id=BOX.box_id, run=bytes(16),
        clock=SystemClock(), inbox=BoundedInbox(),
    )  # fmt: skip
    key, sealers = StreamKey("cam", Role.MAIN), [_sealer(i, Aead.AES_256_GCM) for i in range(cameras)]
    for sealer in sealers:
        for head in sealer.begin_epoch(INIT, AT):
            writer.put(key, head)
    writer.cycle()
    piece = _fragment(round(bits_s / 8 * FRAGMENT_S))
    sealing = writing = 0.0
    periods = round(seconds / PERIOD_S)
    for _ in range(periods):
        began = time.process_time()
        for _ in range(round(PERIOD_S / FRAGMENT_S)):
            for sealer in sealers:
                writer.reserve(Role.MAIN, sealed_size(len(piece.data)))
                writer.put(key, sealer.seal(piece))
        sealed = time.process_time()
        writer.cycle()
        sealing, writing = sealing + sealed - began, writing + time.process_time() - sealed
    writer.finish()
    footage = periods * round(PERIOD_S / FRAGMENT_S) * cameras * len(piece.data)
    files = sum(path.stat().st_size for path in directory.iterdir())
    syncs = writer.counters().syncs
    return Cost(sealing / seconds, writing / seconds, footage, files, 0, syncs)


def _start(place: Path) -> float:
    """Seconds from nothing to the first durable record beside 4,000 old segments. They are sparse."""
    directory = place / "full"
    directory.mkdir()
    for number in range(1, SEGMENTS + 1):
        path = directory / segment_name(number)
        path.write_bytes(SegmentHeader(Role.MAIN, number, BOX.box_id[:16], bytes(16), 0).encode())
        os.truncate(path, SEGMENT_BYTES)
    began = time.monotonic()
    writer = RingWriter(
        role=Role.MAIN, directory=directory, policy=RingPolicy(max_bytes=2 << 40, min_free_bytes=0),
        box_id=BOX.box_id, run=bytes(16), clock=SystemClock(), inbox=BoundedInbox(),
    )  # fmt: skip
    for head in _sealer(0, Aead.AES_256_GCM).begin_epoch(INIT, AT):
        writer.put(StreamKey("cam", Role.MAIN), head)
    writer.cycle()
    assert writer.counters().syncs == 1
    return time.monotonic() - began


def _seal_once(aead: Aead, size: int) -> float:
    """Seconds of CPU a fragment, the best of five rounds."""
    sealer, piece, best = _sealer(0, aead), _fragment(size), float("inf")
    sealer.begin_epoch(INIT, AT)
    for _ in range(5):
        began = time.process_time()
        for _ in range(400):
            sealer.seal(piece)
        best = min(best, (time.process_time() - began) / 400)
    return best


def _sealer(number: int, aead: Aead) -> StreamSealer:
    return StreamSealer(
        box=BOX, recipients=RECIPIENTS, stream_id=bytes([number]) * 16, boot_id=bytes(16), aead=aead
    )


def _fragment(size: int) -> Fragment:
    return Fragment(os.urandom(size), AT, 200_000, 0, True, False, 5)
