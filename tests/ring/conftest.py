"""A box that seals made-up footage, and a ring on a real directory, driven step by step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.clock import ManualClock
from edge_agent.events import Fact
from edge_agent.model import Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.store import Store
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.sealer import StreamSealer

BOX = BoxKey(bytes(range(32)))
PRIVATE, PUBLIC = generate_recipient()
RECIPIENT = Recipient("iccc", PUBLIC)
INIT = InitSegment(b"ftyp+moov", "avc3.64001f", 640, 360, 90000)
STEP_S = 0.2


@dataclass
class Ears:
    """An inbox that keeps everything."""

    facts: list[Fact] = field(default_factory=list)

    def put(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type) -> list:
        return [f for f in self.facts if isinstance(f, kind)]


class Channel:
    """One camera's main stream: fragments of 0.2 s, a keyframe in every tenth."""

    def __init__(self, clock: ManualClock, name: str, previous: bytes = bytes(32), size: int = 400) -> None:
        self.clock = clock
        self.key = StreamKey(name, Role.MAIN)
        self.stream = stream_id(BOX.box_id, name, Role.MAIN)
        self.sealer = StreamSealer(
            box=BOX, recipients=[RECIPIENT], stream_id=self.stream, boot_id=bytes(16),
            aead=Aead.CHACHA20_POLY1305, previous=previous,
        )  # fmt: skip
        self.size = size
        self.count = 0

    def begin(self) -> list[Record]:
        self.count = 0
        return list(self.sealer.begin_epoch(INIT, self.clock.now()))

    def fragment(self, keyframe: bool | None = None) -> Record:
        keyframe = self.count % 10 == 0 if keyframe is None else keyframe
        data = f"{self.key}/{self.count}".encode() + os.urandom(self.size)
        self.count += 1
        return self.sealer.seal(
            Fragment(data, self.clock.now(), 200_000, self.count * 18000, keyframe, False, 5)
        )


class Bench:
    """One ring of role main under `directory`, its clock and its inbox."""

    box = BOX
    child_box = BoxKey(bytes(32))  # of programs that tests start
    private = PRIVATE
    recipient = RECIPIENT

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.ears = Ears()
        self.policy = RingPolicy(max_bytes=64 << 20, min_free_bytes=0)

    def writer(self, store: Store | None = None, **changes: object) -> RingWriter:
        policy = RingPolicy(**{**{"max_bytes": 64 << 20, "min_free_bytes": 0}, **changes})
        return RingWriter(
            role=Role.MAIN, directory=self.directory, policy=policy, box_id=BOX.box_id,
            run=os.urandom(16), clock=self.clock, inbox=self.ears, store=store,
        )  # fmt: skip

    def channel(self, name: str = "cam-01", previous: bytes = bytes(32), size: int = 400) -> Channel:
        return Channel(self.clock, name, previous, size)

    def record(self, writer: RingWriter, channels: list[Channel], seconds: float) -> list[Record]:
        """So many seconds of footage of every channel, one cycle each 0.6 s."""
        written: list[Record] = []
        for step in range(round(seconds / STEP_S)):
            for channel in channels:
                new = channel.begin() if channel.sealer.epoch is None else []
                new.append(channel.fragment())
                for record in new:
                    writer.put(channel.key, record)
                written += new
            self.clock.advance(STEP_S)
            if step % 3 == 2:
                writer.cycle()
        writer.cycle()
        return written

    def opener(self) -> Opener:
        return Opener("iccc", PRIVATE, BOX.public)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "main")
