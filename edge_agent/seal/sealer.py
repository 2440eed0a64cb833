"""Seals one stream: every fragment once, under the key of the stream's current epoch."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.errors import SealError
from edge_agent.model import Fragment, InitSegment, Instant
from edge_agent.seal.epoch import DEK_BYTES, Cipher, KeyBody, cipher_of, commit_of, nonce_of, wrap_dek
from edge_agent.seal.keys import MAX_RECIPIENTS, BoxKey, Recipient
from edge_agent.seal.record import (
    AEAD_TAG_BYTES,
    MAX_BODY_BYTES,
    NO_DIGEST,
    Aead,
    Flag,
    Header,
    Kind,
    Record,
    build_record,
)

ROTATE_AT_KEYFRAME_NS = 600 * 1_000_000_000
ROTATE_ANYWHERE_NS = 1200 * 1_000_000_000
MAX_REASON_BYTES = 512
NO_EPOCH = bytes(16)

GAP_TIMES = struct.Struct(">qQqQ")  # since and at, each wall us and boottime ns
_U32 = 0xFFFF_FFFF


@dataclass(slots=True)
class _Epoch:
    """The running epoch. Its key exists in this object only, and ends with it."""

    id: bytes
    cipher: Cipher
    began_ns: int
    n: int
    digest: bytes


class StreamSealer:
    """One stream's epochs. Capture thread only, but `seal_still`, which touches no running epoch.

    Each run starts with a fresh random epoch and key, so a crash can never lead to a nonce used twice.
    `previous` is the digest of the stream's last durable record, zeros when it is not known.
    """

    def __init__(
        self,
        *,
        box: BoxKey,
        recipients: Sequence[Recipient],
        stream_id: bytes,
        boot_id: bytes,
        aead: Aead,
        previous: bytes = NO_DIGEST,
        beacon: Callable[[], bytes] | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise SealError(f"footage is sealed to 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
        if aead is Aead.NONE:
            raise SealError("footage is never stored in clear; choose an AEAD")
        self._box = box
        self._recipients = tuple(recipients)
        self._stream = stream_id
        self._boot_id = boot_id
        self._aead = aead
        self._beacon = beacon or (lambda: NO_DIGEST)
        self._random = random
        self._last_digest = previous
        self._last_epoch = (NO_EPOCH, 0)
        self._running: _Epoch | None = None

    @property
    def epoch(self) -> bytes | None:
        """The running epoch's 16 bytes, None before the first and after a lost record."""
        return self._running.id if self._running else None

    @property
    def next_n(self) -> int:
        return self._running.n if self._running else 0

    def begin_epoch(self, init: InitSegment, at: Instant) -> tuple[Record, Record]:
        """A new muxer starts: a new random epoch and key. Returns its key and init records."""
        self._running = None
        key, running = self._new_epoch(at, self._last_digest, self._last_epoch)
        self._running = running
        self._note(key, running)
        return key, self._seal(Kind.INIT, init.data, at)

    def rotation_due(self, fragment: Fragment) -> bool:
        """Time for a new epoch: at the first keyframe after 10 minutes, at any fragment after 20."""
        if self._running is None:
            return True
        age_ns = fragment.start.boot_ns - self._running.began_ns
        return age_ns >= (ROTATE_AT_KEYFRAME_NS if fragment.keyframe else ROTATE_ANYWHERE_NS)

    def seal(self, fragment: Fragment) -> Record:
        """Seal the next fragment. Raises SealError, and the epoch is over: a hole in n cannot be mended."""
        flags = (Flag.KEYFRAME if fragment.keyframe else Flag.NONE) | (
            Flag.DISCONTINUITY if fragment.discontinuity else Flag.NONE
        )
        return self._seal(
            Kind.FRAGMENT, fragment.data, fragment.start, flags, fragment.duration_us, fragment.tfdt
        )

    def seal_gap(self, reason: str, since: Instant, at: Instant) -> Record:
        """Say why nothing was recorded from `since` to `at`. The header's duration ends at 71 minutes."""
        plain = GAP_TIMES.pack(since.wall_us, since.boot_ns, at.wall_us, at.boot_ns)
        plain += reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
        lasted_us = max(0, (at.boot_ns - since.boot_ns) // 1000)
        return self._seal(Kind.GAP, plain, since, duration_us=min(lasted_us, _U32))

    def seal_still(self, jpeg: bytes, at: Instant) -> tuple[Record, ...]:
        """Seal a snapshot in an epoch of its own: key record, still record. Any thread."""
        key, epoch = self._new_epoch(at, NO_DIGEST, (NO_EPOCH, 0))
        return key, self._seal_in(epoch, Kind.STILL, jpeg, at)

    def _new_epoch(self, at: Instant, prev: bytes, previous: tuple[bytes, int]) -> tuple[Record, _Epoch]:
        epoch, dek = self._random(16), self._random(DEK_BYTES)
        wraps = wrap_dek(dek, self._stream, epoch, self._recipients)
        signed = KeyBody(commit_of(dek), *previous, self._beacon(), wraps).encode()
        header = Header(
            Kind.KEY, self._stream, epoch, 0, len(signed) + 64, len(signed) + 64,
            at.wall_us, at.boot_ns, self._boot_id, prev, trust=at.trust,
        )  # fmt: skip
        record = build_record(header, signed + self._box.sign(header.encode() + signed))
        cipher = cipher_of(self._aead, dek, self._stream, epoch)
        return record, _Epoch(epoch, cipher, at.boot_ns, 1, record.digest)

    def _seal(
        self,
        kind: Kind,
        plain: bytes,
        at: Instant,
        flags: Flag = Flag.NONE,
        duration_us: int = 0,
        tfdt: int = 0,
    ) -> Record:
        """Seal in the running epoch; any failure ends it, so that n and its nonce are never used again."""
        running, self._running = self._running, None
        if running is None:
            raise SealError("no epoch is running; begin one first")
        record = self._seal_in(running, kind, plain, at, flags, duration_us, tfdt)
        self._running = running
        self._note(record, running)
        return record

    def _seal_in(
        self,
        epoch: _Epoch,
        kind: Kind,
        plain: bytes,
        at: Instant,
        flags: Flag = Flag.NONE,
        duration_us: int = 0,
        tfdt: int = 0,
    ) -> Record:
        size = len(plain) + AEAD_TAG_BYTES
        if size > MAX_BODY_BYTES:
            raise SealError(f"{kind.name.lower()} of {len(plain)} bytes is over the format's limit")
        header = Header(
            kind, self._stream, epoch.id, epoch.n, size, len(plain), at.wall_us, at.boot_ns,
            self._boot_id, epoch.digest, flags, self._aead, at.trust, duration_us, tfdt,
        )  # fmt: skip
        record = build_record(header, epoch.cipher.encrypt(nonce_of(epoch.n), plain, header.encode()))
        epoch.n += 1
        epoch.digest = record.digest
        return record

    def _note(self, record: Record, running: _Epoch) -> None:
        self._last_digest = record.digest
        self._last_epoch = (running.id, record.header.n)
