"""ULIDs: 48 bits of wall time, 80 random bits, 26 characters that sort by time (github.com/ulid/spec).

Message ids, session nonces and media sessions are ULIDs: people can order them, nobody can guess them.
"""

from __future__ import annotations

import re
import secrets

from edge_agent.errors import FormatError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
PATTERN = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
_VALUE = {c: i for i, c in enumerate(ALPHABET)}
_SHAPE = re.compile(PATTERN)


def new(wall_us: int, entropy: bytes | None = None) -> str:
    """A fresh ULID. `entropy` (10 bytes) is for tests only; a clock before 1970 counts as 1970."""
    random = secrets.token_bytes(10) if entropy is None else entropy
    milliseconds = max(0, wall_us // 1000) & (1 << 48) - 1
    return from_bytes(milliseconds.to_bytes(6, "big") + random)


def from_bytes(raw: bytes) -> str:
    """The text of 16 bytes."""
    if len(raw) != 16:
        raise FormatError(f"a ULID has 16 bytes, not {len(raw)}")
    number = int.from_bytes(raw, "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def to_bytes(text: str) -> bytes:
    """The 16 bytes of a ULID. Raises FormatError on anything but 26 canonical characters."""
    if not _SHAPE.fullmatch(text):
        raise FormatError("not a ULID")
    number = 0
    for character in text:
        number = number << 5 | _VALUE[character]
    return number.to_bytes(16, "big")
