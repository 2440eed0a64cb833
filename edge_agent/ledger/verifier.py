"""Checks a ledger directory offline. Shares no code with the rest: a second reading of docs/ledger.md.

Everything is recomputed from the leaves; the hash file, the newest own checkpoint and the command centre's
cosigned one are held against the result.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_PART = re.compile(r"leaves-(\d{6,12})-(\d{12})\.log")
_MAX_LEAF = 4096
_MAX_HOLE = 10_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` is empty when everything holds. `pruned` leaves at the beginning and `unreadable` ones
    elsewhere are known by their hash alone; `unsigned` leaves at the end are not covered yet."""

    origin: str
    size: int
    root: str
    pruned: int
    unreadable: int
    signed: int
    cosigned: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def unsigned(self) -> int:
        return self.size - self.signed


@dataclass(slots=True)
class _Findings:
    problems: list[str] = field(default_factory=list)

    def check(self, holds: bool, problem: str) -> bool:
        if not holds:
            self.problems.append(problem)
        return holds


def verify_directory(path: Path, *, vkey: str | None = None, cosigners: tuple[str, ...] = ()) -> Report:
    """Verify the ledger in `path` against `vkey` (default: the one written beside it) and the cosigners.

    Never raises for what the files contain: every fault is a sentence in the report.
    """
    found = _Findings()
    vkey = vkey or _text(path / "vkey").strip()
    origin = vkey.split("+")[0]
    own, stored = _text(path / "checkpoint"), _text(path / "cosigned")
    hashes = _read_hash_file(path / "hashes")
    leaves = _read_leaves(path, found)  # last: a daemon that runs writes them first
    tree = [_leaf_hash(leaf) if leaf is not None else None for leaf in leaves]
    known = _held_against_hash_file(tree, hashes, found)
    signed = _signed_size(own, vkey, known, "own checkpoint", found)
    cosigned = _cosigned_size(stored, vkey, cosigners, known, found)
    gone = [index for index in range(len(known)) if index >= len(leaves) or leaves[index] is None]
    pruned = sum(index < _oldest_part(path) for index in gone)
    for start, end in _runs(gone[pruned:]):
        found.check(False, f"leaves {start} to {end - 1} cannot be read, only their hashes are left")
    return Report(
        origin=origin,
        size=len(known),
        root=_root(known).hex(),
        pruned=pruned,
        unreadable=len(gone) - pruned,
        signed=signed,
        cosigned=cosigned,
        problems=tuple(found.problems),
    )


def read_leaves(path: Path) -> list[bytes | None]:
    """All leaves in order, None where a body cannot be read: for `ledger show`."""
    return _read_leaves(path, _Findings())


def _oldest_part(path: Path) -> int:
    """Where the leaves begin whose bodies are still kept."""
    names = (_PART.fullmatch(part.name) for part in path.glob("leaves-*.log"))
    return min((int(match[2]) for match in names if match), default=0)


def _read_leaves(path: Path, found: _Findings) -> list[bytes | None]:
    names = [(m, p) for p in path.glob("leaves-*.log") if (m := _PART.fullmatch(p.name))]
    leaves: list[bytes | None] = []
    for match, part in sorted(names, key=lambda item: int(item[0][1])):
        first = int(match[2])
        if not found.check(first - len(leaves) < _MAX_HOLE, f"{part.name} begins too far away"):
            break
        del leaves[first:]  # a later part replaces from its first index on
        leaves += [None] * (first - len(leaves))
        leaves += _frames(part.read_bytes())
    found.check(bool(names) or not (path / "checkpoint").exists(), "there are no leaves at all")
    return leaves


def _frames(content: bytes) -> list[bytes | None]:
    """Leaves of one part; a damaged one keeps its place if a whole frame follows it."""
    leaves: list[bytes | None] = []
    at = 0
    while at < len(content):
        leaf, following = _frame(content, at)
        if leaf is None and _frame(content, following)[0] is None:
            break
        leaves.append(leaf)
        at = following
    return leaves


