"""Private keys as PEM files: made at the first call, read at every later one, mode 0600."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey

COSIGNATURE_V1 = b"\x04"  # C2SP tlog-cosignature: the key type of witnesses and mirrors


def ed25519_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """Raises ValueError when the file holds another kind of key."""
    key = read(path) if path.exists() else _made(path, ed25519.Ed25519PrivateKey.generate())
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key")
    return key


def x25519_key(path: Path) -> x25519.X25519PrivateKey:
    """Raises ValueError when the file holds another kind of key."""
    key = read(path) if path.exists() else _made(path, x25519.X25519PrivateKey.generate())
    if not isinstance(key, x25519.X25519PrivateKey):
        raise ValueError(f"{path} holds no X25519 key")
    return key


def public_base64(key: ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey) -> str:
    """The public half as the configuration writes it: base64 of 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def vkey(name: str, key: ed25519.Ed25519PrivateKey) -> str:
    """`name+hash+base64` of a witness or mirror (C2SP signed-note, key type of cosignature/v1)."""
    typed = COSIGNATURE_V1 + key.public_key().public_bytes_raw()
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    return f"{name}+{key_hash.hex()}+{base64.b64encode(typed).decode()}"


def read(path: Path) -> Private:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Private):
        raise ValueError(f"{path} holds a kind of key that nothing here uses")
    return key


def write_private(path: Path, key: Private) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write(path, pem, 0o600)


def write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    half = path.with_name(path.name + ".new")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    half.replace(path)


def _made(path: Path, key: Private) -> Private:
    write_private(path, key)
    return key
