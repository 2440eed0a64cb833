"""A box in little: two rings and a ledger in one directory, driven step by step; what it promised when."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from disk_log import DiskLog

from edge_agent.clock import ManualClock
from edge_agent.events import Fact
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.facts import LedgerSynced
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.facts import EvictionDue, RingSynced
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.sealer import StreamSealer

BOX = BoxKey(bytes(range(32)))
PRIVATE, PUBLIC = generate_recipient()
INIT = InitSegment(b"ftyp+moov", "avc3.64001f", 640, 360, 90000)
ORIGIN = notes.origin_of("pump-7", BOX.public)
ROLES = (Role.MAIN, Role.SUB)
CYCLE_S = 0.6


@dataclass
class Ears:
    """An inbox that keeps every fact with the number of disk calls before it."""

    disk: DiskLog
    heard: list[tuple[int, Fact]] = field(default_factory=list)

    def put(self, fact: Fact) -> None:
        self.heard.append((len(self.disk.log), fact))


class Camera:
    """One camera in one role: fragments of 0.2 s, a keyframe in every fifth."""

    def __init__(self, clock: ManualClock, role: Role, previous: bytes) -> None:
        self.key = StreamKey("cam-01", role)
        self.stream = stream_id(BOX.box_id, "cam-01", role)
        self._clock = clock
        self._sealer = StreamSealer(
            box=BOX, recipients=[Recipient("iccc", PUBLIC)], stream_id=self.stream, boot_id=bytes(16),
            aead=Aead.CHACHA20_POLY1305, previous=previous,
        )  # fmt: skip
        self._count = 0

    def begin(self) -> list[Record]:
        self._count = 0
        return list(self._sealer.begin_epoch(INIT, self._clock.now()))

    def shoot(self) -> list[Record]:
        head = self.begin() if self._sealer.epoch is None else []
        keyframe, self._count = self._count % 5 == 0, self._count + 1
        content = os.urandom(700)
        moment = self._clock.now()
        return [*head, self._sealer.seal(Fragment(content, moment, 200_000, 0, keyframe, False, 5))]


class Box:
    """Rings, ledger and their owner in one thread. Entering it is a start of the agent."""

    def __init__(self, root: Path, disk: DiskLog, clock: ManualClock) -> None:
        self.root, self.disk, self.clock = root, disk, clock
        self.ears = Ears(disk)
        self.sealed: list[Record] = []
        self._leaving: list[tuple[EvictionDue, Event]] = []
        self._heard = 0
        for name in ("main", "sub", "ledger"):
            (root / name).mkdir(exist_ok=True)
        self.ledger = LedgerWriter(
            directory=root / "ledger", origin=ORIGIN, sign=BOX.sign, public=BOX.public, clock=clock,
            inbox=self.ears, boot=bytes(16),
        )  # fmt: skip
        self.ledger.witnessed(None)
        self.rings = {role: self._ring(role) for role in ROLES}
        self.cameras = [Camera(clock, role, self._previous(role)) for role in ROLES]

    def _ring(self, role: Role) -> RingWriter:
        policy = RingPolicy(max_bytes=64 << 20, min_free_bytes=1, segment_s=1.0, await_leaf=True)
        return RingWriter(
            role=role, directory=self.root / role.value, policy=policy, box_id=BOX.box_id,
            run=os.urandom(16), clock=self.clock, inbox=self.ears,
        )  # fmt: skip

    def _previous(self, role: Role) -> bytes:
        return self.rings[role].previous(stream_id(BOX.box_id, "cam-01", role))

    def record(self, cycles: int) -> None:
        for _ in range(cycles):
            for _ in range(3):
                for camera in self.cameras:
                    self._hand_over(camera, camera.shoot())
                self.clock.advance(CYCLE_S / 3)
            self.work()

    def restart_stream(self, camera: Camera) -> None:
        self._hand_over(camera, camera.begin())

    def work(self) -> None:
        """One turn of each thread and of the owner: an evict leaf, and leave to evict once it is durable."""
        for ring in self.rings.values():
            ring.cycle()
        fresh, self._heard = self.ears.heard[self._heard :], len(self.ears.heard)
        for _, fact in fresh:
            if isinstance(fact, EvictionDue):
                said = {"ring": fact.role.value, "segment": fact.segment.number}
                self._leaving.append((fact, self.ledger.append_tracked("evict", said)))
        self.ledger.append("mark", {"n": self._heard})
        self.ledger.turn()
        for due, durable in self._leaving:
            if durable.is_set():
                self.rings[due.role].allow_eviction(due.segment.number)
        self._leaving = [entry for entry in self._leaving if not entry[1].is_set()]

    def stop(self) -> None:
        for ring in self.rings.values():
            ring.finish()
        stop = Event()
        stop.set()
        self.ledger.run(stop, lambda: None)

    def _hand_over(self, camera: Camera, records: list[Record]) -> None:
        for record in records:
            self.sealed.append(record)
            self.rings[camera.key.role].put(camera.key, record)


@dataclass(frozen=True)
class Promises:
    """What a box had said to be durable after so many disk calls."""

    records: frozenset[bytes]
    leaves: int


def promises(box: Box, calls: int) -> Promises:
    tips: dict[tuple[bytes, bytes], int] = {}
    leaves = 0
    for at, fact in box.ears.heard:
        if at > calls:
            break
        if isinstance(fact, RingSynced):
            tips.update({(tip.stream, tip.epoch): tip.n for tip in fact.tips})
        elif isinstance(fact, LedgerSynced):
            leaves = fact.size
    kept = (r for r in box.sealed if r.header.n <= tips.get((r.header.stream, r.header.epoch), -1))
    return Promises(frozenset(r.digest for r in kept), leaves)


def tell(root: Path, disk: DiskLog) -> Box:
    """The story: segments that change, an epoch that ends, a full disk, evictions with leaves, a clean stop.

    `disk` must be entered. When a call fails, the minute before the stop is enough for every cure.
    """
    root.mkdir(exist_ok=True)
    box = Box(root, disk, ManualClock())
    box.record(3)
    box.restart_stream(box.cameras[0])
    box.record(1)
    disk.crowded = True
    box.clock.advance(5)
    box.record(1)
    box.clock.advance(5)
    box.record(1)
    disk.crowded = False
    box.record(1)
    if any(op.failed for op in disk.log):
        box.clock.advance(60)
        box.record(1)
    box.stop()
    return box
