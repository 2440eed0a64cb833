"""Recipients change, the command centre's old keys are destroyed, and what is on hold stays readable."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edge_agent.errors import SealError
from edge_agent.model import ClockTrust, Fragment, InitSegment, Instant
from edge_agent.seal.epoch import Wrap, parse_key_body
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.rewrap import open_rewrapped, rewrap
from edge_agent.seal.sealer import StreamSealer

BOX = BoxKey(bytes(range(32)))
AT = Instant(1_790_000_000_000_000, 10**12, ClockTrust.NTP)
PICTURE = b"moof and mdat"


@dataclass
class Week:
    """One of the command centre's keys: its name is in the configuration, its private part can be burnt."""

    name: str

    def __post_init__(self) -> None:
        self.private, public = generate_recipient()
        self.recipient = Recipient(self.name, public)


def footage(*recipients: Recipient) -> list[Record]:
    """One start of the agent: an epoch sealed to the recipients of its configuration."""
    sealer = StreamSealer(
        box=BOX, recipients=recipients, stream_id=b"s" * 16, boot_id=bytes(16), aead=Aead.AES_256_GCM
    )
    head = sealer.begin_epoch(InitSegment(b"init", "avc3", 1, 1, 90000), AT)
    return [*head, sealer.seal(Fragment(PICTURE, AT, 200_000, 0, True, False, 5))]


def opened(opener: Opener, records: list[Record]) -> bytes:
    return [opener.open(record) for record in records][-1]


def test_other_recipients_are_another_epoch_with_another_key() -> None:
    old, new = Week("iccc/2026-47"), Week("iccc/2026-48")
    before, after = footage(old.recipient), footage(new.recipient)
    assert before[0].header.epoch != after[0].header.epoch
    assert [w.recipient for w in parse_key_body(after[0], BOX.public).wraps] == ["iccc/2026-48"]
    assert opened(Opener(new.name, new.private, BOX.public), after) == PICTURE
    with pytest.raises(SealError, match="not among"):
        Opener(old.name, old.private, BOX.public).open(after[0])


def test_when_the_weeks_key_is_destroyed_the_weeks_footage_is_too() -> None:
    """All that is left is the disk's bytes and every other key that anybody has."""
    old, new, site = Week("iccc/2026-47"), Week("iccc/2026-48"), Week("site")
    records = footage(old.recipient)
    for other in (new, site, Week(old.name)):
        with pytest.raises(SealError):
            Opener(old.name, other.private, BOX.public).open(records[0])
        with pytest.raises(SealError):
            Opener(other.name, other.private, BOX.public).open(records[0])


def test_what_was_rewrapped_to_the_evidence_key_outlives_the_weeks_key() -> None:
    old, evidence = Week("iccc/2026-47"), Week("evidence")
    held, other = footage(old.recipient), footage(old.recipient)
    wrap = rewrap(held[0], BOX.public, old.name, old.private, evidence.recipient)
    old.private = b""

    reader = Opener(evidence.name, evidence.private, BOX.public)
    reader.admit_rewrapped(held[0], wrap)
    assert opened(reader, held) == PICTURE
    with pytest.raises(SealError):  # a wrap opens its own epoch and no other
        reader.admit_rewrapped(other[0], wrap)


def test_a_rewrapped_key_must_be_the_one_that_the_box_committed_to() -> None:
    old, evidence = Week("iccc/2026-47"), Week("evidence")
    records, forged = footage(old.recipient), footage(old.recipient)
    wrap = rewrap(forged[0], BOX.public, old.name, old.private, evidence.recipient)
    with pytest.raises(SealError):
        open_rewrapped(records[0], BOX.public, wrap, evidence.private)
    flipped = Wrap(wrap.recipient, wrap.suite, bytes((wrap.sealed[0] ^ 1,)) + wrap.sealed[1:])
    with pytest.raises(SealError):
        open_rewrapped(forged[0], BOX.public, flipped, evidence.private)
    with pytest.raises(SealError, match="itself"):
        open_rewrapped(forged[0], BOX.public, replace(wrap, recipient=old.name), evidence.private)


def test_only_the_box_s_own_key_record_is_rewrapped() -> None:
    old, evidence = Week("iccc/2026-47"), Week("evidence")
    with pytest.raises(SealError, match="not signed by this box"):
        rewrap(footage(old.recipient)[0], bytes(32), old.name, old.private, evidence.recipient)
