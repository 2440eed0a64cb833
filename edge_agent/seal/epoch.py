"""One epoch's keys: how they are derived, sealed to recipients, signed by the box, and opened again.

docs/format.md section 3. HPKE (RFC 9180) in base mode authenticates nobody, so the box signs the key
record: without that, anyone who knows the ICCC's public key could forge footage.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_agent.errors import FormatError, SealError
from edge_agent.seal.keys import MAX_RECIPIENTS, Recipient
from edge_agent.seal.record import HEADER_BYTES, Aead, Header, Kind, Record

DEK_BYTES = 32
SUITE_X25519_CHACHA = 1  # DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305
SIGNATURE_BYTES = 64

Cipher = AESGCM | ChaCha20Poly1305

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_PREFIX = struct.Struct(">32s16sQ32sB")  # commit, previous epoch, its last n, beacon, count
_WRAP = struct.Struct(">HH")  # suite, length


@dataclass(frozen=True, slots=True)
class Wrap:
    """The epoch's key, sealed to one recipient: `sealed` is HPKE enc || ct."""

    recipient: str
    suite: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class KeyBody:
    """What a key record says. `previous_epoch` is zeros when this run knows of none."""

    commit: bytes
    previous_epoch: bytes
    previous_n: int
    beacon: bytes
    wraps: tuple[Wrap, ...]

    def encode(self) -> bytes:
        """The body up to the signature."""
        parts = [
            _PREFIX.pack(self.commit, self.previous_epoch, self.previous_n, self.beacon, len(self.wraps))
        ]
        for wrap in self.wraps:
            name = wrap.recipient.encode()
            parts += (bytes((len(name),)), name, _WRAP.pack(wrap.suite, len(wrap.sealed)), wrap.sealed)
        return b"".join(parts)


def cipher_of(aead: Aead, dek: bytes, stream: bytes, epoch: bytes) -> Cipher:
    """The epoch's AEAD, keyed by HKDF-SHA256(DEK, "ear1 aead" || stream || epoch)."""
    key = _hkdf(dek, b"ear1 aead" + stream + epoch)
    if aead is Aead.AES_256_GCM:
        return AESGCM(key)
    if aead is Aead.CHACHA20_POLY1305:
        return ChaCha20Poly1305(key)
    raise SealError("a sealed record names its AEAD")


def nonce_of(n: int) -> bytes:
    """Four zero bytes and n: unique, because a key lives for one epoch and n never repeats in it."""
    return n.to_bytes(12, "big")


def commit_of(dek: bytes) -> bytes:
    """Binds a record to one key: AES-GCM alone would open under a second, prepared one."""
    return _hkdf(dek, b"ear1 commit")


def wrap_dek(dek: bytes, stream: bytes, epoch: bytes, recipients: Sequence[Recipient]) -> tuple[Wrap, ...]:
    """Seal the epoch's key to every recipient. Raises SealError for a public key that X25519 refuses."""
    commit = commit_of(dek)
    wraps = []
    for recipient in recipients:
        info = _hpke_info(stream, epoch, commit, recipient.id)
        try:
            sealed = _HPKE.encrypt(dek, X25519PublicKey.from_public_bytes(recipient.public_key), info)
        except (ValueError, InvalidTag) as error:
            raise SealError(f"recipient {recipient.id}: not a usable X25519 public key") from error
        wraps.append(Wrap(recipient.id, SUITE_X25519_CHACHA, sealed))
    return tuple(wraps)


def unwrap_dek(header: Header, body: KeyBody, recipient_id: str, private_key: bytes) -> bytes:
    """The epoch's key for `recipient_id`. Raises SealError when it is not a recipient or the key differs."""
    for wrap in body.wraps:
        if wrap.recipient != recipient_id:
            continue
        if wrap.suite != SUITE_X25519_CHACHA:
            raise SealError(f"key record: HPKE suite {wrap.suite} is unknown")
        info = _hpke_info(header.stream, header.epoch, body.commit, recipient_id)
        try:
            dek = _HPKE.decrypt(wrap.sealed, X25519PrivateKey.from_private_bytes(private_key), info)
        except (InvalidTag, ValueError) as error:
            raise SealError(f"key record: not sealed to {recipient_id}'s key") from error
        if not hmac.compare_digest(commit_of(dek), body.commit):
            raise SealError("key record: the key does not match its commitment")
        return dek
    raise SealError(f"key record: {recipient_id} is not among its recipients")


def parse_key_body(record: Record, box_public: bytes) -> KeyBody:
    """Check the box's signature, then read. Raises SealError for a forgery, FormatError for bad bytes."""
    header = record.header
    if header.kind is not Kind.KEY or header.aead is not Aead.NONE or header.n != 0:
        raise FormatError("key record: must be in clear and the epoch's first")
    body = bytes(record.body)
    if len(body) < _PREFIX.size + SIGNATURE_BYTES:
        raise FormatError("key record: cut short")
    signed = record.raw[:HEADER_BYTES] + body[:-SIGNATURE_BYTES]
    try:
        Ed25519PublicKey.from_public_bytes(box_public).verify(body[-SIGNATURE_BYTES:], signed)
    except (InvalidSignature, ValueError) as error:
        raise SealError("key record: not signed by this box") from error
    return _parse_signed(body[:-SIGNATURE_BYTES])


def _parse_signed(body: bytes) -> KeyBody:
    commit, previous_epoch, previous_n, beacon, count = _PREFIX.unpack_from(body)
    if count > MAX_RECIPIENTS:
        raise FormatError(f"key record: {count} recipients are over the limit")
    at = _PREFIX.size
    wraps = []
    try:
        for _ in range(count):
            wrap, at = _parse_wrap(body, at)
            wraps.append(wrap)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise FormatError("key record: recipients are cut short") from error
    if at != len(body):
        raise FormatError("key record: bytes left over")
    return KeyBody(commit, previous_epoch, previous_n, beacon, tuple(wraps))


def _parse_wrap(body: bytes, at: int) -> tuple[Wrap, int]:
    name_end = at + 1 + body[at]
    suite, length = _WRAP.unpack_from(body, name_end)
    start = name_end + _WRAP.size
    if start + length > len(body):
        raise IndexError
    return Wrap(body[at + 1 : name_end].decode(), suite, body[start : start + length]), start + length


def _hpke_info(stream: bytes, epoch: bytes, commit: bytes, recipient_id: str) -> bytes:
    return b"ear1 dek" + stream + epoch + commit + recipient_id.encode()


def _hkdf(dek: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), DEK_BYTES, salt=None, info=info).derive(dek)
