"""A process to be hurt: one ring and the ledger as the daemon runs them, four cameras, made-up footage.

    python recorder.py DIRECTORY RECIPIENT_HEX SECONDS

Says on stdout, a line each, what has become durable: `record DIGEST` for tips, `leaves SIZE`, and what broke
and was cured. Reads like the daemon's own wiring, without network.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from threading import Event, Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_agent.clock import SystemClock
from edge_agent.events import Fact
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.facts import LedgerFaulted, LedgerSynced
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import ClockTrust, Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.facts import RingFaulted, RingRecovered, RingSynced
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

BOX = BoxKey(bytes(32))
CAMERAS = 4
FRAGMENT_S = 0.04
INIT = InitSegment(b"init", "avc3.64001f", 640, 360, 90000)


class Tell:
    """Whoever reads stdout knows what was promised, up to the moment of a kill."""

    def put(self, fact: Fact) -> None:
        lines = []
        if isinstance(fact, RingSynced):
            lines = [f"record {tip.digest.hex()}" for tip in fact.tips]
        elif isinstance(fact, LedgerSynced):
            lines = [f"leaves {fact.size}"]
        elif isinstance(fact, RingFaulted | RingRecovered | LedgerFaulted):
            lines = [type(fact).__name__]
        os.write(1, "".join(f"{line}\n" for line in lines).encode())


def main(directory: Path, recipient: bytes, seconds: float) -> None:
    clock, stop = SystemClock(lambda: ClockTrust.NTP), Event()
    (directory / "ring").mkdir(parents=True, exist_ok=True)
    policy = RingPolicy(max_bytes=1 << 30, min_free_bytes=0, sync_s=0.1, segment_s=0.4)
    ring = RingWriter(
        role=Role.MAIN, directory=directory / "ring" / "main", policy=policy, box_id=BOX.box_id,
        run=os.urandom(16), clock=clock, inbox=Tell(),
    )  # fmt: skip
    ledger = LedgerWriter(
        directory=directory / "ledger", origin=notes.origin_of("shop", BOX.public), sign=BOX.sign,
        public=BOX.public, clock=clock, inbox=Tell(),
    )  # fmt: skip
    ledger.witnessed(None)
    threads = [Thread(target=worker.run, args=(stop, lambda: None)) for worker in (ring, ledger)]
    for thread in threads:
        thread.start()
    record(ring, ledger, recipient, seconds)
    stop.set()
    for thread in threads:
        thread.join()


def record(ring: RingWriter, ledger: LedgerWriter, recipient: bytes, seconds: float) -> None:
    clock = SystemClock(lambda: ClockTrust.NTP)
    keys = [StreamKey(f"cam-{number}", Role.MAIN) for number in range(CAMERAS)]
    sealers = [
        StreamSealer(
            box=BOX, recipients=[Recipient("iccc", recipient)], boot_id=bytes(16), aead=Aead.AES_256_GCM,
            stream_id=stream_id(BOX.box_id, key.camera, key.role),
        )
        for key in keys
    ]  # fmt: skip
    for key, sealer in zip(keys, sealers, strict=True):
        for head in sealer.begin_epoch(INIT, clock.now()):
            ring.put(key, head)
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        ledger.append("mark", {"n": count}, urgent=True)
        for key, sealer in zip(keys, sealers, strict=True):
            keyframe = count % 5 == 0
            content = os.urandom(3000)
            fragment = Fragment(content, clock.now(), round(FRAGMENT_S * 1e6), 0, keyframe, False, 5)
            ring.put(key, sealer.seal(fragment))
        count += 1
        time.sleep(FRAGMENT_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), float(sys.argv[3]))
