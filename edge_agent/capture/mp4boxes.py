"""ISO base media boxes (ISO/IEC 14496-12), written and walked."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edge_agent.errors import FormatError

_HEADER = struct.Struct(">I4s")
UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return _HEADER.pack(8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, (version << 24 | flags).to_bytes(4, "big"), *parts)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """(kind, body start, body end) of the boxes in a range. Raises FormatError on a bad size."""
    end = len(data) if end is None else end
    while start < end:
        if end - start < 8:
            raise FormatError("box ends early")
        size, kind = _HEADER.unpack_from(data, start)
        if size < 8 or start + size > end:
            raise FormatError(f"box {kind!r} has an impossible size")
        yield kind, start + 8, start + size
        start += size


def find(data: bytes, *path: bytes) -> tuple[int, int]:
    """Body range of the first box along `path`. Raises FormatError when it is missing."""
    start, end = 0, len(data)
    for wanted in path:
        inside = next(((s, e) for kind, s, e in walk(data, start, end) if kind == wanted), None)
        if inside is None:
            raise FormatError(f"no {wanted.decode('ascii', 'replace')} box")
        start, end = inside
    return start, end
