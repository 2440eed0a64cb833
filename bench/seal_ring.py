"""CPU of sealing and of the ring: `python bench/seal_ring.py [DIRECTORY]`. Prints one line a figure."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.model import Fragment, InitSegment, Instant, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.record import Aead, sealed_size
from edge_agent.seal.sealer import StreamSealer

STREAMS, FRAGMENT_BYTES, FRAGMENT_S, PERIODS, PER_PERIOD = 16, 100_000, 0.2, 20, 4
AT = Instant(0, 0)
INIT = InitSegment(bytes(1000), "avc3.64001f", 1920, 1080, 90000)
BOX = BoxKey(bytes(32))
RECIPIENTS = [Recipient("iccc", generate_recipient()[1])]


def sealer(number: int, aead: Aead) -> StreamSealer:
    return StreamSealer(
        box=BOX, recipients=RECIPIENTS, stream_id=bytes([number]) * 16, boot_id=bytes(16), aead=aead
    )


def fragment(size: int, keyframe: bool = True) -> Fragment:
    return Fragment(os.urandom(size), AT, 200_000, 0, keyframe, False, 5)


def seal_once(aead: Aead, size: int) -> float:
    """Seconds of CPU per fragment, the best of five rounds."""
    s, f, best = sealer(0, aead), fragment(size), float("inf")
    s.begin_epoch(INIT, AT)
    for _ in range(5):
        began = time.process_time()
        for _ in range(400):
            s.seal(f)
        best = min(best, (time.process_time() - began) / 400)
    return best


def record(directory: Path) -> tuple[float, float, float]:
    """CPU shares of sealing and of the ring, and bytes written over bytes of footage."""
    writer = RingWriter(
        role=Role.MAIN, directory=directory, policy=RingPolicy(max_bytes=4 << 30, min_free_bytes=0),
        box_id=BOX.box_id, run=bytes(16), clock=SystemClock(), inbox=BoundedInbox(),
    )  # fmt: skip
    key, sealers = StreamKey("cam", Role.MAIN), [sealer(i, Aead.AES_256_GCM) for i in range(STREAMS)]
    for s in sealers:
        for head in s.begin_epoch(INIT, AT):
            writer.put(key, head)
    writer.cycle()
    pieces = [fragment(FRAGMENT_BYTES, i == 0) for i in range(PER_PERIOD)]
    sealing = writing = 0.0
    for _ in range(PERIODS):
        began = time.process_time()
        for piece in pieces:
            for s in sealers:
                writer.reserve(Role.MAIN, sealed_size(FRAGMENT_BYTES))
                writer.put(key, s.seal(piece))
        sealed = time.process_time()
        writer.cycle()
        sealing, writing = sealing + sealed - began, writing + time.process_time() - sealed
    writer.finish()
    seconds = PERIODS * PER_PERIOD * FRAGMENT_S
    on_disk = sum(p.stat().st_size for p in directory.iterdir())
    return sealing / seconds, writing / seconds, on_disk / (PERIODS * PER_PERIOD * STREAMS * FRAGMENT_BYTES)


def main() -> None:
    for aead in (Aead.AES_256_GCM, Aead.CHACHA20_POLY1305):
        for size in (10_000, FRAGMENT_BYTES):
            took = seal_once(aead, size)
            print(f"seal {aead.name} {size} bytes: {took * 1e6:.1f} us, {size / took / 1e6:.0f} MB/s")
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        sealing, writing, amplification = record(Path(directory))
    print(f"16 x 4 Mbit/s: sealing {sealing:.2%}, writing and syncing {writing:.2%} of a core")
    print(f"bytes on disk over bytes of footage: {amplification:.4f}")


if __name__ == "__main__":
    main()
