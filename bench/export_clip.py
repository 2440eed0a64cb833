"""Ten minutes of 4 Mbit/s out of a ring, as evidence with certificate: `python bench/export_clip.py`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from edge_agent.clock import ManualClock
from edge_agent.events import BoundedInbox
from edge_agent.export import certificate, package
from edge_agent.export.manifest import CameraFacts, Exported, Facts, RecorderFacts, SiteFacts
from edge_agent.export.proofs import LedgerView
from edge_agent.export.rows import Keyring
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.model import Fragment, InitSegment, Instant, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.reader import RingReader
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.record import Aead, Record, Tip
from edge_agent.seal.sealer import StreamSealer
from edge_agent.seal.tips import TipsSealer, tips_stream
from edge_agent.verify.check import verify

SECONDS, FRAGMENT_BYTES, PER_S, GOP_S = 600, 100_000, 5, 2
START_US = 1_790_000_000_000_000
BOX = BoxKey(bytes(32))
PRIVATE, PUBLIC = generate_recipient()
STREAM = stream_id(BOX.box_id, "bench", Role.MAIN)
KEY = StreamKey("cam-01", Role.MAIN)


class Recording:
    """Fills a ring, and keeps the ledger that belongs to it."""

    def __init__(self, directory: Path, init: InitSegment, piece: bytes) -> None:
        self._init, self._piece = init, piece
        self.leaves: list[bytes] = []
        self._tips = TipsSealer(BOX.box_id, bytes(16))
        self._sealer = StreamSealer(
            box=BOX, recipients=[Recipient("site", PUBLIC)], stream_id=STREAM, boot_id=bytes(16),
            aead=Aead.AES_256_GCM,
        )  # fmt: skip
        self._writer = RingWriter(
            role=Role.MAIN, directory=directory, policy=RingPolicy(max_bytes=4 << 30, min_free_bytes=0),
            box_id=BOX.box_id, run=bytes(16), clock=ManualClock(), inbox=BoundedInbox(),
        )  # fmt: skip

    def run(self, seconds: int) -> None:
        last: Record | None = None
        for number in range(seconds * PER_S):
            at = Instant(START_US + number * 1_000_000 // PER_S, number * 1_000_000_000 // PER_S)
            if number % (PER_S * 600) == 0:
                for head in self._sealer.begin_epoch(self._init, at):
                    self._writer.put(KEY, head)
            last = self._sealer.seal(self._fragment(number % (PER_S * 600), at))
            self._writer.put(KEY, last)
            if number % PER_S == 0:
                self._writer.cycle()
            if number % (60 * PER_S) == 60 * PER_S - 1:
                self._mark(last, at)
        self._writer.cycle()
        self._writer.finish()

    def _fragment(self, number: int, at: Instant) -> Fragment:
        tfdt = number * 90_000 // PER_S
        data = self._piece[:60] + tfdt.to_bytes(8, "big") + self._piece[68:]
        return Fragment(data, at, 1_000_000 // PER_S, tfdt, number % (PER_S * GOP_S) == 0, False, 5)

    def _mark(self, last: Record, at: Instant) -> None:
        tip = Tip.of(last)
        self._writer.put(StreamKey("tips", Role.MAIN), self._tips.seal([tip], at))
        root = leaves.tips_root([leaves.Tip(tip.stream, tip.epoch, tip.n, tip.digest)])
        data = leaves.mark(1, (1,), bytes(32), [leaves.CameraMark.UP], root)
        self.leaves.append(leaves.encode("mark", data, at, bytes(16)))


def synthetic() -> tuple[InitSegment, bytes]:
    """A real head, and one fragment of the wanted size with noise for pictures."""
    from edge_agent.capture import fmp4
    from edge_agent.capture.h264 import RULES
    from edge_agent.capture.parameters import ParameterSets
    from edge_agent.capture.timeline import Placed
    from edge_agent.model import AccessUnit

    sets = ParameterSets(RULES)
    for text in ("6742c01ed9005005bb0110000003001000000303c0f162e480", "68cb83cb20"):
        sets.take(bytes.fromhex(text))
    unit = AccessUnit((b"\x65" + os.urandom(FRAGMENT_BYTES - 1),), 0, 0, True)
    return fmp4.init_segment(sets), fmp4.fragment(1, 0, [Placed(unit, 0, 0, 0, False)], 90_000 // PER_S)


def request(directory: Path, known: list[bytes]) -> package.Request:
    reader = RingReader({Role.MAIN: directory})
    end_us = START_US + SECONDS * 1_000_000
    origin = Verifier(notes.origin_of("bench", BOX.public), BOX.public)
    hashes = [merkle.leaf_hash(leaf) for leaf in known]
    own = notes.sign(Checkpoint(origin.name, len(known), merkle.root(hashes)), BOX.public, BOX.sign)
    ledger = LedgerView(origin, lambda f, n: known[f : f + n], merkle.nodes_of(hashes), str(own))
    facts = Facts(
        Exported(end_us, "bench", "", "", "box"), SiteFacts("bench"), RecorderFacts(),
        CameraFacts("cam-01", "bench", "main"),
    )  # fmt: skip
    return package.Request(
        facts, STREAM, START_US, end_us,
        lambda: reader.records(STREAM, START_US, end_us + package.POST_ROLL_US),
        list(reader.loose(tips_stream(BOX.box_id), START_US, end_us + package.POST_ROLL_US)), ledger,
        Keyring(BOX.public, "site", PRIVATE), origin, BOX.sign, {"box": origin.vkey, "exporter": origin.vkey},
    )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        ring, out = Path(folder) / "main", Path(folder) / "clip.zip"
        recording = Recording(ring, *synthetic())
        recording.run(SECONDS + 60)
        began, cpu = time.perf_counter(), time.process_time()
        with out.open("w+b") as file:
            package.write(file, request(ring, recording.leaves), certificate.extras)
            os.fsync(file.fileno())
        took, cpu_took = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"export of {SECONDS} s, {out.stat().st_size / 1e6:.0f} MB: {took:.2f} s ({cpu_took:.2f} s CPU)"
        )
        began = time.perf_counter()
        report = verify(out)
        print(f"verify: {time.perf_counter() - began:.2f} s, {report.verdict}, {report.reason}")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
