"""Signed notes, checkpoints, cosignatures (C2SP) and inclusion proofs (RFC 9162 section 2.1.3.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PLAIN, COSIGNATURE = 1, 4
MAX_NOTE = 16 * 1024

_LINE = re.compile(r"— ([^\s+]{1,256}) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key, `name+id+material`. `kind` 1 signs plainly, 4 cosigns with a time."""

    name: str
    kind: int
    public: bytes
    vkey: str

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head that the box signed. `cosigned_s`: when the mirror (or witness) signed it too, POSIX."""

    size: int
    root: bytes
    cosigned_s: int | None = None


def parse_key(vkey: str) -> Key:
    """Raises ValueError for anything that is no Ed25519 verifier key."""
    name, _, rest = vkey.partition("+")
    key_id, _, material = rest.partition("+")
    raw = base64.b64decode(material, validate=True)
    if len(raw) != 33 or raw[0] not in (PLAIN, COSIGNATURE) or not re.fullmatch(r"[^\s+]{1,256}", name):
        raise ValueError("not a verifier key of the form name+id+base64")
    key = Key(name, raw[0], raw[1:], vkey)
    if key.id.hex() != key_id:
        raise ValueError(f"the id of the key of {name} does not belong to it")
    return key


def signed_text(note: str, key: Key) -> str | None:
    """The note's text if `key` signed it plainly, else None."""
    found = _signature(note, key)
    if found is None:
        return None
    text, value = found
    return text if verifies(key.public, value, text.encode()) else None


def cosigned_at(note: str, key: Key) -> int | None:
    """When `key` cosigned the note (POSIX seconds), None when it did not."""
    found = _signature(note, key)
    if found is None or len(found[1]) != 72:
        return None
    text, value = found
    time_s = int.from_bytes(value[:8], "big")
    message = f"cosignature/v1\ntime {time_s}\n{text}"
    return time_s if verifies(key.public, value[8:], message.encode()) else None


def head_of(note: str, box: Key) -> Head | None:
    """The checkpoint in the note, if it is the box's own and signed by it."""
    text = signed_text(note, box)
    lines = (text or "").split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != box.name or not _SIZE.fullmatch(lines[1]):
        return None
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError:
        return None
    return Head(int(lines[1]), root) if len(root) == 32 else None


def included(leaf: bytes, index: int, proof: Sequence[bytes], head: Head) -> bool:
    """Does the leaf with these bytes stand at `index` under the head?"""
    if not 0 <= index < head.size:
        return False
    node, last, seen = index, head.size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for part in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            seen = _node(part, seen)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            seen = _node(seen, part)
        node, last = node >> 1, last >> 1
    return last == 0 and seen == head.root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 by levels: pair up, an odd one out moves up as it is."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        paired = [_node(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + (level[-1:] if len(level) % 2 else [])
    return level[0]


def _signature(note: str, key: Key) -> tuple[str, bytes] | None:
    body, blank, tail = note.rpartition("\n\n")
    if not blank or len(note) > MAX_NOTE:
        return None
    for line in tail.split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or match[1] != key.name:
            continue
        try:
            blob = base64.b64decode(match[2], validate=True)
        except ValueError:
            continue
        if blob[:4] == key.id:
            return body + "\n", blob[4:]
    return None


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
