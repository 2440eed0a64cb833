"""Handing an epoch's key on: what was sealed to one key is sealed to another as well. Command centre only.

The command centre seals each month or week to a fresh key of its own and destroys the old private keys: then
nobody can open the footage of that time any more, wherever copies of it lie (crypto-shredding). What the law
wants kept is rewrapped before: docs/format.md section 3.5. The box never does this; it has no private key.
"""

from __future__ import annotations

from dataclasses import replace

from edge_agent.errors import SealError
from edge_agent.seal.epoch import Wrap, parse_key_body, unwrap_dek, wrap_dek
from edge_agent.seal.keys import Recipient
from edge_agent.seal.record import Record


def rewrap(key_record: Record, box_public: bytes, holder: str, private_key: bytes, to: Recipient) -> Wrap:
    """The epoch's key, opened with `holder`'s private key and sealed to `to`.

    The key record itself stays as the box signed it. Raises SealError when it is not the box's, or not
    sealed to `holder`, FormatError for bad bytes.
    """
    body = parse_key_body(key_record, box_public)
    dek = unwrap_dek(key_record.header, body, holder, private_key)
    (wrap,) = wrap_dek(dek, key_record.header.stream, key_record.header.epoch, [to])
    return wrap


def open_rewrapped(key_record: Record, box_public: bytes, wrap: Wrap, private_key: bytes) -> bytes:
    """The epoch's key from a wrap that was made later. Raises SealError, FormatError.

    Whoever rewrapped need not be believed: the key must match the commitment that the box signed.
    """
    body = parse_key_body(key_record, box_public)
    if any(known.recipient == wrap.recipient for known in body.wraps):
        raise SealError(f"rewrapped key: {wrap.recipient} is a recipient of the record itself")
    return unwrap_dek(key_record.header, replace(body, wraps=(wrap,)), wrap.recipient, private_key)
