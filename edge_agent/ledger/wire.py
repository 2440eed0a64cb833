"""What crosses the broker about the ledger, as bytes. Pure; docs/ledger.md has the contract.

`Batch` goes up (`up/ledger`) and comes down (leaves for a rolled-back box). Its form is one JSON header line
and then one entry a line: a leaf is a line of JSON that must arrive byte for byte, and quoting it into a JSON
string costs 16 % more. In heartbeat and event, which are one JSON document each, leaves are strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent import deflate
from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIZE,
    Note,
    Signature,
    Signer,
    Verifier,
    parse_note,
    verifies,
)
from edge_agent.ledger.leaf import Json, check_entry

MAX_BATCH_BYTES = 8 * 1024
MAX_PAYLOAD_BYTES = 120 * 1024
MAX_ENTRIES = 2048

_WANT_HEADER = "ledger-want/v1"
_WANT_TEXT = re.compile(rf"{_WANT_HEADER}\n(\S+)\n(\d{{1,16}}) (\d{{1,16}})\n\d{{1,19}}\n")


@dataclass(frozen=True, slots=True)
class Want:
    """A range asked for: the leaves [first, first + count)."""

    first: int
    count: int

    def encode(self) -> bytes:
        return _compact({"v": 1, "first": self.first, "count": self.count})

    @classmethod
    def decode(cls, payload: bytes) -> Want:
        return cls.from_json(_document(payload))

    def sign(self, origin: str, ts_us: int, key: Verifier, signer: Signer) -> bytes:
        """The payload of `dn/want`: the want and, in `note`, the same as a C2SP note by the mirror's key.

        The note's first line keeps it apart from a cosignature by the same key.
        """
        text = f"{_WANT_HEADER}\n{origin}\n{self.first} {self.count}\n{ts_us}\n"
        named = Verifier(key.name, key.public)
        note = Note(text, (Signature(named.name, named.key_id, signer(text.encode())),))
        return _compact({"v": 1, "first": self.first, "count": self.count, "note": str(note)})

    @classmethod
    def open(cls, payload: bytes, origin: str, key: Verifier) -> Want:
        """Check and read a `dn/want`; only the note counts. Raises `LedgerError` if it is not by `key`.

        A replay does no harm: the box sends again what it sent before.
        """
        note = parse_note(_optional_note(_document(payload), "note") or "")
        named = Verifier(key.name, key.public)
        if not any(
            _is_by(s, named) and verifies(key.public, s.value, note.text.encode()) for s in note.signatures
        ):
            raise LedgerError(f"the want is not signed by {key.name}")
        match = _WANT_TEXT.fullmatch(note.text)
        if match is None or match[1] != origin:
            raise FormatError("not a want for this ledger")
        return cls.from_json({"first": int(match[2]), "count": int(match[3])})

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Want:
        first, count = _natural(document, "first"), _natural(document, "count")
        if count == 0 or first + count > MAX_SIZE:
            raise FormatError("a want asks for at least one leaf")
        return cls(first, count)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries in order from index `first`, and perhaps a signed checkpoint.

    The checkpoint covers no more than what was sent up to and including this batch.
    """

    first: int
    leaves: tuple[bytes, ...]
    checkpoint: str | None = None

    @property
    def end(self) -> int:
        return self.first + len(self.leaves)

    def encode(self) -> bytes:
        header: dict[str, Json] = {"v": 1, "first": self.first, "count": len(self.leaves)}
        if self.checkpoint:
            header["checkpoint"] = self.checkpoint
        return b"\n".join([_compact(header), *self.leaves])

    @classmethod
    def decode(cls, payload: bytes) -> Batch:
        """Plain or deflated, at most 120 KiB of text and 2,048 entries. Raises `FormatError`."""
        text = deflate.expand(payload)
        if len(text) > MAX_PAYLOAD_BYTES:
            raise FormatError(f"a batch of {len(text)} bytes")
        head, *lines = text.split(b"\n")
        header = _document(head)
        if len(lines) != _natural(header, "count"):
            raise FormatError("a batch does not hold as many leaves as it says")
        return cls(_natural(header, "first"), _entries(lines), _optional_note(header, "checkpoint"))


