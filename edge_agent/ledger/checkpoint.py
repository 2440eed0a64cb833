"""Signed notes, checkpoints and cosignatures as text. Pure.

Sources: C2SP signed-note (key ids, vkeys, signature lines), tlog-checkpoint (origin, size, root) and
tlog-cosignature (`cosignature/v1`, timestamped). Ed25519 only. Text from outside is capped at 16 KiB and
16 signature lines; whatever does not follow the format raises `FormatError`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger.merkle import HASH_BYTES

MAX_NOTE_BYTES = 16 * 1024
MAX_SIGNATURES = 16
MAX_SIZE = 2**53 - 1

Signer = Callable[[bytes], bytes]

_NAME = re.compile(r"[^\s+]{1,256}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE = re.compile(r"— ([^\s+]{1,256}) ([A-Za-z0-9+/]+={0,2})")


class Algorithm(IntEnum):
    """Signature type bytes assigned by C2SP signed-note."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under a name: what checks one kind of signature line."""

    name: str
    public: bytes  # 32 bytes, RFC 8032
    algorithm: Algorithm = Algorithm.ED25519

    @property
    def key_id(self) -> bytes:
        seed = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(seed).digest()[:4]

    @property
    def vkey(self) -> str:
        material = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read `name+keyid+material`; a key id that does not belong to the key is an error."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        raw = _unbase64(material)
        if not _NAME.fullmatch(name) or len(raw) != 33 or raw[0] not in tuple(Algorithm):
            raise FormatError("not an Ed25519 verifier key of the form name+keyid+material")
        verifier = cls(name, raw[1:], Algorithm(raw[0]))
        if verifier.key_id.hex() != key_id:
            raise FormatError(f"the key id {key_id!r} does not belong to the verifier key of {name}")
        return verifier


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Signed text. `text` ends in a newline; nothing in it counts before a signature is checked."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line for signature in self.signatures)

    def with_signature(self, added: Signature) -> Note:
        """Replace the line of the same key or add one at the end."""
        kept = [s for s in self.signatures if (s.name, s.key_id) != (added.name, added.key_id)]
        return Note(self.text, (*kept, added))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's origin, its number of leaves and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(site: str, public: bytes) -> str:
    """The log's name, `{site}/{key hash}`: new keys are a new log."""
    origin = f"{site}/{hashlib.sha256(public).hexdigest()[:16]}"
    if not _NAME.fullmatch(origin):
        raise LedgerError(f"{site!r} cannot name a ledger: no spaces and no plus sign")
    return origin


def sign(checkpoint: Checkpoint, public: bytes, signer: Signer) -> Note:
    """The log's own signature; its key name is the origin. Only for leaves that are on disk."""
    verifier = Verifier(checkpoint.origin, public)
    value = signer(checkpoint.text.encode())
    return Note(checkpoint.text, (Signature(verifier.name, verifier.key_id, value),))


def cosign(note: Note, cosigner: Verifier, signer: Signer, time_s: int) -> Signature:
    """A `cosignature/v1` line over the note's text at `time_s` (POSIX seconds)."""
    value = time_s.to_bytes(8, "big") + signer(_cosigned_message(note.text, time_s))
    return Signature(cosigner.name, cosigner.key_id, value)


def parse_note(text: str) -> Note:
    """Split text and signature lines; nothing is verified here."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:  # a lone surrogate: JSON can carry one, UTF-8 cannot
        raise FormatError("a signed note is UTF-8") from error
    if length > MAX_NOTE_BYTES or _CONTROL.search(text):
        raise FormatError("a signed note is at most 16 KiB without control characters")
    body, blank, tail = text.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise FormatError("a signed note ends in a blank line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError(f"{len(lines)} signatures on one note")
    return Note(body + "\n", tuple(_parse_signature(line) for line in lines))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's three lines. This log writes no extension lines, so more than three is an error."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _NAME.fullmatch(lines[0]) or not _SIZE.fullmatch(lines[1]):
        raise FormatError("a checkpoint is three lines: origin, size, root")
    size, root = int(lines[1]), _unbase64(lines[2])
    if size > MAX_SIZE or len(root) != HASH_BYTES:
        raise FormatError("a checkpoint's size or root is out of range")
    return Checkpoint(lines[0], size, root)


def open_checkpoint(text: str | Note, log: Verifier) -> tuple[Checkpoint, Note]:
    """Parse a checkpoint and check the log's signature. Raises `LedgerError` if it is not the log's."""
    note = text if isinstance(text, Note) else parse_note(text)
    if not any(_is_by(s, log) and verifies(log.public, s.value, note.text.encode()) for s in note.signatures):
        raise LedgerError(f"the checkpoint is not signed by {log.name}")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.name:
        raise LedgerError(f"the checkpoint is of {checkpoint.origin}, not of {log.name}")
    return checkpoint, note


def cosigned_at(note: Note, cosigner: Verifier) -> int | None:
    """When `cosigner` signed the note (POSIX seconds); None if it did not or the signature is wrong."""
    for signature in note.signatures:
        if not _is_by(signature, cosigner) or len(signature.value) != 72:
            continue
        time_s = int.from_bytes(signature.value[:8], "big")
        if verifies(cosigner.public, signature.value[8:], _cosigned_message(note.text, time_s)):
            return time_s
    return None


def cosignature(note: Note, cosigner: Verifier) -> Signature | None:
    """The cosigner's line, unverified; call `cosigned_at` first."""
    return next((s for s in note.signatures if _is_by(s, cosigner)), None)


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _cosigned_message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _is_by(signature: Signature, verifier: Verifier) -> bool:
    return signature.name == verifier.name and signature.key_id == verifier.key_id


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    raw = _unbase64(match[2]) if match else b""
    if match is None or len(raw) < 5:
        raise FormatError("a signature line is an em dash, a key name and base64")
    return Signature(match[1], raw[:4], raw[4:])


def _unbase64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("not base64") from error
    if base64.b64encode(raw).decode() != text:  # one value, one spelling
        raise FormatError("not canonical base64")
    return raw
