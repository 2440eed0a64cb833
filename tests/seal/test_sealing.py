"""Sealing and opening: what is sealed opens, in order, for its recipients; everything else is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import FormatError, SealError
from edge_agent.model import ClockTrust, Fragment, InitSegment, Instant, Role
from edge_agent.seal.epoch import parse_key_body
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.opener import Opener, gap_of
from edge_agent.seal.record import Aead, Header, Kind, Record, build_record, parse_record, sealed_size
from edge_agent.seal.sealer import StreamSealer

BOX = BoxKey(b"b" * 32)
ICCC_PRIVATE, ICCC_PUBLIC = generate_recipient()
SITE_PRIVATE, SITE_PUBLIC = generate_recipient()
RECIPIENTS = [Recipient("iccc", ICCC_PUBLIC), Recipient("site", SITE_PUBLIC)]
STREAM = stream_id(BOX.box_id, "dvr-1/ch1", Role.MAIN)
AT = Instant(1_790_000_000_000_000, 10**12, ClockTrust.NTP)
INIT = InitSegment(b"ftypmoov", "avc3.64001f", 1280, 720, 90000)


def sealer(box: BoxKey = BOX, aead: Aead = Aead.AES_256_GCM, **kwargs) -> StreamSealer:
    return StreamSealer(
        box=box, recipients=RECIPIENTS, stream_id=STREAM, boot_id=bytes(16), aead=aead, **kwargs
    )


def opener() -> Opener:
    return Opener("iccc", ICCC_PRIVATE, BOX.public)


def fragment(i: int = 0, keyframe: bool = True, at: Instant = AT) -> Fragment:
    return Fragment(b"moofmdat%d" % i, at, 200_000, i * 18000, keyframe, False, 5)


def open_all(records: list[Record]) -> None:
    reader = opener()
    for record in records:
        reader.open(record)


def rebuilt(raw: bytes) -> Record:
    """With a right digest, as a forger would make it."""
    return build_record(Header.parse(raw), raw[136:-8])


def open_forged(before: list[Record], raw: bytes) -> None:
    open_all([*before, rebuilt(raw)])


def epoch_of(s: StreamSealer, count: int) -> list[Record]:
    return [*s.begin_epoch(INIT, AT), *(s.seal(fragment(i)) for i in range(count))]


@pytest.mark.parametrize("aead", [Aead.AES_256_GCM, Aead.CHACHA20_POLY1305])
@pytest.mark.parametrize("who", [("iccc", ICCC_PRIVATE), ("site", SITE_PRIVATE)])
def test_every_recipient_opens_what_was_sealed(aead, who):
    records = epoch_of(sealer(aead=aead), 3)
    reader = Opener(*who, BOX.public)
    plain = [reader.open(parse_record(r.raw)) for r in records]
    assert plain == [b"", INIT.data, b"moofmdat0", b"moofmdat1", b"moofmdat2"]


def test_headers_say_what_the_fragment_says():
    s = sealer()
    record = epoch_of(s, 1)[-1]
    header = record.header
    assert (header.kind, header.n, header.wall_us, header.boot_ns) == (
        Kind.FRAGMENT,
        2,
        AT.wall_us,
        AT.boot_ns,
    )
    assert (header.trust, header.keyframe, header.duration_us) == (ClockTrust.NTP, True, 200_000)
    assert len(record.raw) == sealed_size(len(b"moofmdat0"))
    assert s.next_n == 3


def test_a_record_carries_no_plaintext_and_no_hash_of_it():
    data = b"NO VIDEO " * 50
    s = sealer()
    s.begin_epoch(INIT, AT)
    first = s.seal(dataclasses.replace(fragment(), data=data))
    second = s.seal(dataclasses.replace(fragment(), data=data))
    assert b"NO VIDEO" not in first.raw
    assert bytes(first.body) != bytes(second.body)


def test_epochs_have_fresh_keys_and_chain_to_each_other():
    s = sealer(previous=b"p" * 32)
    one, two = epoch_of(s, 2), epoch_of(s, 2)
    assert one[0].header.prev == b"p" * 32
    assert two[0].header.prev == one[-1].digest
    assert one[0].header.epoch != two[0].header.epoch
    body = parse_key_body(two[0], BOX.public)
    assert (body.previous_epoch, body.previous_n) == (one[0].header.epoch, 3)
    assert bytes(one[2].body) != bytes(two[2].body)


def test_the_beacon_is_asked_for_each_epoch():
    beacons = iter([b"1" * 32, b"2" * 32])
    s = sealer(beacon=lambda: next(beacons))
    bodies = [parse_key_body(s.begin_epoch(INIT, AT)[0], BOX.public) for _ in range(2)]
    assert [b.beacon for b in bodies] == [b"1" * 32, b"2" * 32]


def test_a_still_has_an_epoch_of_its_own_and_leaves_the_stream_alone():
    s = sealer()
    records = epoch_of(s, 1)
    key, still = s.seal_still(b"\xff\xd8jpeg", AT)
    records.append(s.seal(fragment(1)))
    reader = opener()
    reader.open(key)
    assert reader.open(still) == b"\xff\xd8jpeg"
    assert [reader.open(r) for r in records][-1] == b"moofmdat1"


def test_a_gap_says_since_when_until_when_and_why():
    s = sealer()
    records = epoch_of(s, 1)
    later = Instant(AT.wall_us + 7_000_000, AT.boot_ns + 7 * 10**9)
    gap = s.seal_gap("disk: no credit", AT, later)
    reader = opener()
    for record in records:
        reader.open(record)
    since, at, reason = gap_of(reader.open(gap))
    assert (since.wall_us, at.wall_us, reason) == (AT.wall_us, later.wall_us, "disk: no credit")
    assert gap.header.duration_us == 7_000_000


def test_a_long_gaps_duration_saturates():
    s = sealer()
    s.begin_epoch(INIT, AT)
    gap = s.seal_gap("x", AT, Instant(AT.wall_us, AT.boot_ns + 86_400 * 10**9))
    assert gap.header.duration_us == 0xFFFF_FFFF


def test_rotation_is_due_at_a_keyframe_after_ten_minutes_anywhere_after_twenty():
    s = sealer()
    assert s.rotation_due(fragment())
    s.begin_epoch(INIT, AT)

    def due(minutes: float, keyframe: bool) -> bool:
        at = Instant(AT.wall_us, AT.boot_ns + round(minutes * 60e9))
        return s.rotation_due(fragment(keyframe=keyframe, at=at))

    assert [due(9, True), due(11, False), due(11, True), due(21, False)] == [False, False, True, True]


def test_a_failed_seal_ends_the_epoch_so_that_no_nonce_is_used_twice():
    s = sealer()
    s.begin_epoch(INIT, AT)
    with pytest.raises(SealError, match="limit"):
        s.seal(dataclasses.replace(fragment(), data=bytes(9 << 20)))
    assert s.epoch is None
    with pytest.raises(SealError, match="no epoch"):
        s.seal(fragment())


def test_nothing_is_sealed_to_nobody_or_in_clear():
    with pytest.raises(SealError, match="recipients"):
        StreamSealer(box=BOX, recipients=[], stream_id=STREAM, boot_id=bytes(16), aead=Aead.AES_256_GCM)
    with pytest.raises(SealError, match="clear"):
        sealer(aead=Aead.NONE)


def test_a_stranger_cannot_open():
    private, _ = generate_recipient()
    key = epoch_of(sealer(), 0)[0]
    with pytest.raises(SealError, match="not among"):
        Opener("police", private, BOX.public).open(key)
    with pytest.raises(SealError, match="not sealed to"):
        Opener("iccc", private, BOX.public).open(key)


def test_a_key_record_forged_with_the_public_key_alone_is_refused():
    forger = BoxKey(b"f" * 32)  # knows the ICCC's public key and the stream, not the box's key
    with pytest.raises(SealError, match="not signed by this box"):
        opener().open(epoch_of(sealer(box=forger), 0)[0])


def test_a_second_key_record_for_one_epoch_is_refused():
    first = iter([b"e" * 16, b"1" * 32])
    second = iter([b"e" * 16, b"2" * 32])
    reader = opener()
    reader.open(sealer(random=lambda n: next(first)).begin_epoch(INIT, AT)[0])
    with pytest.raises(SealError, match="second"):
        reader.open(sealer(random=lambda n: next(second)).begin_epoch(INIT, AT)[0])


def test_a_live_viewer_may_join_in_the_middle_and_then_misses_nothing():
    records = epoch_of(sealer(), 8)
    reader = opener()
    for record in (records[0], records[1], records[6], records[7]):
        reader.open(record)
    with pytest.raises(SealError, match="was due"):
        reader.open(records[9])
    assert reader.open(records[8]) == b"moofmdat6"


def test_copies_of_key_and_init_are_welcome_at_any_time():
    records = epoch_of(sealer(), 3)
    reader = opener()
    for record in records[:4]:
        reader.open(record)
    assert reader.open(records[0]) == b""
    assert reader.open(records[1]) == INIT.data
    assert reader.open(records[4]) == b"moofmdat2"


def test_a_seek_must_be_said():
    records = epoch_of(sealer(), 6)
    reader = opener()
    for record in records:
        reader.open(record)
    with pytest.raises(SealError):
        reader.open(records[3])
    reader.rejoin(STREAM, records[0].header.epoch)
    assert reader.open(records[4]) == b"moofmdat2"


@pytest.mark.parametrize("move", ["drop", "repeat", "swap"])
def test_dropped_repeated_and_reordered_records_are_refused(move):
    records = epoch_of(sealer(), 5)
    wrong = {
        "drop": [*records[:4], *records[5:]],
        "repeat": [*records[:4], records[3]],
        "swap": [*records[:4], records[5], records[4]],
    }[move]
    with pytest.raises(SealError):
        open_all(wrong)


def test_a_record_with_another_history_is_refused():
    records = epoch_of(sealer(), 2)
    header = dataclasses.replace(records[3].header, prev=b"x" * 32)
    reader = opener()
    for record in records[:3]:
        reader.open(record)
    with pytest.raises(SealError, match="does not follow"):
        reader.open(build_record(header, bytes(records[3].body)))


def test_a_back_dated_record_does_not_open():
    records = epoch_of(sealer(), 1)
    header = dataclasses.replace(records[2].header, wall_us=AT.wall_us - 3_600_000_000)
    reader = opener()
    for record in records[:2]:
        reader.open(record)
    with pytest.raises(SealError, match="altered"):
        reader.open(build_record(header, bytes(records[2].body)))
    assert reader.open(records[2]) == b"moofmdat0", "a refused record changes nothing"


_FLIPPED = epoch_of(sealer(), 1)


@given(st.integers(0, 2), st.data())
@settings(max_examples=300, deadline=None)
def test_every_flipped_bit_is_found_even_with_the_digest_made_anew(which, data):
    raw = bytearray(_FLIPPED[which].raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FormatError):
        parse_record(raw)
    if at < len(raw) - 8:
        with pytest.raises((FormatError, SealError)):
            open_forged(_FLIPPED[:which], bytes(raw))
