"""The sealed records behind the clips: headers, key records, order, and sealing again (docs/format.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_agent.verify.notes import Key, verifies
from edge_agent.verify.report import Findings, Place

HEADER, DIGEST = 136, 32
KEY, INIT, FRAGMENT, GAP, TIPS = 1, 2, 3, 4, 6
MAX_BODY = 8 << 20
MAX_ROWS = 200_000
JOIN_US = 1_000_000

_FIELDS = struct.Struct(">4sHBBBBHI16s16sQqQ16sIIQ32s")
_GAP_TIMES = struct.Struct(">qQqQ")
_TIP = struct.Struct(">16s16sQ32s")
_CIPHERS: dict[int, type[AESGCM] | type[ChaCha20Poly1305]] = {1: AESGCM, 2: ChaCha20Poly1305}


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its header as bytes and read, the body where the package has it sealed, its digest."""

    raw: bytes
    kind: int
    keyframe: bool
    aead: int
    body_length: int
    stream: bytes
    epoch: bytes
    n: int
    wall_us: int
    duration_us: int
    plain_length: int
    tfdt: int
    prev: bytes
    body: bytes
    digest: bytes

    @property
    def end_us(self) -> int:
        return self.wall_us + self.duration_us

    def place(self, camera: str, clip: str = "") -> Place:
        return Place(camera, self.epoch.hex(), self.n, self.wall_us, clip)


@dataclass(frozen=True, slots=True)
class Hole:
    """As the manifest must list it. `row` is the fragment after it, -1 at the end."""

    from_us: int
    to_us: int
    row: int
    missing: bool


def read_rows(raw: bytes, findings: Findings) -> list[Row]:
    """`records.bin`. What follows a header that cannot be one is not read."""
    rows: list[Row] = []
    at = 0
    while at < len(raw) and len(rows) < MAX_ROWS:
        row, at = _row(raw, at)
        if row is None:
            findings.add("records.bin", f"row {len(rows)} is not a record; the rest cannot be read")
            break
        rows.append(row)
    findings.check(at >= len(raw) or row is None, "records.bin", "it has more records than any package")
    return rows


def read_tips(raw: bytes, findings: Findings) -> list[tuple[Row, list[bytes]]]:
    """`tips.bin`: whole records in clear, each with its rows of 72 bytes."""
    found: list[tuple[Row, list[bytes]]] = []
    at = 0
    while at < len(raw):
        row = _header(raw[at : at + HEADER], b"", b"")
        if row is None or row.kind != TIPS or row.body_length % _TIP.size:
            findings.add("tips.bin", f"record {len(found)} is none; the rest cannot be read")
            break
        end = at + HEADER + row.body_length
        digest = hashlib.sha256(raw[at:end]).digest()
        findings.check(raw[end : end + 8] == digest[:8], "tips.bin", f"record {len(found)} was altered")
        body = raw[at + HEADER : end]
        found.append((row, [body[i : i + _TIP.size] for i in range(0, len(body), _TIP.size)]))
        at = end + 8
    return found


class Sealer:
    """Seals plaintext again as the box did, with the disclosed keys."""

    def __init__(self, deks: dict[bytes, bytes]) -> None:
        self._deks = deks
        self._ciphers: dict[tuple[bytes, int], AESGCM | ChaCha20Poly1305] = {}

    def digest(self, row: Row, plain: bytes) -> bytes | None:
        """What the record's digest must be if `plain` is what was sealed; None if it cannot be sealed."""
        cipher = self._cipher(row)
        if cipher is None:
            return None
        body = cipher.encrypt(row.n.to_bytes(12, "big"), plain, row.raw)
        return hashlib.sha256(row.raw + body).digest()

    def open(self, row: Row) -> bytes | None:
        cipher = self._cipher(row)
        try:
            return cipher.decrypt(row.n.to_bytes(12, "big"), row.body, row.raw) if cipher else None
        except InvalidTag:
            return None

    def _cipher(self, row: Row) -> AESGCM | ChaCha20Poly1305 | None:
        known = self._ciphers.get((row.epoch, row.aead))
        dek = self._deks.get(row.epoch)
        if known is None and dek is not None and row.aead in _CIPHERS:
            known = _CIPHERS[row.aead](hkdf(dek, b"ear1 aead" + row.stream + row.epoch))
            self._ciphers[row.epoch, row.aead] = known
        return known


def check_keys(
    rows: Sequence[Row], deks: dict[bytes, bytes], box: Key, camera: str, findings: Findings
) -> None:
    """Every epoch begins with one key record that the box signed; the disclosed key is the one it names."""
    named: set[bytes] = set()
    for row in rows:
        place = row.place(camera)
        if row.kind != KEY:
            findings.check(row.epoch in named, "records.bin", "a record before its epoch's key record", place)
            continue
        findings.check(row.epoch not in named, "records.bin", "an epoch that comes twice", place)
        named.add(row.epoch)
        signed = row.raw + row.body[:-64]
        if not findings.check(
            len(row.body) > 153 and verifies(box.public, row.body[-64:], signed),
            "records.bin", "a key record that the box did not sign", place,
        ):  # fmt: skip
            continue
        dek = deks.get(row.epoch)
        findings.check(
            dek is not None and hkdf(dek, b"ear1 commit") == row.body[:32],
            "manifest.json", "the disclosed key is not the one of the epoch", place,
        )  # fmt: skip
    findings.check(named == set(deks), "manifest.json", "keys are disclosed of epochs that are not here")


