"""What an ingest worker needs to start: a TOML file read into a frozen model (docs/guides/iccc.md)."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.link import TlsFiles
from edge_agent.iccc.settings_file import read, signing_key, trusted_boxes
from edge_agent.iccc.witness import Role

PATHS = ("ca", "certificate", "key", "store", "witness_key", "mirror_key", "boxes_dir")


class RegistrarSettings(BaseModel):
    """Relative paths count from the file's directory. Keys are PEM (PKCS 8); boxes are base64 of 32 bytes.

    Workers that share `store` share everything but `certificate` and `client_id`. `session_s`: how long the
    broker keeps a worker's messages while it is away; a worker that is gone for good takes its share of
    them along until then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str
    ca: Path
    certificate: Path
    key: Path
    client_id: str
    store: Path
    witness_key: Path
    witness_name: str = "iccc/witness"
    mirror_key: Path
    mirror_name: str = "iccc/mirror"
    boxes: dict[str, str] = {}
    boxes_dir: Path | None = None
    share: str = "ingest"
    session_s: int = Field(600, ge=1, le=86_400)

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.ca, self.certificate, self.key)

    def witness(self) -> Role:
        """Raises ConfigError that names the file which cannot be used."""
        return _role(self.witness_name, self.witness_key)

    def mirror(self) -> Role:
        return _role(self.mirror_name, self.mirror_key)

    def trusted_boxes(self) -> TrustedBoxes:
        return trusted_boxes(self.boxes, self.boxes_dir)


def load(path: Path) -> RegistrarSettings:
    """Raises ConfigError that names the file and every wrong key."""
    return read(RegistrarSettings, path, PATHS)


def _role(name: str, path: Path) -> Role:
    key = signing_key(path)
    return Role.named(name, key.public_key().public_bytes_raw(), key.sign)
