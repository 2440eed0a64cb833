"""Private keys that people bring: PEM (PKCS 8), as `openssl genpkey` writes them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge_agent.errors import EdgeAgentError


def x25519(path: Path) -> X25519PrivateKey:
    """What opens footage. Raises EdgeAgentError that names the file."""
    key = _read(path)
    if not isinstance(key, X25519PrivateKey):
        raise EdgeAgentError(f"{path}: not an X25519 private key")
    return key


def ed25519(path: Path) -> Ed25519PrivateKey:
    """What signs a package. Raises EdgeAgentError that names the file."""
    key = _read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise EdgeAgentError(f"{path}: not an Ed25519 private key")
    return key


def _read(path: Path) -> object:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise EdgeAgentError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise EdgeAgentError(f"{path}: not a private key in PEM without a password") from error
