"""The newest policy of the command centre, kept as the bytes that were signed, and checked whenever read."""

from __future__ import annotations

import base64
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent import durable
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError
from edge_agent.health.policy import Demand, demand
from edge_agent.uplink.commands import TrustedKey
from edge_agent.uplink.operations import CommandRole
from edge_agent.uplink.policy import MAX_POLICY, Policy, PolicyRefused, PolicyVerifier

log = logging.getLogger(__name__)

NAME = "policy.jws"


@dataclass(frozen=True, slots=True)
class Kept:
    """`signed`: the exact payload, to know it again when the broker repeats it."""

    policy: Policy
    kid: str
    signed: bytes


def verifier(config: Config) -> PolicyVerifier:
    """Knows the pinned command keys. A key that cannot be read is refused elsewhere, at start."""
    keys = {}
    for entry in config.keys.commands:
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(entry.public_key, validate=True))
        except ValueError:
            continue
        keys[entry.kid] = TrustedKey(CommandRole(entry.role), public)
    return PolicyVerifier(keys, config.site.id)


def load(config: Config) -> Kept | None:
    """The policy on disk if a key that is pinned today signed it; else None, and why in the log."""
    path = config.state.directory / NAME
    try:
        with path.open("rb") as file:
            signed = file.read(MAX_POLICY + 1)
        policy, kid = verifier(config).verify(signed, newer_than=0)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.error("%s: %s; the configuration's hours hold", path, error.strerror)
        return None
    except PolicyRefused as refusal:
        log.error("%s: %s; the configuration's hours hold", path, refusal)
        return None
    return Kept(policy, kid, signed)


def save(directory: Path, signed: bytes) -> None:
    """Durable when it returns. Raises EdgeAgentError."""
    try:
        durable.replace(directory / NAME, signed)
    except OSError as error:
        raise EdgeAgentError(f"{directory / NAME}: {error.strerror}") from error


def digest(signed: bytes) -> str:
    return hashlib.sha256(signed).hexdigest()


def kept_demand(config: Config) -> Demand:
    """What holds at this site: the policy on disk, else the configuration."""
    return demand_of(config, load(config))


def demand_of(config: Config, kept: Kept | None) -> Demand:
    return demand(config) if kept is None else demand(config, kept.policy.policy, kept.policy.version)
