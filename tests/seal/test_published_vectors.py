"""HPKE, leaves and checkpoints as published in docs/vectors, made again from the documents' words."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge_agent.seal.keys import BoxKey

PLACE = Path(__file__).resolve().parents[2] / "docs" / "vectors"
HPKE: dict[str, Any] = json.loads((PLACE / "hpke.json").read_text(encoding="utf-8"))
LEDGER: dict[str, Any] = json.loads((PLACE / "ledger.json").read_text(encoding="utf-8"))


def _extract(salt: bytes, key: bytes) -> bytes:
    return hmac.new(salt or bytes(32), key, hashlib.sha256).digest()


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()[:length]


def hpke_open(private: bytes, sealed: bytes, info: bytes) -> bytes:
    """RFC 9180 base mode, written out: section 4.1 decapsulates, 5.1 derives, 5.2 opens the first message."""
    enc, box = sealed[:32], sealed[32:]
    key = X25519PrivateKey.from_private_bytes(private)
    kem, suite = b"KEM" + struct.pack(">H", 0x20), b"HPKE" + struct.pack(">HHH", 0x20, 1, 3)

    def labeled(which: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
        return _extract(salt, b"HPKE-v1" + which + label + material)

    def grown(which: bytes, secret: bytes, label: bytes, about: bytes, length: int) -> bytes:
        return _expand(secret, struct.pack(">H", length) + b"HPKE-v1" + which + label + about, length)

    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + key.public_key().public_bytes_raw()
    secret = grown(kem, labeled(kem, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    about = b"\x00" + labeled(suite, b"", b"psk_id_hash", b"") + labeled(suite, b"", b"info_hash", info)
    schedule = labeled(suite, secret, b"secret", b"")
    aead = ChaCha20Poly1305(grown(suite, schedule, b"key", about, 32))
    return aead.decrypt(grown(suite, schedule, b"base_nonce", about, 12), box, b"")


@pytest.mark.parametrize("wrap", HPKE["wraps"], ids=[w["recipient"] for w in HPKE["wraps"]])
def test_every_wrap_opens_by_the_rfc_alone(wrap: dict[str, Any]) -> None:
    opened = hpke_open(*(bytes.fromhex(wrap[name]) for name in ("private", "sealed", "info")))
    assert opened.hex() == HPKE["dek"]
    assert bytes.fromhex(wrap["info"]).endswith(wrap["recipient"].encode())


def test_leaves_frames_and_the_root_are_as_written() -> None:
    leaves = [leaf.encode() for leaf in LEDGER["leaves"]]
    hashes = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    assert [hash_.hex() for hash_ in hashes] == LEDGER["leaf_hashes"]
    frames = [struct.pack(">I", len(x)) + x + struct.pack(">I", zlib.crc32(x)) for x in leaves]
    assert [frame.hex() for frame in frames] == LEDGER["frames"]
    pair = hashlib.sha256(b"\x01" + hashes[0] + hashes[1]).digest()
    assert hashlib.sha256(b"\x01" + pair + hashes[2]).hexdigest() == LEDGER["root"]


def test_the_checkpoint_is_signed_by_the_box_and_cosigned_by_the_mirror() -> None:
    """C2SP signed-note and tlog-cosignature, by hand."""
    box = BoxKey(bytes.fromhex(LEDGER["box_seed"]))
    text, _, signatures = LEDGER["cosigned"].partition("\n\n")
    text += "\n"
    origin, size, root = text.splitlines()
    assert origin.endswith("/" + box.box_id.hex()[:16])
    assert (int(size), base64.b64decode(root).hex()) == (3, LEDGER["root"])
    own, mirror = (line.split(" ") for line in signatures.splitlines())
    Ed25519PublicKey.from_public_bytes(box.public).verify(base64.b64decode(own[2])[4:], text.encode())
    stamp = base64.b64decode(mirror[2])[4:]
    assert struct.unpack(">Q", stamp[:8]) == (LEDGER["cosigned_at"],)
    said = f"cosignature/v1\ntime {LEDGER['cosigned_at']}\n{text}"
    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(LEDGER["mirror_seed"]))
    seed.public_key().verify(stamp[8:], said.encode())
    assert LEDGER["cosigned"].startswith(LEDGER["checkpoint"])
