"""What the command centre believes of what arrives: pure judgement, no connection.

Births and replies must be signed by the box's own key, known from enrolment and never taken from the birth
itself: the broker, or whoever holds it, could else speak for any box.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent import deflate
from edge_agent.errors import FormatError
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Kind, iter_records
from edge_agent.uplink import messages, parts
from edge_agent.uplink.messages import Message
from edge_agent.uplink.topics import Up, UpTopic

SIGNED = frozenset({Up.BIRTH, Up.REPLY})
_TYPES = {
    Up.STATE: messages.State,
    Up.BIRTH: messages.Birth,
    Up.HEARTBEAT: messages.Heartbeat,
    Up.EVENT: messages.Event,
    Up.REPLY: messages.Reply,
}


class Boxes(Protocol):
    def public_key(self, site: str) -> bytes | None:
        """The box's raw Ed25519 public key from enrolment; None for a site that is not enrolled."""
        ...


class TrustedBoxes:
    """Boxes named in the configuration, and `{site}.pub` files (base64 of 32 bytes) left by enrolment."""

    def __init__(self, keys: Mapping[str, bytes], directory: Path | None = None) -> None:
        self._keys = dict(keys)
        self._directory = directory

    def public_key(self, site: str) -> bytes | None:
        known = self._keys.get(site)
        if known is None and self._directory is not None:
            known = read_public_key(self._directory / f"{site}.pub")
            if known is not None:
                self._keys[site] = known
        return known


@dataclass(frozen=True, slots=True)
class Still:
    """A picture that a box took, in clear."""

    jpeg: bytes
    taken_us: int


def believe(topic: UpTopic, payload: bytes, boxes: Boxes) -> Message:
    """The message, if it is what its topic says and signed where it must be. Raises FormatError.

    Sites that are not enrolled are not listened to at all.
    """
    kind = _TYPES.get(topic.leaf)
    if kind is None:
        raise FormatError(f"no message travels on {topic.leaf.value}")
    public_key = _key_of(topic.site, boxes)
    if topic.leaf in SIGNED or not payload.startswith((b"{", deflate.MARK)):
        message = messages.verify_message(payload, public_key)
    else:
        message = messages.decode(payload)
    if not isinstance(message, kind):
        raise FormatError(f"a {message.type} on the topic of a {topic.leaf.value}")
    if isinstance(message, messages.Birth) and message.data.site != topic.site:
        raise FormatError("a birth of another site")
    return message


def open_still(payload: bytes, opener: Opener) -> Still:
    """A snapshot: key record and still record, one after the other. Raises FormatError or SealError."""
    still = None
    for record in iter_records(payload):
        plain = opener.open(record)
        if record.header.kind is Kind.STILL:
            still = Still(plain, record.header.wall_us)
    if still is None:
        raise FormatError("a snapshot without a still record")
    return still


class StillParts:
    """Puts snapshots of one site together when they come in parts; one at a time for each camera."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[bytes, parts.Reassembler]] = {}

    def receive(self, camera: str, payload: bytes) -> bytes | None:
        """The whole snapshot, or None while parts are missing. Raises FormatError."""
        if not payload.startswith(parts.MAGIC):
            return payload
        session = parts.parse(payload).session
        known = self._open.get(camera)
        if known is None or known[0] != session:
            known = self._open[camera] = (session, parts.Reassembler(session, max_open=2))
        return known[1].receive(payload)


def read_public_key(path: Path) -> bytes | None:
    """Raises FormatError for a file that is there and holds something else."""
    try:
        key = b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: not a base64 public key") from error
    if len(key) != 32:
        raise FormatError(f"{path}: not a base64 public key")
    return key


def _key_of(site: str, boxes: Boxes) -> Ed25519PublicKey:
    public = boxes.public_key(site)
    if public is None:
        raise FormatError(f"site {site} is not enrolled here")
    return Ed25519PublicKey.from_public_bytes(public)
