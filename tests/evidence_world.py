"""A box in memory that records real H.264 or H.265, marks minutes, keeps a ledger, and is cosigned."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.capture import fmp4
from edge_agent.capture.h264 import RULES as H264
from edge_agent.capture.h265 import RULES as H265
from edge_agent.capture.parameters import ParameterSets
from edge_agent.capture.timeline import Placed
from edge_agent.demo.dvr.loops import EncodedUnit, split_annexb
from edge_agent.export import package
from edge_agent.export.manifest import CameraFacts, Exported, Facts, RecorderFacts, SiteFacts
from edge_agent.export.proofs import LedgerView
from edge_agent.export.rows import Keyring
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Algorithm, Checkpoint, Verifier
from edge_agent.model import AccessUnit, ClockTrust, Codec, Fragment, InitSegment, Instant, Role
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.record import NO_DIGEST, Aead, Record, Tip
from edge_agent.seal.sealer import StreamSealer
from edge_agent.seal.tips import TipsSealer

START_US = 1_790_000_000_000_000
S = 1_000_000
FPS = 5
TICKS = 90_000 // FPS
UID = "dvr-7/channel-1"
BOOT = bytes(range(16))
PRIVATE, PUBLIC = generate_recipient()


@cache
def pictures(codec: Codec, width: int, height: int, count: int = 40) -> tuple[EncodedUnit, ...]:
    """Moving noise, a keyframe every 2 s."""
    context = av.CodecContext.create("libx264" if codec is Codec.H264 else "libx265", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.gop_size, context.max_b_frames = 2 * FPS, 0
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}
    units: list[EncodedUnit] = []
    for number in range(count):
        shade = np.full((height, width, 3), (40 + 5 * number) % 256, np.uint8)
        shade[: height // 2, (number * 7) % width :] = 255 - number
        frame = av.VideoFrame.from_ndarray(shade, format="bgr24")
        frame.pts = number
        units += [split_annexb(codec, bytes(p), p.is_keyframe) for p in context.encode(frame)]
    units += [split_annexb(codec, bytes(p), p.is_keyframe) for p in context.encode(None)]
    return tuple(units)


def init_of(codec: Codec, unit: EncodedUnit) -> InitSegment:
    sets = ParameterSets(H264 if codec is Codec.H264 else H265)
    for nal in unit.nals:
        sets.take(nal)
    return fmp4.init_segment(sets)


@dataclass
class Cosigner:
    name: str
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def key(self) -> Verifier:
        return Verifier(self.name, self.private.public_key().public_bytes_raw(), Algorithm.COSIGNATURE_V1)


class Box:
    """One camera of a box. `record` and `mark` move its clock; `export` packs what it holds."""

    def __init__(
        self,
        codec: Codec = Codec.H264,
        width: int = 64,
        height: int = 48,
        aead: Aead = Aead.AES_256_GCM,
        uid: str = UID,
    ) -> None:
        self.uid = uid
        self.box = BoxKey(bytes(range(32)))
        self.mirror, self.witness = Cosigner("iccc/mirror"), Cosigner("iccc/witness")
        self.origin = Verifier(notes.origin_of("pump-7", self.box.public), self.box.public)
        self.stream = stream_id(self.box.box_id, uid, Role.MAIN)
        self.aead = aead
        self.records: list[Record] = []
        self.tips: list[Record] = []
        self.leaves: list[bytes] = []
        self.cosigned = 0
        self._remembers = False  # of this run's records
        self.now_us = START_US
        self._sealer = self._new_sealer(NO_DIGEST)
        self._tips_sealer = TipsSealer(self.box.box_id, BOOT)
        self._ended: list[Tip] = []
        self.use(codec, width, height)
        self.leaf("boot", before="first_start")

    def use(self, codec: Codec, width: int, height: int) -> None:
        """The camera's encoder changes; the next epoch has another init."""
        self._units = pictures(codec, width, height)
        self._init = init_of(codec, self._units[0])

    def now(self) -> Instant:
        return Instant(self.now_us, (self.now_us - START_US) * 1000 + 5_000_000_000, ClockTrust.NTP)

    def leaf(self, kind: str, **data: leaves.Json) -> None:
        self.leaves.append(leaves.encode(kind, data, self.now(), BOOT))

    def record(self, seconds: float, epoch: bool = True) -> None:
        """So much footage, one picture a fragment; `epoch`: under a new key, from tfdt 0."""
        if epoch:
            if self._remembers:
                self._ended.append(Tip.of(self.records[-1]))
            self.records += self._sealer.begin_epoch(self._init, self.now())
            self._count, self._remembers = 0, True
        for _ in range(round(seconds * FPS)):
            unit = self._units[self._count % len(self._units)]
            at, dts = self.now(), self._count * TICKS
            held = [Placed(AccessUnit(unit.nals, dts, at.boot_ns, unit.keyframe), dts, 0, at.boot_ns, False)]
            data = fmp4.fragment(self._count + 1, dts, held, dts + TICKS)
            piece = Fragment(data, at, S // FPS, dts, unit.keyframe, False, 1)
            self.records.append(self._sealer.seal(piece))
            self._count += 1
            self.now_us += S // FPS

    def pause(self, seconds: float, reason: str = "", leaf: str = "") -> None:
        """Nothing is recorded; the next epoch says why in a gap record, the ledger in a leaf."""
        since = self.now()
        self.now_us += round(seconds * S)
        if leaf:
            self.leaf("camera", camera="cam-01", state="dark", cause=leaf)
        if reason:
            self._ended.append(Tip.of(self.records[-1]))
            self.records += self._sealer.begin_epoch(self._init, self.now())
            self.records.append(self._sealer.seal_gap(reason, since, self.now()))
            self._count = 0

    def crash(self) -> None:
        """A new run that does not know the last record of the one before."""
        self._sealer = self._new_sealer(NO_DIGEST)
        self._ended.clear()
        self._remembers = False

    def mark(self, cosign: bool = True) -> None:
        rows = sorted({*self._ended, Tip.of(self.records[-1])})
        self._ended.clear()
        self.tips.append(self._tips_sealer.seal(rows, self.now()))
        root = leaves.tips_root(leaves.Tip(t.stream, t.epoch, t.n, t.digest) for t in rows)
        self.leaf("mark", **leaves.mark(7, (1,), bytes(32), [leaves.CameraMark.UP], root))
        if cosign:
            self.cosigned = len(self.leaves)

    def export(
        self, path: Path, start_s: float = 0, end_s: float = 1e9, **changes: object
    ) -> package.Written:
        with path.open("wb") as file:
            return package.write(file, self.request(start_s, end_s, **changes))

    def request(self, start_s: float = 0, end_s: float = 1e9, **changes: object) -> package.Request:
        from_us = START_US + round(start_s * S)
        to_us = min(START_US + round(end_s * S), self.now_us)
        facts = Facts(
            Exported(self.now_us, "asha", "FIR 12", "4711/2026", "box"), SiteFacts("pump-7"), RecorderFacts(),
            CameraFacts("cam-01", self.uid, "main", "Forecourt"),
        )  # fmt: skip
        vkeys = {
            "box": self.origin.vkey, "exporter": self.origin.vkey,
            "mirror": self.mirror.key.vkey, "witness": self.witness.key.vkey,
        }  # fmt: skip
        fields = {
            "facts": facts, "stream": self.stream, "from_us": from_us, "to_us": to_us,
            "footage": lambda: iter(self.read(from_us, to_us + package.POST_ROLL_US)), "tips": self.tips,
            "ledger": self.view(), "keyring": Keyring(self.box.public, "site", PRIVATE),
            "exporter": self.origin, "sign": self.box.sign, "keys": vkeys,
        }  # fmt: skip
        return package.Request(**{**fields, **changes})

    def read(self, from_us: int, to_us: int) -> Iterator[Record]:
        """As the ring's reader: heads, then from the keyframe at or before."""
        epochs: dict[bytes, list[Record]] = {}
        for record in self.records:
            epochs.setdefault(record.header.epoch, []).append(record)
        for records in epochs.values():
            fragments = [r for r in records[2:] if r.header.wall_us < to_us]
            starts = [i for i, r in enumerate(fragments) if r.header.keyframe and r.header.wall_us <= from_us]
            kept = fragments[starts[-1] :] if starts else fragments
            if kept and kept[-1].header.end_us > from_us:
                yield from (*records[:2], *kept)

    def view(self) -> LedgerView:
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]
        nodes = merkle.nodes_of(hashes)

        def head(size: int) -> notes.Note:
            checkpoint = Checkpoint(self.origin.name, size, merkle.root(hashes[:size]))
            return notes.sign(checkpoint, self.box.public, self.box.sign)

        cosigned = witnessed = ""
        if self.cosigned:
            note, at_s = head(self.cosigned), self.now_us // S
            cosigned = str(
                note.with_signature(notes.cosign(note, self.mirror.key, self.mirror.private.sign, at_s))
            )
            line = notes.cosign(note, self.witness.key, self.witness.private.sign, at_s)
            witnessed = str(note.with_signature(line))
        return LedgerView(
            self.origin, lambda first, count: self.leaves[first : first + count], nodes,
            str(head(len(self.leaves))), cosigned, witnessed,
        )  # fmt: skip

    def trust(self, path: Path, *parts: str) -> Path:
        keys = {"box": self.origin, "mirror": self.mirror.key, "witness": self.witness.key}
        path.write_text("".join(f"{part} {keys[part].vkey}\n" for part in parts))
        return path

    def _new_sealer(self, previous: bytes) -> StreamSealer:
        return StreamSealer(
            box=self.box, recipients=[Recipient("site", PUBLIC)], stream_id=self.stream, boot_id=BOOT,
            aead=self.aead, previous=previous,
        )  # fmt: skip


def decoded(mp4: bytes) -> int:
    """How many pictures come out of the file."""
    with av.open(io.BytesIO(mp4), mode="r") as container:
        return sum(1 for _ in container.decode(video=0))


def minutes(box: Box, count: int = 1, seconds: float = 4) -> Box:
    """Short minutes: so many seconds of one epoch, each with its mark."""
    for number in range(count):
        box.record(seconds, epoch=number == 0)
        box.mark()
    return box


def flat(lists: Iterable[list[Record]]) -> list[Record]:
    return [record for one in lists for record in one]
