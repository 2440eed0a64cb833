"""A ring as a box would have left it: one camera's 4 Mbit/s, sealed, with the minute marks of its ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import ManualClock
from edge_agent.events import BoundedInbox
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger.leaf import Json
from edge_agent.model import Fragment, InitSegment, Instant, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient
from edge_agent.seal.record import Aead, Record, Tip
from edge_agent.seal.sealer import StreamSealer
from edge_agent.seal.tips import TipsSealer

FRAGMENT_BYTES, PER_S, GOP_S = 100_000, 5, 2
KEY = StreamKey("cam-01", Role.MAIN)
BOOT = bytes(16)

Mark = Callable[[dict[str, Json], Instant], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Whose footage, for whom, from when (microseconds of wall time)."""

    box: BoxKey
    recipient: Recipient
    stream: bytes
    start_us: int


class Recording:
    """Fills a ring in `directory`; each minute's mark goes to `mark`, to be a leaf of the ledger."""

    def __init__(self, directory: Path, source: Source, mark: Mark) -> None:
        self._source, self._mark_to = source, mark
        self._init, self._piece = synthetic()
        self._tips = TipsSealer(source.box.box_id, BOOT)
        self._sealer = StreamSealer(
            box=source.box, recipients=[source.recipient], stream_id=source.stream, boot_id=BOOT,
            aead=Aead.AES_256_GCM,
        )  # fmt: skip
        self._writer = RingWriter(
            role=Role.MAIN, directory=directory, policy=RingPolicy(max_bytes=4 << 30, min_free_bytes=0),
            box_id=source.box.box_id, run=BOOT, clock=ManualClock(), inbox=BoundedInbox(),
        )  # fmt: skip

    def run(self, seconds: int) -> None:
        for number in range(seconds * PER_S):
            at = Instant(self._source.start_us + number * 1_000_000 // PER_S, number * 1_000_000_000 // PER_S)
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
        self._mark_to(leaves.mark(1, (1,), bytes(32), [leaves.CameraMark.UP], root), at)


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
