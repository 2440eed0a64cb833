"""The records of an export without their pictures: what stays in memory as gigabytes pass. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.exceptions import InvalidTag

from edge_agent.errors import FormatError, SealError
from edge_agent.seal.epoch import Cipher, Wrap, cipher_of, commit_of, nonce_of, parse_key_body, unwrap_dek
from edge_agent.seal.opener import gap_of
from edge_agent.seal.record import HEADER_BYTES, Header, Kind, Record, Tip
from edge_agent.seal.rewrap import open_rewrapped

MAX_ROWS = 200_000  # six hours of fragments of 0.2 s, and as many again

Identity = tuple[bytes, int]  # epoch, n


@dataclass(frozen=True, slots=True)
class Row:
    """One record: `body` is kept of key and gap records (as sealed) and, opened, of init records."""

    header: Header
    digest: bytes
    body: bytes = b""

    @property
    def identity(self) -> Identity:
        return self.header.epoch, self.header.n

    @property
    def tip(self) -> Tip:
        return Tip(self.header.stream, self.header.epoch, self.header.n, self.digest)


class Keyring:
    """Opens the epochs that are sealed to one recipient; remembers each disclosed key."""

    def __init__(
        self, box_public: bytes, recipient_id: str, private_key: bytes,
        rewrapped: Mapping[bytes, Wrap] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`rewrapped`: wraps that a hold made later, by epoch (`seal.rewrap`)."""
        self._rewrapped = rewrapped
        self._box_public = box_public
        self._recipient = (recipient_id, private_key)
        self.deks: dict[bytes, bytes] = {}
        self._ciphers: dict[tuple[bytes, int], Cipher] = {}

    def admit(self, key: Record) -> None:
        """Raises SealError when the box did not sign the record or did not seal it to the recipient."""
        body = parse_key_body(key, self._box_public)
        wrap = self._rewrapped.get(key.header.epoch)
        if wrap is None:
            dek = unwrap_dek(key.header, body, *self._recipient)
        else:
            dek = open_rewrapped(key, self._box_public, wrap, self._recipient[1])
        known = self.deks.setdefault(key.header.epoch, dek)
        if commit_of(known) != body.commit:
            raise SealError("a second, different key record for one epoch")

    def open(self, record: Record) -> bytes:
        """The plaintext. Raises SealError for a record that was altered."""
        header = record.header
        named = (header.epoch, int(header.aead))
        cipher = self._ciphers.get(named)
        if cipher is None:
            if header.epoch not in self.deks:
                raise SealError("record of an epoch whose key record has not been seen")
            cipher = cipher_of(header.aead, self.deks[header.epoch], header.stream, header.epoch)
            self._ciphers[named] = cipher
        try:
            return cipher.decrypt(nonce_of(header.n), record.body, record.raw[:HEADER_BYTES])
        except InvalidTag as error:
            raise SealError(f"record {header.n} does not open: altered, or another key") from error


def survey(records: Iterable[Record], keyring: Keyring) -> list[Row]:
    """Read all records once. Raises SealError, FormatError, and whatever the reading raises."""
    rows: list[Row] = []
    for record in records:
        kind = record.header.kind
        body = b""
        if kind is Kind.KEY:
            keyring.admit(record)
            body = bytes(record.body)
        elif kind is Kind.INIT:
            body = keyring.open(record)
        elif kind is Kind.GAP:
            body = bytes(record.body)
        rows.append(Row(record.header, record.digest, body))
        if len(rows) > MAX_ROWS:
            raise FormatError("too much footage for one package; export shorter stretches")
    return rows


def trimmed(rows: list[Row], to_us: int, tips: set[Tip]) -> list[Row]:
    """Footage up to `to_us` and on to the first record that a minute mark names; without one, up to `to_us`.

    Only what a mark names, or what the chain leads from there, is anchored; so up to a minute more is told.
    """
    asked = [
        i for i, row in enumerate(rows) if row.header.kind is Kind.FRAGMENT and row.header.wall_us < to_us
    ]
    if not asked:
        return []
    last = reach = asked[-1]
    while rows[reach].tip not in tips:
        if reach + 1 == len(rows) or rows[reach + 1].header.prev != rows[reach].digest:
            return rows[: last + 1]  # no mark can be reached: nothing is won by telling more
        reach += 1
    return rows[: reach + 1]


def stated_gap(row: Row, keyring: Keyring) -> tuple[int, int, str]:
    """Since when, until when (wall time, microseconds) and why, from a gap record's row."""
    header = row.header
    raw = header.encode() + row.body + row.digest[:8]
    since, until, reason = gap_of(keyring.open(Record(header, raw, row.digest)))
    return since.wall_us, until.wall_us, reason
