"""What the console needs to start: a TOML file read into a frozen model (docs/guides/iccc.md)."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from edge_agent.errors import ConfigError, SealError
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings
from edge_agent.iccc.link import TlsFiles
from edge_agent.iccc.settings_file import opening_key, read, signing_key, trusted_boxes
from edge_agent.seal.keys import Recipient

PATHS = (
    "ca", "certificate", "key", "command_key", "recipient_key", "boxes_dir", "mirror", "export_key", "holds",
)  # fmt: skip
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ConsoleSettings(BaseModel):
    """Relative paths count from the file's directory. Keys are PEM (PKCS 8); boxes are base64 of 32 bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str
    ca: Path
    certificate: Path
    key: Path
    client_id: str = "iccc-console"
    command_key: Path
    kid: str
    recipient_key: Path
    recipient_id: str
    operator: Annotated[str, Field(min_length=1, max_length=64)] = "console"
    boxes: dict[str, str] = {}
    boxes_dir: Path | None = None
    export_key: Path | None = None  # Ed25519: signs evidence packages
    export_name: str = "iccc/exporter"
    witness_vkey: str = ""  # what packages name as the command centre's cosigners
    mirror_vkey: str = ""
    mirror: Path | None = None  # the registrars' store: shows what is kept, and fraud
    holds: Path | None = None  # what is held for cases, and its rewrapped keys; default: beside `mirror`
    evidence_id: str = "evidence"
    evidence_public: str = ""  # X25519, base64: holds are rewrapped to it; its private key is kept apart
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    user: str = "operator"
    password: SecretStr = SecretStr("")
    dvr_control: str = ""
    departments: dict[str, str] = {}  # kind of establishment -> who visits; `other`: the rest

    @model_validator(mode="after")
    def _guarded(self) -> ConsoleSettings:
        if self.host not in LOOPBACK and len(self.password.get_secret_value()) < 8:
            raise ValueError(f"listening on {self.host} needs a password of at least 8 characters")
        return self

    def client(self, evidence_key: Path | None = None) -> ClientSettings:
        """Read the keys. `evidence_key`: open with it what is held, in place of the recipient's key.

        Raises ConfigError that names the file which cannot be used.
        """
        opens = evidence_key or self.recipient_key
        command_key, recipient_key = signing_key(self.command_key), opening_key(opens)
        tls = TlsFiles(self.ca, self.certificate, self.key)
        return ClientSettings(
            self.broker, tls, self.client_id, command_key, self.kid,
            self.evidence_id if evidence_key else self.recipient_id, recipient_key.private_bytes_raw(),
        )  # fmt: skip

    def evidence(self) -> Recipient:
        """Raises ConfigError when no evidence key is named."""
        try:
            return Recipient(self.evidence_id, b64decode(self.evidence_public, validate=True))
        except (ValueError, SealError) as error:
            raise ConfigError(
                [f"evidence_public: {error}; name the public key that holds are for"]
            ) from error

    def hold_store(self) -> Path:
        if self.holds is None and self.mirror is None:
            raise ConfigError(["neither `holds` nor `mirror` says where to keep what is held"])
        return self.holds or Path(str(self.mirror)).with_name("holds.sqlite")

    def trusted_boxes(self) -> TrustedBoxes:
        return trusted_boxes(self.boxes, self.boxes_dir)


def load(path: Path, overrides: dict[str, object] | None = None) -> ConsoleSettings:
    """Read the file, then let `overrides` (the command line) win. Raises ConfigError."""
    return read(ConsoleSettings, path, PATHS, overrides)
