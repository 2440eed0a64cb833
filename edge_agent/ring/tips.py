"""The last durable record of every stream, kept at a clean stop: the next run chains its epochs to it.

Written once, at the end of a run. It counts only while the segment it names is still the newest: after a
crash the new run has made a newer one, so a stale file can never be believed (docs/design/ring.md, I8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from edge_agent.ring.layout import TIPS_NAME
from edge_agent.ring.store import Store
from edge_agent.seal.record import Tip

_HEAD = struct.Struct(">4sIQ")  # magic, count, newest segment
_TIP = struct.Struct(">16s16sQ32s")
_MAGIC = b"EAT1"
_MAX_BYTES = 1 << 20


def encode_tips(newest_segment: int, tips: Iterable[Tip]) -> bytes:
    rows = b"".join(_TIP.pack(t.stream, t.epoch, t.n, t.digest) for t in sorted(tips))
    body = _HEAD.pack(_MAGIC, len(rows) // _TIP.size, newest_segment) + rows
    return body + sha256(body).digest()


def left_behind(store: Store) -> dict[bytes, Tip] | None:
    """The tips of the run before; None unless it stopped cleanly. A listing and one small file."""
    try:
        found = store.segments()
    except OSError:
        return None
    return load_tips(store.directory, found[-1][0]) if found else None


def load_tips(directory: Path, newest_segment: int) -> dict[bytes, Tip] | None:
    """By stream; None when the last run did not stop cleanly, or the file does not hold."""
    try:
        with (directory / TIPS_NAME).open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError:
        return None
    body = data[:-32]
    if len(body) < _HEAD.size or sha256(body).digest() != data[-32:]:
        return None
    magic, count, newest = _HEAD.unpack_from(body)
    if magic != _MAGIC or newest != newest_segment or len(body) != _HEAD.size + count * _TIP.size:
        return None
    return {fields[0]: Tip(*fields) for fields in _TIP.iter_unpack(body[_HEAD.size :])}
