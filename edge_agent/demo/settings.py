"""The demo city's files: keys, certificates, and the agent's configuration, under one state directory."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_agent.demo import keyfile
from edge_agent.demo.pki import Pki
from edge_agent.seal.keys import BoxKey

SITE = "aligarh-pump-0001"
COMMAND_KID = "iccc-operators"
SUPERVISOR_KID = "iccc-supervisors"
RECIPIENT_ID = "iccc"
WITNESS_NAME = "iccc/witness"
MIRROR_NAME = "iccc/mirror"
DVR_USER = "admin"
DVR_PASSWORD = "demo-Pump-42"  # noqa: S105 - the virtual DVR's, on loopback
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the demo keeps what. Made anew or reused: a second start keeps keys and footage."""

    state: Path

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def broker(self) -> Path:
        return self.state / "broker"

    @property
    def agent(self) -> Path:
        return self.state / "agent"

    @property
    def iccc(self) -> Path:
        return self.state / "iccc"

    @property
    def mirror(self) -> Path:
        """The registrars' store: every leaf that the command centre has."""
        return self.iccc / "mirror.sqlite"

    @property
    def boxes(self) -> Path:
        """`{site}.pub` of further sites, as enrolment would leave them."""
        return self.iccc / "boxes"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def agent_config(self) -> Path:
        return self.agent / "edge-agent.toml"

    def make(self) -> None:
        for directory in (self.state, self.pki, self.broker, self.agent, self.iccc, self.logs):
            directory.mkdir(parents=True, exist_ok=True)


def serial(layout: Layout) -> str:
    """The virtual DVR's serial number: its own for each state directory, as two demos may run at once."""
    return "DEMO" + hashlib.sha256(str(layout.state).encode()).hexdigest()[:10].upper()


def box_public(layout: Layout) -> bytes:
    """The agent's public key. Made here on first use, as enrolment would: the ICCC must know it."""
    return BoxKey.load_or_create(layout.agent / "box.key").public


def write_agent_config(layout: Layout, pki: Pki, broker_port: int, endpoint: str) -> Path:
    """The configuration a technician would have: nothing in it is special to the demo but the names."""
    document: dict[str, Any] = {
        "site": {
            "id": SITE,
            "name": "Ramghat Road Petrol Pump",
            "kind": "petrol_pump",
            "licence": "UP/ALG/PUMP/0001",
            "address": "Ramghat Road, Aligarh",
            "coordinates": [27.8974, 78.0880],
            "contact": "Pump manager",
            "timezone": "Asia/Kolkata",
        },
        "state": {"directory": str(layout.agent)},
        "discovery": {"interfaces": ["lo"], "sweep": False},
        "recorders": [
            {"name": "dvr", "endpoint": endpoint, "username": DVR_USER, "password": DVR_PASSWORD},
        ],
        "ring": {
            "directory": str(layout.agent / "ring"),
            "min_free_bytes": 256 * MIB,
            "segment_seconds": 10,  # ten minutes in the field; shorter here, so that playback crosses some
            "main": {"max_bytes": 2048 * MIB},
            "sub": {"max_bytes": 512 * MIB},
        },
        "keys": {
            "recipients": [{"id": RECIPIENT_ID, "public_key": public_text(pki.recipient_key())}],
            "commands": [
                {"kid": COMMAND_KID, "role": "operator", "public_key": public_text(pki.command_key())},
                {
                    "kid": SUPERVISOR_KID,
                    "role": "supervisor",
                    "public_key": public_text(pki.supervisor_key()),
                },
            ],
            "witness": keyfile.vkey(WITNESS_NAME, pki.witness_key()),
            "mirror": keyfile.vkey(MIRROR_NAME, pki.mirror_key()),
        },
        "uplink": _uplink(pki, broker_port),
    }
    layout.agent_config.touch(mode=0o600)
    layout.agent_config.write_text(tomlkit.dumps(document), encoding="utf-8")
    return layout.agent_config


def write_registrar_config(layout: Layout, pki: Pki, broker_port: int, worker: str) -> Path:
    """One ingest worker; several share the store and the two cosigning keys."""
    identity = pki.client(worker)
    for make in (pki.witness_key, pki.mirror_key):
        make()
    document = {
        "broker": f"mqtts://127.0.0.1:{broker_port}",
        "ca": str(pki.ca),
        "certificate": str(identity.certificate),
        "key": str(identity.key),
        "client_id": worker,
        "store": str(layout.mirror),
        "witness_key": str(pki.witness_key_path),
        "witness_name": WITNESS_NAME,
        "mirror_key": str(pki.mirror_key_path),
        "mirror_name": MIRROR_NAME,
        "boxes": {SITE: base64_text(box_public(layout))},
        "boxes_dir": str(layout.boxes),
    }
    path = layout.iccc / f"{worker}.toml"
    path.touch(mode=0o600)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return path


def _uplink(pki: Pki, broker_port: int) -> dict[str, Any]:
    control, media = pki.client(SITE), pki.client(f"{SITE}.av")
    return {
        "brokers": [f"mqtts://127.0.0.1:{broker_port}"],
        "ca": str(pki.ca),
        "certificate": str(control.certificate),
        "key": str(control.key),
        "media_certificate": str(media.certificate),
        "media_key": str(media.key),
        "heartbeat_s": 10,  # a minute in the field; shorter here, so that a visitor sees one
    }


def public_text(key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """Base64 of the raw public half, as the configuration wants it."""
    return base64_text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
