"""Who seals and for whom: the box's signing key, the recipients' public keys, names derived from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent import durable
from edge_agent.errors import SealError
from edge_agent.model import Role
from edge_agent.seal.record import Aead

KEY_BYTES = 32
MAX_RECIPIENTS = 8
_AEADS = {"aes-256-gcm": Aead.AES_256_GCM, "chacha20-poly1305": Aead.CHACHA20_POLY1305}
_CPUINFO = Path("/proc/cpuinfo")


class BoxKey:
    """The box's Ed25519 identity: signs key records, checkpoints and births. Safe from any thread."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise SealError(f"a box key is {KEY_BYTES} bytes, this one has {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self.box_id = box_id(self.public)

    def __repr__(self) -> str:
        return f"BoxKey({self.box_id.hex()[:16]})"

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @property
    def private(self) -> Ed25519PrivateKey:
        """For libraries that sign by themselves (JWS); never stored or sent."""
        return self._private

    @staticmethod
    def load_or_create(path: Path) -> BoxKey:
        """Read the 32-byte seed at `path`, or make one; it is durable before this returns.

        The file is readable by its owner only. Raises SealError when it cannot be read or made: going on
        with a key in memory would make every later proof worthless.
        """
        try:
            return BoxKey(path.read_bytes())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SealError(f"box key {path}: {error.strerror}; check owner and mode") from error
        try:
            return BoxKey(_create(path))
        except OSError as error:
            raise SealError(f"box key {path}: cannot be made: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Recipient:
    """Someone to whom each epoch's key is sealed: an X25519 public key of 32 raw bytes, and its name."""

    id: str
    public_key: bytes

    def __post_init__(self) -> None:
        if len(self.public_key) != KEY_BYTES:
            raise SealError(f"recipient {self.id}: an X25519 public key has {KEY_BYTES} bytes")
        if not 1 <= len(self.id.encode()) <= 255:
            raise SealError("a recipient's id has 1 to 255 bytes")


def generate_recipient() -> tuple[bytes, bytes]:
    """A new X25519 pair as raw bytes: (private, public). Made at the ICCC, never on the box."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def box_id(public: bytes) -> bytes:
    """SHA-256 of the box's raw public key: its name in stream ids and segment headers."""
    return sha256(public).digest()


def stream_id(box: bytes, camera_uid: str, role: Role) -> bytes:
    """The 16 bytes that name a stream for ever; the length in front keeps uid and role apart."""
    uid = camera_uid.encode()
    return sha256(box + len(uid).to_bytes(2, "big") + uid + role.value.encode()).digest()[:16]


def choose_aead(preference: str = "auto", cpuinfo: str | None = None) -> Aead:
    """AES-GCM where the CPU has AES instructions, else ChaCha20-Poly1305 (six times faster on a Pi 4)."""
    if preference in _AEADS:
        return _AEADS[preference]
    if preference != "auto":
        raise SealError(f"no such AEAD {preference!r}; use auto, {' or '.join(_AEADS)}")
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if cpuinfo is None else cpuinfo
    return Aead.AES_256_GCM if "aes" in _cpu_flags(text) else Aead.CHACHA20_POLY1305


def _cpu_flags(cpuinfo: str) -> set[str]:
    """The first core's `flags` (x86) or `Features` (ARM); big.LITTLE cores share them."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def _create(path: Path) -> bytes:
    """A new seed, durable before anything is signed with it. A half-written key is never found."""
    seed = os.urandom(KEY_BYTES)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.replace(path, seed, 0o600)
    return seed
