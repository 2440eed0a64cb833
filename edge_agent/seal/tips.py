"""The `tips` record: the list behind a minute mark's root, kept in the ring. docs/format.md section 3.4."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from hashlib import sha256

from edge_agent.errors import FormatError
from edge_agent.model import Instant
from edge_agent.seal.record import (
    DIGEST_PREFIX_BYTES,
    HEADER_BYTES,
    NO_DIGEST,
    Header,
    Kind,
    Record,
    Tip,
    build_record,
)

_ROW = struct.Struct(">16s16sQ32s")


class TipsSealer:
    """The box's own stream of tips records, in clear: they hold digests of ciphertext only.

    One per run, main thread. It has no key record, so n starts at 0; each record chains to the one before.
    What makes a list binding is the root over it in the ledger.
    """

    def __init__(self, box_id: bytes, boot_id: bytes) -> None:
        self._stream = tips_stream(box_id)
        self._boot_id = boot_id
        self._epoch = os.urandom(16)
        self._n = 0
        self._prev = NO_DIGEST

    def seal(self, tips: Iterable[Tip], at: Instant) -> Record:
        """The list sorted, as the root takes it."""
        body = b"".join(_ROW.pack(t.stream, t.epoch, t.n, t.digest) for t in sorted(tips))
        header = Header(
            Kind.TIPS, self._stream, self._epoch, self._n, len(body), len(body),
            at.wall_us, at.boot_ns, self._boot_id, self._prev, trust=at.trust,
        )  # fmt: skip
        record = build_record(header, body)
        self._n, self._prev = self._n + 1, record.digest
        return record


def tips_size(count: int) -> int:
    """Bytes that a record of so many tips takes on disk: what to reserve before sealing."""
    return HEADER_BYTES + count * _ROW.size + DIGEST_PREFIX_BYTES


def tips_stream(box_id: bytes) -> bytes:
    """The stream id of a box's tips records; no camera uid is empty, so it is no camera's."""
    return sha256(box_id + b"\x00\x00tips").digest()[:16]


def parse_tips(record: Record) -> tuple[Tip, ...]:
    """Raises FormatError when the record is of another kind or its rows are not whole and sorted."""
    body = bytes(record.body)
    if record.header.kind is not Kind.TIPS or len(body) % _ROW.size:
        raise FormatError("tips record: malformed")
    tips = tuple(Tip(*row) for row in _ROW.iter_unpack(body))
    if list(tips) != sorted(set(tips)):
        raise FormatError("tips record: not sorted, or a row twice")
    return tips