@dataclass(frozen=True, slots=True)
class HeartbeatLedger:
    """The `ledger` member of a heartbeat: the leaves still waiting and the newest checkpoint.

    `fetch` is set by a box that finds itself behind the command centre and asks for leaves back.
    """

    batch: Batch
    fetch: Want | None = None

    def as_json(self) -> dict[str, Json]:
        part: dict[str, Json] = {"first": self.batch.first, "leaves": [x.decode() for x in self.batch.leaves]}
        if self.batch.checkpoint:
            part["checkpoint"] = self.batch.checkpoint
        if self.fetch:
            part["fetch"] = {"first": self.fetch.first, "count": self.fetch.count}
        return part

    @classmethod
    def from_json(cls, part: object) -> HeartbeatLedger:
        """Read it from a heartbeat that is already parsed. Raises `FormatError`."""
        member = _mapping(part)
        leaves = member.get("leaves", [])
        if not isinstance(leaves, list) or not all(isinstance(entry, str) for entry in leaves):
            raise FormatError("`leaves` is a list of strings")
        note = _optional_note(member, "checkpoint")
        batch = Batch(_natural(member, "first"), _entries([_utf8(entry) for entry in leaves]), note)
        fetch = member.get("fetch")
        return cls(batch, None if fetch is None else Want.from_json(_mapping(fetch)))


@dataclass(frozen=True, slots=True)
class WitnessNote:
    """`dn/witness`, retained: the newest cosigned checkpoints of this box.

    `witness` carries the witness's cosignature, `mirror` the mirror's; usually they are one and the same
    text with both. `ts_us` is the command centre's clock.
    """

    witness: str
    mirror: str
    ts_us: int

    def encode(self) -> bytes:
        document: dict[str, Json] = {"v": 1, "ts": self.ts_us, "witness": self.witness}
        if self.mirror != self.witness:
            document["mirror"] = self.mirror
        return _compact(document)

    @classmethod
    def decode(cls, payload: bytes) -> WitnessNote:
        document = _document(payload)
        witness = _optional_note(document, "witness") or ""
        mirror = _optional_note(document, "mirror")
        return cls(witness, witness if mirror is None else mirror, _natural(document, "ts"))


def heartbeat_ledger(payload: bytes) -> HeartbeatLedger | None:
    """The ledger's part of a whole heartbeat message (`data.ledger`), None if it has none."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FormatError(f"a heartbeat of {len(payload)} bytes")
    part = _mapping(_document(payload).get("data", {})).get("ledger")
    return None if part is None else HeartbeatLedger.from_json(part)


def event_leaf(payload: bytes) -> Batch | None:
    """The leaf in an event message (`data.index`, `data.leaf`), None if it carries none."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FormatError(f"an event of {len(payload)} bytes")
    event = _mapping(_document(payload).get("data", {}))
    leaf = event.get("leaf")
    if leaf is None or event.get("index") is None:
        return None
    if not isinstance(leaf, str):
        raise FormatError("`leaf` is a string")
    return Batch(_natural(event, "index"), _entries([_utf8(leaf)]))


def _entries(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(lines) > MAX_ENTRIES:
        raise FormatError(f"{len(lines)} leaves in one message")
    return tuple(check_entry(line) for line in lines)


def _document(payload: bytes) -> Mapping[str, object]:
    text = deflate.expand(payload)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError("not JSON") from error
    member = _mapping(document)
    if member.get("v") != 1:
        raise FormatError("not a message of version 1")
    return member


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise FormatError("not a JSON object")
    return value


def _natural(document: Mapping[str, object], key: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise FormatError(f"`{key}` is a natural number")
    return value


def _optional_note(document: Mapping[str, object], key: str) -> str | None:
    value = document.get(key)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_NOTE_BYTES):
        raise FormatError(f"`{key}` is a signed note")
    return value


def _is_by(signature: Signature, key: Verifier) -> bool:
    return (signature.name, signature.key_id) == (key.name, key.key_id)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FormatError("a leaf is UTF-8") from error


def _compact(document: Mapping[str, Json]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