def check_order(rows: Sequence[Row], stream: bytes, camera: str, findings: Findings) -> None:
    """Numbers rise, digests chain; a jump is a hole, which the gap list must name."""
    before: Row | None = None
    for row in rows:
        place = row.place(camera)
        findings.check(row.stream == stream, "records.bin", "a record of another stream", place)
        if row.kind in (KEY, GAP):
            digest = hashlib.sha256(row.raw + row.body).digest()
            findings.check(digest == row.digest, "records.bin", "a record that was altered", place)
        if before is not None and before.epoch == row.epoch:
            if row.n <= before.n:
                findings.add("records.bin", f"record {row.n} stands after record {before.n}", place)
            elif row.n == before.n + 1:
                fits = row.prev == before.digest
                findings.check(fits, "records.bin", "a record that does not follow the one before", place)
        elif row.n != 0:
            findings.add("records.bin", f"an epoch that begins with record {row.n}", place)
        headed = row.n < 2 or (before is not None and before.n > 0)
        findings.check(headed, "records.bin", "a record without its init record before it", place)
        right = (row.kind == KEY) == (row.n == 0) and (row.kind == INIT) == (row.n == 1)
        findings.check(right, "records.bin", "a record of a kind that cannot stand here", place)
        before = row


def holes_of(rows: Sequence[Row], from_us: int, to_us: int) -> list[Hole]:
    """What is missing between two moments: pauses of over a second, and records that are not there."""
    found: list[Hole] = []
    reach, missing, first = from_us, False, True
    before: Row | None = None
    for i, row in enumerate(rows):
        missing |= before is not None and not _may_follow(before, row, joining=row.epoch == rows[0].epoch)
        before = row
        if row.kind != FRAGMENT:
            continue
        if row.wall_us - reach > JOIN_US or missing:
            found.append(Hole(reach, max(reach, row.wall_us), i, missing))
        reach = max(reach, row.end_us) if first else row.end_us
        missing = first = False
    if to_us - reach > JOIN_US:
        found.append(Hole(reach, to_us, -1, missing=False))
    return found


def gap_reasons(
    rows: Sequence[Row], sealer: Sealer, camera: str, findings: Findings
) -> list[tuple[int, int, str]]:
    """(since, until, why) of every gap record."""
    told: list[tuple[int, int, str]] = []
    for row in rows:
        if row.kind != GAP:
            continue
        plain = sealer.open(row)
        if plain is None or len(plain) < _GAP_TIMES.size:
            findings.add("records.bin", "a gap record that does not open", row.place(camera))
            continue
        since_us, _, until_us, _ = _GAP_TIMES.unpack_from(plain)
        told.append((since_us, until_us, plain[_GAP_TIMES.size :].decode(errors="replace")))
    return told


def tip_of(row: Row) -> bytes:
    return _TIP.pack(row.stream, row.epoch, row.n, row.digest)


def stream_id(box: Key, uid: str, role: str) -> bytes:
    name = uid.encode()
    box_id = hashlib.sha256(box.public).digest()
    return hashlib.sha256(box_id + len(name).to_bytes(2, "big") + name + role.encode()).digest()[:16]


def tips_stream(box: Key) -> bytes:
    return hashlib.sha256(hashlib.sha256(box.public).digest() + b"\0\0tips").digest()[:16]


def hkdf(dek: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=info).derive(dek)


def _may_follow(before: Row, row: Row, *, joining: bool) -> bool:
    """`joining`: in the first epoch footage may begin after any number of records."""
    if before.epoch == row.epoch:
        return row.n == before.n + 1 or (joining and before.n == 1)
    return row.n == 0 and row.prev in (before.digest, bytes(32))


def _row(raw: bytes, at: int) -> tuple[Row | None, int]:
    head = raw[at : at + HEADER]
    bare = _header(head, b"", b"")
    if bare is None or bare.kind not in (KEY, INIT, FRAGMENT, GAP):
        return None, at
    inline = bare.body_length if bare.kind in (KEY, GAP) else 0
    body = raw[at + HEADER : at + HEADER + inline]
    end = at + HEADER + inline + DIGEST
    digest = raw[end - DIGEST : end]
    return (None if len(digest) < DIGEST or end > len(raw) else _header(head, body, digest)), end


def _header(head: bytes, body: bytes, digest: bytes) -> Row | None:
    if len(head) < HEADER:
        return None
    (
        magic, length, kind, flags, aead, trust, reserved, body_length,
        stream, epoch, n, wall, _, _, lasts, plain, tfdt, prev,
    ) = _FIELDS.unpack(head)  # fmt: skip
    tag = 16 if aead else 0
    if (magic, length, reserved) != (b"EAR1", HEADER, 0) or body_length > MAX_BODY or flags & ~3 or trust > 3:
        return None
    if aead > 2 or body_length != plain + tag or (aead == 0) != (kind in (KEY, TIPS)):
        return None
    return Row(
        head, kind, bool(flags & 1), aead, body_length, stream, epoch, n, wall, lasts, plain, tfdt, prev,
        body, digest,
    )  # fmt: skip
