"""What an ingest worker needs to start: a TOML file read into a frozen model (docs/guides/iccc.md)."""

from __future__ import annotations

import tomllib
from base64 import b64decode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import ConfigError
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.link import TlsFiles
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
        keys: dict[str, bytes] = {}
        for site, text in self.boxes.items():
            try:
                keys[site] = b64decode(text, validate=True)
            except ValueError as error:
                raise ConfigError([f"boxes.{site}: not base64"]) from error
        return TrustedBoxes(keys, self.boxes_dir)


def load(path: Path) -> RegistrarSettings:
    """Raises ConfigError that names the file and every wrong key."""
    try:
        document: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error
    for name in PATHS:
        if isinstance(document.get(name), str):
            document[name] = path.parent / str(document[name])
    try:
        return RegistrarSettings.model_validate(document)
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(problems) from error


def _role(name: str, path: Path) -> Role:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError([f"{path}: not a private key in PEM: {error}"]) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError([f"{path}: not an Ed25519 private key"])
    return Role.named(name, key.public_key().public_bytes_raw(), key.sign)
