"""One sealer per stream, from the keys in the configuration."""

from __future__ import annotations

import base64
from collections.abc import Callable

from edge_agent.config import Config
from edge_agent.errors import ConfigError
from edge_agent.model import Role, StreamSpec
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, choose_aead, generate_recipient
from edge_agent.seal.sealer import StreamSealer


class Sealing:
    """Makes one sealer per stream. Without a recipient nothing may be sealed, so nothing is recorded."""

    def __init__(self, config: Config, box: BoxKey, boot_id: bytes) -> None:
        self._box = box
        self._boot_id = boot_id
        self._aead = choose_aead(config.keys.aead)
        entries = [*config.keys.recipients, *filter(None, [config.keys.site_recipient])]
        self._recipients = [
            Recipient(e.id, public_key(f"keys.recipients.{e.id}", e.public_key)) for e in entries
        ]
        self.beacon: Callable[[], bytes] | None = None

    @property
    def possible(self) -> bool:
        return bool(self._recipients)

    def sealer(self, spec: StreamSpec, rings: dict[Role, RingWriter]) -> StreamSealer:
        recorded = spec.record and spec.key.role in rings
        previous = rings[spec.key.role].previous(spec.stream_id) if recorded else bytes(32)
        return self._make(spec.stream_id, previous)

    def still_sealer(self) -> StreamSealer | None:
        return self._make(self._box.box_id[:16], bytes(32)) if self.possible else None

    def _make(self, stream: bytes, previous: bytes) -> StreamSealer:
        # Without a recipient nothing asks a sealer to seal; it is still built, for a key that nobody has.
        nobody = [Recipient("nobody", generate_recipient()[1])]
        return StreamSealer(
            box=self._box,
            recipients=self._recipients or nobody,
            stream_id=stream,
            boot_id=self._boot_id,
            aead=self._aead,
            previous=previous,
            beacon=self.beacon,
        )


def public_key(name: str, text: str) -> bytes:
    """The 32 bytes of a public key in the configuration. Raises ConfigError that says `name`."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ConfigError([f"{name}: not base64"]) from error
    if len(key) != 32:
        raise ConfigError([f"{name}: a public key has 32 bytes, this one {len(key)}"])
    return key
