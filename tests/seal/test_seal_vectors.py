"""The published vectors: what an earlier version sealed opens for ever, derived by the format's words."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from edge_agent.model import Role
from edge_agent.seal.epoch import parse_key_body, unwrap_dek
from edge_agent.seal.keys import BoxKey, stream_id
from edge_agent.seal.opener import Opener, gap_of
from edge_agent.seal.record import parse_record

PLACE = Path(__file__).resolve().parents[2] / "docs" / "vectors"
VECTORS = json.loads((PLACE / "records.json").read_text(encoding="utf-8"))
CASES = sorted(VECTORS["records"])


def of(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of SHA-256, written out."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_names_are_derived_as_written():
    box = BoxKey(of("box_seed"))
    assert (box.public, box.box_id) == (of("box_public"), of("box_id"))
    assert stream_id(box.box_id, VECTORS["camera_uid"], Role.MAIN) == of("stream")
    uid = VECTORS["camera_uid"].encode()
    by_hand = hashlib.sha256(of("box_id") + bytes([0, len(uid)]) + uid + b"main").digest()[:16]
    assert by_hand == of("stream")


@pytest.mark.parametrize("case", CASES)
def test_every_record_opens_to_its_plaintext(case):
    opener = Opener(VECTORS["recipient_id"], of("recipient_private"), of("box_public"))
    for vector in VECTORS["records"][case]:
        record = parse_record(bytes.fromhex(vector["raw"]))
        assert record.digest.hex() == vector["digest"]
        plain = opener.open(record)
        if vector["plain"] is None:
            since, at, reason = gap_of(plain)
            assert (at.wall_us - since.wall_us, reason) == (2_500_000, VECTORS["gap_reason"])
        else:
            assert plain.hex() == vector["plain"]


@pytest.mark.parametrize("case", CASES)
def test_the_key_record_says_what_the_format_says(case):
    key = parse_record(bytes.fromhex(VECTORS["records"][case][0]["raw"]))
    body = parse_key_body(key, of("box_public"))
    assert body.commit == of("commit") == hkdf(of("dek"), b"ear1 commit")
    assert (body.beacon, key.header.prev) == (of("beacon"), of("previous"))
    dek = unwrap_dek(key.header, body, VECTORS["recipient_id"], of("recipient_private"))
    assert dek == of("dek")


@pytest.mark.parametrize("case", CASES)
def test_sealing_again_gives_the_same_bytes(case):
    key = hkdf(of("dek"), b"ear1 aead" + of("stream") + of("epoch"))
    cipher = {"AES_256_GCM": AESGCM, "CHACHA20_POLY1305": ChaCha20Poly1305}[case](key)
    for n, vector in enumerate(VECTORS["records"][case]):
        raw = bytes.fromhex(vector["raw"])
        if n and vector["plain"] is not None:
            nonce = bytes(4) + n.to_bytes(8, "big")
            assert cipher.encrypt(nonce, bytes.fromhex(vector["plain"]), raw[:136]) == raw[136:-8]
