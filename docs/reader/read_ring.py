#!/usr/bin/env python3
"""Read edge-agent ring segments with docs/format.md alone: shares no code with the agent.

    read_ring.py BOX_PUBLIC_HEX RECIPIENT_ID PRIVATE_HEX SEGMENT... [--out DIRECTORY]

Checks every digest, signature, commitment, order and chain; writes <stream>-<epoch>.mp4 when asked.
Needs only `cryptography`. Exit code 0: all is well, 1: damage or missing records, 2: forgery.
"""

# ruff: noqa: T201
import argparse
import hashlib
import struct
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY, INIT, FRAGMENT, GAP, STILL, TIPS = range(1, 7)
NAMES = ("kind", "flags", "aead", "trust", "reserved", "body_length", "stream", "epoch", "n", "wall",
         "boot", "boot_id", "duration", "plain_length", "tfdt", "prev")  # fmt: skip
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class Forged(Exception): ...


def hkdf(dek, info):
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(dek)


def record_at(data, at):
    """(header fields, raw header, body, digest, end), or None where no good record begins."""
    if data[at : at + 6] != b"EAR1\x00\x88" or len(data) < at + 144:
        return None
    fields = struct.unpack(">BBBBHI16s16sQqQ16sIIQ32s", data[at + 6 : at + 136])
    header = dict(zip(NAMES, fields, strict=True))
    whole = header["plain_length"] + (16 if header["aead"] else 0) == header["body_length"] <= 8 << 20
    known = (1 <= header["kind"] <= 6, header["flags"] <= 3, header["aead"] <= 2, header["trust"] <= 3)
    end = at + 136 + header["body_length"]
    digest = hashlib.sha256(data[at:end]).digest()
    if not whole or not all(known) or header["reserved"] or data[end : end + 8] != digest[:8]:
        return None
    return header, data[at : at + 136], data[at + 136 : end], digest, end + 8


def walk(data):
    """Records in order; (start, end) of every damaged range between them."""
    at = good = 64  # good: where the last whole record ended
    while at < len(data):
        if found := record_at(data, at):
            if at > good:
                yield good, at
            yield found
            at = good = found[4]
        else:
            at = data.find(b"EAR1\x00\x88", at + 1) % (len(data) + 1)  # -1, not found: the end
    if at > good:
        yield good, at


def open_key(header, raw, body, box, who, private):
    """The epoch's key, for a key record that the box has signed."""
    try:
        Ed25519PublicKey.from_public_bytes(box).verify(body[-64:], raw + body[:-64])
    except InvalidSignature:
        raise Forged("key record is not signed by the box") from None
    commit, at = body[:32], 89
    for _ in range(body[88]):
        length = body[at]
        name = body[at + 1 : at + 1 + length]
        suite, size = struct.unpack_from(">HH", body, at + 1 + length)
        at += 5 + length + size
        if name == who.encode() and suite == 1:
            info = b"ear1 dek" + header["stream"] + header["epoch"] + commit + name
            dek = SUITE.decrypt(body[at - size : at], X25519PrivateKey.from_private_bytes(private), info)
            if hkdf(dek, b"ear1 commit") != commit:
                raise Forged("key does not match its commitment")
            return dek
    raise Forged(f"not sealed to {who}")


class Epoch:
    def __init__(self, dek, digest):
        self.dek, self.n, self.digest, self.out = dek, 0, digest, []

    def take(self, header, raw, body, digest):
        """One more record in order. Returns how many are missing before it."""
        missing = header["n"] - self.n - 1
        if missing < 0:
            return 0  # a copy
        if missing == 0 and header["prev"] != self.digest:
            raise Forged(f"record {header['n']} does not follow its predecessor")
        key = hkdf(self.dek, b"ear1 aead" + header["stream"] + header["epoch"])
        cipher = {1: AESGCM, 2: ChaCha20Poly1305}[header["aead"]](key)
        try:
            plain = cipher.decrypt(bytes(4) + struct.pack(">Q", header["n"]), body, raw)
        except InvalidTag:
            raise Forged(f"record {header['n']} does not open") from None
        self.n, self.digest = header["n"], digest
        if header["kind"] in (INIT, FRAGMENT):
            self.out.append(plain)
        return missing


def main():
    parser = argparse.ArgumentParser()
    for name in ("box", "who", "private"):
        parser.add_argument(name)
    parser.add_argument("segments", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    box, private = bytes.fromhex(args.box), bytes.fromhex(args.private)
    epochs, seen, code = {}, set(), 0
    for path in sorted(args.segments):
        for found in walk(path.read_bytes()):
            if len(found) == 2:
                print(f"{path.name}: bytes {found[0]} to {found[1]} are damaged")
                code = max(code, 1)
                continue
            header, raw, body, digest, _ = found
            identity = header["stream"].hex() + "-" + header["epoch"].hex()
            if (path, digest) in seen and FRAGMENT <= header["kind"] <= STILL:
                print(f"{path.name} {identity}: record {header['n']} stands twice")
                code = max(code, 1)
            seen.add((path, digest))
            try:
                if header["kind"] == KEY and identity not in epochs:
                    epochs[identity] = Epoch(open_key(header, raw, body, box, args.who, private), digest)
                elif header["kind"] not in (KEY, TIPS) and (lost := epochs[identity].take(*found[:4])):
                    print(f"{identity}: {lost} records are missing before {header['n']}")
                    code = max(code, 1)
            except (Forged, InvalidTag, KeyError) as error:
                print(f"{path.name} {identity} n={header['n']}: FORGED or unknown: {error}")
                code = 2
    for identity, epoch in epochs.items():
        print(f"{identity}: up to record {epoch.n}, {len(epoch.out)} pieces")
        if args.out:
            (args.out / f"{identity}.mp4").write_bytes(b"".join(epoch.out))
    return code


if __name__ == "__main__":
    sys.exit(main())
