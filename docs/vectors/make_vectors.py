"""Writes the test vectors beside it. Run by hand when a format changes, never otherwise.

    python docs/vectors/make_vectors.py

HPKE draws an ephemeral key, so key records and what chains to them differ each time; the rest does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle, parts
from edge_agent.ledger.checkpoint import Algorithm, Checkpoint, Verifier
from edge_agent.model import ClockTrust, Fragment, InitSegment, Instant, Role
from edge_agent.ring.layout import SegmentHeader
from edge_agent.seal.epoch import commit_of, parse_key_body
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.rewrap import rewrap
from edge_agent.seal.sealer import StreamSealer

SEED, PRIVATE, EVIDENCE = bytes(range(32)), bytes(range(32, 64)), bytes(range(128, 160))
EPOCH, DEK, BOOT = bytes(range(64, 80)), bytes(range(80, 112)), bytes(range(112, 128))
PREVIOUS, BEACON = bytes([0xAA]) * 32, bytes([0xBB]) * 32
UID, WHO, GAP = "00:11:22:33:44:55/ch1", "iccc", "no credit"
BOX = BoxKey(SEED)
STREAM = stream_id(BOX.box_id, UID, Role.MAIN)
AT = Instant(1_790_000_000_000_000, 86_400 * 10**9, ClockTrust.NTP)
LATER = Instant(AT.wall_us + 2_500_000, AT.boot_ns + 2_500_000_000, ClockTrust.NTP)
PLAIN = (b"", b"ftyp and moov", b"moof and mdat", b"", None)  # key, init, fragment, empty fragment, gap
HERE = Path(__file__).parent


def main() -> None:
    cases = {aead: seal(aead) for aead in (Aead.AES_256_GCM, Aead.CHACHA20_POLY1305)}
    if not (HERE / "records.json").exists():  # what an earlier version sealed must open for ever
        _write("records.json", records(cases))
    _write("hpke.json", hpke(cases[Aead.AES_256_GCM][0]))
    _write("segment.json", segment(cases[Aead.CHACHA20_POLY1305]))
    _write("ledger.json", ledger())


def seal(aead: Aead) -> list[Record]:
    draws = iter([EPOCH, DEK])
    sealer = StreamSealer(
        box=BOX, recipients=[Recipient(WHO, public_of(PRIVATE))], stream_id=STREAM, boot_id=BOOT, aead=aead,
        previous=PREVIOUS, beacon=lambda: BEACON, random=lambda n: next(draws),
    )  # fmt: skip
    return [
        *sealer.begin_epoch(InitSegment(b"ftyp and moov", "avc3.64001f", 1280, 720, 90000), AT),
        sealer.seal(Fragment(b"moof and mdat", AT, 200_000, 18_000, True, False, 5)),
        sealer.seal(Fragment(b"", AT, 200_000, 36_000, False, True, 0)),
        sealer.seal_gap(GAP, AT, LATER),
    ]


def records(cases: dict[Aead, list[Record]]) -> dict[str, Any]:
    return {
        "box_seed": SEED.hex(), "box_public": BOX.public.hex(), "box_id": BOX.box_id.hex(),
        "camera_uid": UID, "role": "main", "stream": STREAM.hex(), "epoch": EPOCH.hex(), "dek": DEK.hex(),
        "commit": commit_of(DEK).hex(), "recipient_id": WHO, "recipient_private": PRIVATE.hex(),
        "recipient_public": public_of(PRIVATE).hex(), "previous": PREVIOUS.hex(), "beacon": BEACON.hex(),
        "gap_reason": GAP,
        "records": {
            aead.name: [
                {"raw": r.raw.hex(), "digest": r.digest.hex(), "plain": None if p is None else p.hex()}
                for r, p in zip(made, PLAIN, strict=True)
            ]
            for aead, made in cases.items()
        },
    }  # fmt: skip


def hpke(key_record: Record) -> dict[str, Any]:
    """The wrap inside the key record, and the same key handed on to an evidence key (3.5)."""
    body = parse_key_body(key_record, BOX.public)
    later = rewrap(key_record, BOX.public, WHO, PRIVATE, Recipient("evidence", public_of(EVIDENCE)))
    said = b"ear1 dek" + STREAM + EPOCH + body.commit
    return {
        "suite": "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305; base mode, no aad",
        "dek": DEK.hex(),
        "wraps": [
            {
                "recipient": wrap.recipient, "private": private.hex(), "suite": wrap.suite,
                "info": (said + wrap.recipient.encode()).hex(), "sealed": wrap.sealed.hex(),
            }
            for wrap, private in ((body.wraps[0], PRIVATE), (later, EVIDENCE))
        ],
    }  # fmt: skip


def segment(made: list[Record]) -> dict[str, Any]:
    """A whole segment, and what a reader must find when a byte is hurt, lost, or the end is torn."""
    head = SegmentHeader(Role.MAIN, 7, BOX.box_id[:16], bytes(range(16)), AT.wall_us).encode()
    whole = head + b"".join(record.raw for record in made)
    starts = [len(head) + sum(len(r.raw) for r in made[:i]) for i in range(len(made) + 1)]
    flipped = bytearray(whole)
    flipped[starts[2] + 140] ^= 1
    cases = {
        "whole": (whole, [], [0, 1, 2, 3, 4]),
        "flipped": (bytes(flipped), [[starts[2], starts[3]]], [0, 1, 3, 4]),
        "zeros": (
            whole[: starts[3] - 10] + bytes(20) + whole[starts[3] + 10 :],
            [[starts[2], starts[4]]],
            [0, 1, 4],
        ),
        "torn": (whole[:-9], [[starts[4], len(whole) - 9]], [0, 1, 2, 3]),
        "headless": (bytes(64) + whole[64:], [], [0, 1, 2, 3, 4]),
    }
    return {
        "box_public": BOX.public.hex(), "recipient_id": WHO, "recipient_private": PRIVATE.hex(),
        "cases": {
            name: {"bytes": content.hex(), "damaged": damaged, "n": numbers}
            for name, (content, damaged, numbers) in cases.items()
        },
    }  # fmt: skip


def ledger() -> dict[str, Any]:
    """Leaves, their hashes and frames, the root, the signed checkpoint and a cosignature over it."""
    mirror = Ed25519PrivateKey.from_private_bytes(EVIDENCE)
    mirror_key = Verifier("iccc/mirror", mirror.public_key().public_bytes_raw(), Algorithm.COSIGNATURE_V1)
    leaves = [
        leaves_.encode("boot", {"before": "killed"}, AT, BOOT),
        leaves_.encode("evict", {"ring": "main", "segment": 7}, AT, BOOT),
        leaves_.encode("gap", {"camera": "cam-01", "text": "no video"}, LATER, BOOT),
    ]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    head = Checkpoint(notes.origin_of("pump-7", BOX.public), len(leaves), merkle.root(hashes))
    note = notes.sign(head, BOX.public, BOX.sign)
    cosigned = note.with_signature(notes.cosign(note, mirror_key, mirror.sign, 1_790_000_300))
    return {
        "box_seed": SEED.hex(), "box_public": BOX.public.hex(),
        "mirror_seed": EVIDENCE.hex(), "mirror_key": mirror_key.vkey,
        "leaves": [leaf.decode() for leaf in leaves],
        "leaf_hashes": [hash_.hex() for hash_ in hashes],
        "frames": [parts.frame(leaf).hex() for leaf in leaves],
        "root": head.root.hex(), "checkpoint": str(note), "cosigned": str(cosigned),
        "cosigned_at": 1_790_000_300,
    }  # fmt: skip


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _write(name: str, document: dict[str, Any]) -> None:
    (HERE / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
