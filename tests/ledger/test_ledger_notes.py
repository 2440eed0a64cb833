"""Signed notes, checkpoints and cosignatures against published examples and forgeries."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Algorithm, Checkpoint, Signature, Verifier

# The example key pair and note of golang.org/x/mod/sumdb/note, which C2SP signed-note describes.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM=\n"
)
# The example checkpoint of C2SP tlog-cosignature.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501

KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x07")
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = notes.origin_of("pump-7", PUBLIC)
LOG_KEY = Verifier(ORIGIN, PUBLIC)
HEAD = Checkpoint(ORIGIN, 42, b"r" * 32)
COSIGNER = Verifier("iccc/witness", PUBLIC, Algorithm.COSIGNATURE_V1)


def test_the_published_note_is_made_byte_for_byte() -> None:
    verifier = Verifier.parse(VKEY)
    assert verifier.vkey == VKEY
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    assert key.public_key().public_bytes_raw() == verifier.public
    signature = Signature(verifier.name, verifier.key_id, key.sign(TEXT.encode()))
    assert str(notes.Note(TEXT, (signature,))) == NOTE
    parsed = notes.parse_note(NOTE)
    assert notes.verifies(verifier.public, parsed.signatures[0].value, parsed.text.encode())


def test_the_published_checkpoint_is_read_and_written_back() -> None:
    note = notes.parse_note(EXAMPLE)
    head = notes.parse_checkpoint(note.text)
    assert (head.origin, head.size, len(head.root)) == ("example.com/behind-the-sofa", 20852163, 32)
    assert head.text == note.text
    assert str(note) == EXAMPLE
    witness = note.signatures[1]
    assert (witness.key_id.hex(), int.from_bytes(witness.value[:8], "big")) == ("8d66cf3f", 1679315147)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "a+b",
        VKEY[:-1],
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("+AR", "+ZR"),
        "x y" + VKEY[12:],
    ],
)
def test_a_mangled_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        Verifier.parse(vkey)


def test_a_checkpoint_opens_under_its_own_key_only() -> None:
    text = str(notes.sign(HEAD, PUBLIC, KEY.sign))
    assert notes.open_checkpoint(text, LOG_KEY)[0] == HEAD
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for other in (Verifier(ORIGIN, stranger), Verifier("else/where", PUBLIC)):
        with pytest.raises(LedgerError, match="not signed by"):
            notes.open_checkpoint(text, other)


@given(st.data())
def test_no_changed_byte_of_a_checkpoint_opens(data: st.DataObject) -> None:
    text = str(notes.sign(HEAD, PUBLIC, KEY.sign))
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters().filter(lambda c: c != text[at])) + text[at + 1 :]
    with pytest.raises((FormatError, LedgerError)):
        notes.open_checkpoint(changed, LOG_KEY)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises((FormatError, LedgerError)):
        notes.open_checkpoint(text, LOG_KEY)


def test_a_cosignature_carries_its_time_and_covers_the_text() -> None:
    note = notes.sign(HEAD, PUBLIC, KEY.sign)
    note = note.with_signature(notes.cosign(note, COSIGNER, KEY.sign, 1_790_000_000))
    assert notes.cosigned_at(notes.parse_note(str(note)), COSIGNER) == 1_790_000_000
    other = notes.Note(note.text.replace("42", "43"), note.signatures)
    assert notes.cosigned_at(other, COSIGNER) is None
    line = note.signatures[1]
    late = Signature(line.name, line.key_id, (1_800_000_000).to_bytes(8, "big") + line.value[8:])
    assert notes.cosigned_at(note.with_signature(late), COSIGNER) is None


def test_a_plain_signature_is_no_cosignature_and_the_other_way_round() -> None:
    note = notes.sign(HEAD, PUBLIC, KEY.sign)
    as_cosignature = Signature(COSIGNER.name, COSIGNER.key_id, bytes(8) + note.signatures[0].value)
    assert notes.cosigned_at(note.with_signature(as_cosignature), COSIGNER) is None
    cosigned = notes.cosign(note, COSIGNER, KEY.sign, 1)
    as_plain = Signature(LOG_KEY.name, LOG_KEY.key_id, cosigned.value[8:])
    with pytest.raises(LedgerError):
        notes.open_checkpoint(notes.Note(note.text, (as_plain,)), LOG_KEY)


def test_a_flood_of_signatures_and_sizes_out_of_range_are_refused() -> None:
    note = str(notes.sign(HEAD, PUBLIC, KEY.sign))
    with pytest.raises(FormatError, match="signatures on one note"):
        notes.parse_note(note + note.splitlines(keepends=True)[-1] * 16)
    for size in ("042", "-1", "9" * 17, "4 2"):
        with pytest.raises(FormatError):
            notes.parse_checkpoint(HEAD.text.replace("42", size))


def test_a_site_that_cannot_name_a_log_is_refused() -> None:
    with pytest.raises(LedgerError, match="cannot name a ledger"):
        notes.origin_of("pump 7", PUBLIC)
