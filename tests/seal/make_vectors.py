"""Writes vectors.json; run by hand when the format changes. HPKE is random, so key records differ each time.

python tests/seal/make_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.model import ClockTrust, Fragment, InitSegment, Instant, Role
from edge_agent.seal.epoch import commit_of
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

SEED, PRIVATE = bytes(range(32)), bytes(range(32, 64))
EPOCH, DEK, BOOT = bytes(range(64, 80)), bytes(range(80, 112)), bytes(range(112, 128))
PREVIOUS, BEACON = bytes([0xAA]) * 32, bytes([0xBB]) * 32
UID = "00:11:22:33:44:55/ch1"


def main() -> None:
    box = BoxKey(SEED)
    public = X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()
    stream = stream_id(box.box_id, UID, Role.MAIN)
    at = Instant(1_790_000_000_000_000, 86_400 * 10**9, ClockTrust.NTP)
    later = Instant(at.wall_us + 2_500_000, at.boot_ns + 2_500_000_000, ClockTrust.NTP)
    cases = {}
    for aead in (Aead.AES_256_GCM, Aead.CHACHA20_POLY1305):
        draws = iter([EPOCH, DEK])
        sealer = StreamSealer(
            box=box, recipients=[Recipient("iccc", public)], stream_id=stream, boot_id=BOOT, aead=aead,
            previous=PREVIOUS, beacon=lambda: BEACON, random=lambda n, draws=draws: next(draws),
        )  # fmt: skip
        init = InitSegment(b"ftyp and moov", "avc3.64001f", 1280, 720, 90000)
        records = [
            *sealer.begin_epoch(init, at),
            sealer.seal(Fragment(b"moof and mdat", at, 200_000, 18_000, True, False, 5)),
            sealer.seal(Fragment(b"", at, 200_000, 36_000, False, True, 0)),
            sealer.seal_gap("no credit", at, later),
        ]
        plain = [b"", init.data, b"moof and mdat", b"", None]
        cases[aead.name] = [
            {"raw": r.raw.hex(), "digest": r.digest.hex(), "plain": None if p is None else p.hex()}
            for r, p in zip(records, plain, strict=True)
        ]
    vectors = {
        "box_seed": SEED.hex(), "box_public": box.public.hex(), "box_id": box.box_id.hex(),
        "camera_uid": UID, "role": "main", "stream": stream.hex(), "epoch": EPOCH.hex(), "dek": DEK.hex(),
        "commit": commit_of(DEK).hex(), "recipient_id": "iccc", "recipient_private": PRIVATE.hex(),
        "recipient_public": public.hex(), "previous": PREVIOUS.hex(), "beacon": BEACON.hex(),
        "gap_reason": "no credit", "records": cases,
    }  # fmt: skip
    path = Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