def _frame(content: bytes, at: int) -> tuple[bytes | None, int]:
    length = int.from_bytes(content[at : at + 4], "big")
    leaf, crc = content[at + 4 : at + 4 + length], content[at + 4 + length : at + 8 + length]
    whole = 0 < length <= _MAX_LEAF and len(crc) == 4 and zlib.crc32(leaf).to_bytes(4, "big") == crc
    return (leaf if whole else None), at + 8 + length


def _read_hash_file(path: Path) -> list[bytes]:
    """Leaf hashes alone: the leaf i stands before the nodes that it completes."""
    content = path.read_bytes() if path.exists() else b""
    hashes: list[bytes] = []
    at = 0
    while len(entry := content[at * 32 : at * 32 + 32]) == 32:
        hashes.append(entry)
        completes = ((len(hashes) - 1) ^ len(hashes)).bit_length() - 1
        at += 1 + completes
    return hashes


def _held_against_hash_file(tree: list[bytes | None], stored: list[bytes], found: _Findings) -> list[bytes]:
    """The leaf hashes to go on with: computed where there is a body, else the stored one."""
    known: list[bytes] = []
    for index in range(max(len(tree), len(stored))):
        computed = tree[index] if index < len(tree) else None
        kept = stored[index] if index < len(stored) else None
        if computed and kept:
            found.check(computed == kept, f"leaf {index} is not the one that was hashed")
        if computed is None and kept is None:
            found.check(False, f"leaf {index} is gone, and so is its hash")
            break
        known.append(computed or kept or b"")
    return known


def _signed_size(note: str, vkey: str, known: list[bytes], what: str, found: _Findings) -> int:
    """How many leaves the note covers; 0 with a problem noted when it does not hold."""
    text, _, _ = note.rpartition("\n\n")
    lines = text.split("\n")
    if not note:
        found.check(not known, f"there is no {what}")
        return 0
    if not found.check(_signature(note, vkey, 1) is not None, f"the {what} is not signed by {vkey[:40]}"):
        return 0
    size, root = int(lines[1]), base64.b64decode(lines[2])
    if not found.check(lines[0] == vkey.split("+")[0], f"the {what} is of another ledger: {lines[0]}"):
        return 0
    if not found.check(size <= len(known), f"the {what} covers {size} leaves, only {len(known)} are here"):
        return 0
    holds = found.check(_root(known[:size]) == root, f"the first {size} leaves are not those of the {what}")
    return size if holds else 0


def _cosigned_size(
    stored: str, vkey: str, cosigners: tuple[str, ...], known: list[bytes], found: _Findings
) -> int:
    if not stored:
        return 0
    try:
        document = json.loads(stored)
        note = str(document.get("mirror", document["witness"]))
    except (ValueError, KeyError, AttributeError, RecursionError):
        found.check(False, "the cosigned checkpoint cannot be read")
        return 0
    by_one = [_signature(note, key, 4) is not None for key in cosigners]
    found.check(
        any(by_one) or not cosigners, "the cosigned checkpoint carries none of the given cosignatures"
    )
    return _signed_size(note, vkey, known, "cosigned checkpoint", found)


def _signature(note: str, vkey: str, kind: int) -> bytes | None:
    """The raw signature of `vkey` on the note if it verifies. Kind 1 is plain, 4 a cosignature/v1."""
    try:
        name, key_id, material = vkey.split("+", 2)
        raw = base64.b64decode(material)
        text, lines = note.rpartition("\n\n")[0] + "\n", note.rpartition("\n\n")[2].splitlines()
        public = Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError:
        return None
    for line in lines:
        dash, line_name, value = (*line.split(" "), "", "")[:3]
        blob = _unbase64(value)
        if raw[0] != kind or (dash, line_name, blob[:4].hex()) != ("—", name, key_id):
            continue
        stamp = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n" if kind == 4 else ""
        try:
            public.verify(blob[12:] if kind == 4 else blob[4:], (stamp + text).encode())
        except InvalidSignature:
            return None
        return blob
    return None


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def _leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _root(hashes: list[bytes]) -> bytes:
    """RFC 6962 by levels: pair up, an odd one out moves up as it is."""
    level = hashes
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)
        ]
        level = paired + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def _runs(indexes: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
