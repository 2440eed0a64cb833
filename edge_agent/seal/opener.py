"""Opens sealed records: at the ICCC, in the verifier's tests, at a site that has a key of its own.

Needs nothing of the agent but the box's public key. Everything that arrives is judged: signature of the key
record, commitment, identity, order, digest chain, AEAD.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.exceptions import InvalidTag

from edge_agent.errors import SealError
from edge_agent.model import Instant
from edge_agent.seal.epoch import Cipher, Wrap, cipher_of, nonce_of, parse_key_body, unwrap_dek
from edge_agent.seal.record import HEADER_BYTES, Aead, Kind, Record
from edge_agent.seal.rewrap import open_rewrapped
from edge_agent.seal.sealer import GAP_TIMES

MAX_EPOCHS = 512


@dataclass(slots=True)
class _Opened:
    """What is known of one epoch. `last_n` is the newest record opened in order, from the key record on."""

    dek: bytes
    key_digest: bytes
    last_n: int
    last_digest: bytes
    init_digest: bytes | None = None
    aead: Aead = Aead.NONE
    cipher: Cipher | None = None


class Opener:
    """One recipient's view of one box. Stateful by (stream, epoch); one thread at a time.

    Feed it key, init, then records in order. The first fragment may jump ahead (a live viewer joins at a
    keyframe, a playback in the middle of an epoch); from it on no record may be missing. Verbatim copies of
    key and init, as every segment starts with, are welcome at any time.
    """

    def __init__(
        self, recipient_id: str, private_key: bytes, box_public: bytes,
        rewrapped: Mapping[bytes, Wrap] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`rewrapped`: wraps that were made later, by epoch (`seal.rewrap`)."""
        self._rewrapped = rewrapped
        self._recipient_id = recipient_id
        self._private_key = private_key
        self._box_public = box_public
        self._epochs: OrderedDict[tuple[bytes, bytes], _Opened] = OrderedDict()

    def open(self, record: Record) -> bytes:
        """The plaintext of an init, fragment, gap or still; empty for a key record.

        Raises SealError for anything forged, altered, out of order or sealed to somebody else, FormatError
        for a malformed key record. A refused record changes nothing: the next right one is accepted.
        """
        header = record.header
        if header.kind is Kind.KEY:
            self._admit(record)
            return b""
        if header.kind is Kind.TIPS:
            raise SealError("a tips record is in clear; read its body")
        opened = self._epochs.get((header.stream, header.epoch))
        if opened is None:
            raise SealError("record of an epoch whose key record has not been seen")
        if header.kind is Kind.INIT and record.digest == opened.init_digest:
            return _decrypt(opened, record)  # the copy at a segment's start
        _check_order(opened, record)
        plain = _decrypt(opened, record)
        opened.last_n, opened.last_digest = header.n, record.digest
        if header.kind is Kind.INIT:
            opened.init_digest = record.digest
        return plain

    def open_gap(self, record: Record) -> bytes:
        """The plaintext of a gap record on its own, for a list of gaps. Changes nothing; raises as `open`.

        Its epoch's key record must have been opened. That records before it are missing is not judged.
        """
        opened = self._epochs.get((record.header.stream, record.header.epoch))
        if opened is None or record.header.kind is not Kind.GAP:
            raise SealError("not a gap record of an epoch whose key record has been seen")
        return _decrypt(opened, record)

    def admit_rewrapped(self, key_record: Record, wrap: Wrap) -> None:
        """As `open` of a key record, for a recipient added later (`seal.rewrap`). Raises as `open`."""
        dek = open_rewrapped(key_record, self._box_public, wrap, self._private_key)
        self._remember(key_record, dek)

    def rejoin(self, stream: bytes, epoch: bytes) -> None:
        """The reader seeks: the next fragment of the epoch may jump, forward or back."""
        opened = self._epochs.get((stream, epoch))
        if opened is not None and opened.init_digest is not None:
            opened.last_n, opened.last_digest = 1, opened.init_digest

    def _admit(self, record: Record) -> None:
        identity = (record.header.stream, record.header.epoch)
        known = self._epochs.get(identity)
        if known is not None:
            if known.key_digest != record.digest:
                raise SealError("a second, different key record for one epoch")
            self._epochs.move_to_end(identity)
            return
        if record.header.epoch in self._rewrapped:
            self.admit_rewrapped(record, self._rewrapped[record.header.epoch])
            return
        body = parse_key_body(record, self._box_public)
        dek = unwrap_dek(record.header, body, self._recipient_id, self._private_key)
        self._remember(record, dek)

    def _remember(self, record: Record, dek: bytes) -> None:
        self._epochs[record.header.stream, record.header.epoch] = _Opened(
            dek, record.digest, 0, record.digest
        )
        while len(self._epochs) > MAX_EPOCHS:
            self._epochs.popitem(last=False)


def gap_of(plain: bytes) -> tuple[Instant, Instant, str]:
    """Since when, until when and why nothing was recorded: the plaintext of a gap record."""
    if len(plain) < GAP_TIMES.size:
        raise SealError("gap record: cut short")
    since_us, since_ns, at_us, at_ns = GAP_TIMES.unpack_from(plain)
    reason = plain[GAP_TIMES.size :].decode(errors="replace")
    return Instant(since_us, since_ns), Instant(at_us, at_ns), reason


def _check_order(opened: _Opened, record: Record) -> None:
    header = record.header
    joining = opened.last_n == 1 and header.n > 2 and header.kind in (Kind.FRAGMENT, Kind.GAP)
    if joining:
        return
    if header.n != opened.last_n + 1:
        raise SealError(f"record {header.n} where {opened.last_n + 1} was due")
    if header.prev != opened.last_digest:
        raise SealError(f"record {header.n} does not follow the one before it")
    if (header.kind is Kind.INIT or header.kind is Kind.STILL) != (header.n == 1):
        raise SealError(f"{header.kind.name.lower()} record at the wrong place")


def _decrypt(opened: _Opened, record: Record) -> bytes:
    header = record.header
    cipher = opened.cipher if opened.aead is header.aead else None
    if cipher is None:
        cipher = cipher_of(header.aead, opened.dek, header.stream, header.epoch)
    try:
        plain = cipher.decrypt(nonce_of(header.n), record.body, record.raw[:HEADER_BYTES])
    except InvalidTag as error:
        raise SealError(f"record {header.n} does not open: altered, or another key") from error
    opened.aead, opened.cipher = header.aead, cipher
    return plain
