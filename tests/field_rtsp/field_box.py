"""A box in the field: the real capture thread, sealer and ring, and a judge who opens what was recorded."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.capture.loop import CaptureLoop
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.sei import Stamp, parse_stamp
from edge_agent.events import Fact, Inbox, StreamLost
from edge_agent.model import Endpoint, Role, StreamKey, StreamSpec
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.reader import Gap, RingReader
from edge_agent.ring.sink import Rings
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Kind, Record
from edge_agent.seal.sealer import StreamSealer


class Facts:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.kept: list[Fact] = []

    def put(self, fact: Fact) -> None:
        self.kept.append(fact)

    def lost(self, key: StreamKey) -> list[StreamLost]:
        return [fact for fact in self.kept if isinstance(fact, StreamLost) and fact.key == key]


class FieldBox:
    """Records on a real directory until `stop`; afterwards `footage` tells what a reader finds there."""

    def __init__(self, directory: Path, inbox: Inbox | None = None, segment_s: float = 600.0) -> None:
        self.facts = Facts()
        self._inbox = inbox or self.facts
        self._policy = RingPolicy(max_bytes=8 << 30, min_free_bytes=0, segment_s=segment_s)
        self.clock = SystemClock()
        self._key = BoxKey(bytes(range(32)))
        self._reader = X25519PrivateKey.generate()
        self._directories = {role: directory / role.value for role in Role}
        self._rings = {role: self._ring(role) for role in Role}
        self.loop = CaptureLoop(
            clock=self.clock, inbox=self._inbox, sink=Rings(self._rings), sealer_for=self._sealer
        )
        self._threads = [_Running(self.loop.run), *(_Running(ring.run) for ring in self._rings.values())]

    def record(self, key: StreamKey, endpoint: Endpoint) -> None:
        self.loop.start_stream(StreamSpec(key, endpoint, self.stream(key)))

    def stream(self, key: StreamKey) -> bytes:
        return stream_id(self._key.box_id, key.camera, key.role)

    def stop(self) -> None:
        """Capture first, so that the rings write all that it has sealed."""
        for thread in self._threads:
            thread.end()

    def opener(self) -> Opener:
        return Opener("iccc", self._reader.private_bytes_raw(), self._key.public)

    def footage(self, key: StreamKey) -> Footage:
        reader = RingReader(self._directories)
        stream, end_us = self.stream(key), self.clock.now().wall_us + 60_000_000
        records = list(reader.records(stream, 0, end_us))
        return Footage(records, self.opener(), lambda a, b: reader.gaps(stream, a, b))

    def _ring(self, role: Role) -> RingWriter:
        directory = self._directories[role]
        directory.mkdir(parents=True)
        return RingWriter(
            role=role,
            directory=directory,
            policy=self._policy,
            box_id=self._key.box_id,
            run=bytes(16),
            clock=self.clock,
            inbox=self._inbox,
        )

    def _sealer(self, spec: StreamSpec) -> StreamSealer:
        recipient = Recipient("iccc", self._reader.public_key().public_bytes_raw())
        return StreamSealer(
            box=self._key,
            recipients=[recipient],
            stream_id=spec.stream_id,
            boot_id=bytes(16),
            aead=Aead.AES_256_GCM,
        )


class _Running:
    """A worker in a thread of its own."""

    def __init__(self, run: Callable[[threading.Event, Callable[[], None]], None]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run, args=(self._stop, lambda: None))
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@dataclass(frozen=True)
class Epoch:
    """One playable file: its init and fragments in clear, and the records that they came from."""

    init: bytes
    fragments: Sequence[tuple[Record, bytes]]

    @property
    def mp4(self) -> bytes:
        return self.init + b"".join(plain for _, plain in self.fragments)

    @property
    def from_us(self) -> int:
        return self.fragments[0][0].header.wall_us

    @property
    def to_us(self) -> int:
        last = self.fragments[-1][0].header
        return last.wall_us + last.duration_us

    @cached_property
    def packets(self) -> list[av.Packet]:
        with av.open(io.BytesIO(self.mp4)) as container:
            return [packet for packet in container.demux(video=0) if packet.size]

    @property
    def media_s(self) -> float:
        """How long the file says that it plays."""
        first, last = self.packets[0], self.packets[-1]
        assert first.dts is not None
        assert last.dts is not None
        assert last.time_base is not None
        return float((last.dts + (last.duration or 0) - first.dts) * last.time_base)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Of every picture, as a player decodes it. A damaged picture is no picture."""
        with av.open(io.BytesIO(self.mp4)) as container:
            return [(f.width, f.height) for f in container.decode(video=0) if not f.is_corrupt]

    def stamps(self) -> list[tuple[int, Stamp]]:
        """(recorded wall time, send time) of every fragment's first picture."""
        found = []
        for record, plain in self.fragments:
            with av.open(io.BytesIO(self.init + plain)) as container:
                packet = next(iter(container.demux(video=0)))
            stamp = next((s for nal in nals_of(bytes(packet)) if (s := parse_stamp(nal))), None)
            if stamp is not None:
                found.append((record.header.wall_us, stamp))
        return found


class Footage:
    """All that was recorded of one stream, opened with the reader's key."""

    def __init__(
        self, records: Sequence[Record], opener: Opener, gaps: Callable[[int, int], list[Gap]]
    ) -> None:
        self._gaps = gaps
        self.epochs: list[Epoch] = []
        inits: dict[bytes, bytes] = {}
        fragments: dict[bytes, list[tuple[Record, bytes]]] = {}
        for record in records:
            plain = opener.open(record)
            if record.header.kind is Kind.INIT:
                inits[record.header.epoch] = plain
            elif record.header.kind is Kind.FRAGMENT:
                fragments.setdefault(record.header.epoch, []).append((record, plain))
        self.epochs = [Epoch(inits[epoch], found) for epoch, found in fragments.items()]

    @property
    def gaps(self) -> list[Gap]:
        return self._gaps(self.epochs[0].from_us, self.epochs[-1].to_us)

    def resumed_s(self, after_us: int) -> float:
        """How long after a moment the first picture of a later session was taken."""
        later = [e.from_us for e in self.epochs if e.from_us >= after_us]
        return (min(later) - after_us) / 1e6 if later else float("inf")

    def assert_plays(self) -> None:
        """Every file decodes to its last picture, lasts as long as the clock says, and has the true times."""
        assert self.epochs
        for epoch in self.epochs:
            assert len(epoch.sizes) == len(epoch.packets)
            assert abs(epoch.media_s - (epoch.to_us - epoch.from_us) / 1e6) < 1
            for wall_us, stamp in epoch.stamps():
                assert abs(wall_us - stamp.sent_us) < 1_000_000
        for one, other in zip(self.epochs, self.epochs[1:], strict=False):
            assert one.to_us <= other.from_us + 50_000

    def assert_gapless(self) -> None:
        assert self.gaps == []


def nals_of(sample: bytes) -> list[bytes]:
    """The NAL units of one MP4 sample."""
    nals, at = [], 0
    while at + 4 <= len(sample):
        size = int.from_bytes(sample[at : at + 4], "big")
        nals.append(sample[at + 4 : at + 4 + size])
        at += 4 + size
    return nals


def until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
