"""The signed policy on `dn/config`: made at the command centre, believed at the box after every check. Pure.

Unlike a command it does not expire and is bound to no session: it is retained, and a box that was away for a
month reads it then. What keeps an old one out is its version, which only rises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_agent.config import CAMERA_ID, SITE_ID
from edge_agent.errors import FormatError, UplinkError
from edge_agent.health.policy import DutyPolicy
from edge_agent.uplink import jws
from edge_agent.uplink.commands import Code, TrustedKey
from edge_agent.uplink.jws import BadSignature, UnknownKey
from edge_agent.uplink.operations import CommandRole, Ulid

POLICY_TYP = "edge-policy+jws"
MAX_POLICY = 64 * 1024
ROLES = frozenset({CommandRole.SUPERVISOR})


class Policy(BaseModel):
    """What is signed. Exactly one of `site` and `group`; `iat` in seconds of Unix time.

    `version` rises with every policy that a box gets, whether by its site or by a group. Replies name `id`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Ulid
    version: Annotated[int, Field(ge=1, lt=2**53, strict=True)]
    site: Annotated[str, Field(pattern=SITE_ID)] | None = None
    group: Annotated[str, Field(pattern=CAMERA_ID)] | None = None
    operator: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Annotated[str, Field(max_length=256)] = ""
    iat: Annotated[int, Field(ge=0, lt=2**40, strict=True)]
    policy: DutyPolicy

    @model_validator(mode="after")
    def _one_audience(self) -> Policy:
        if (self.site is None) == (self.group is None):
            raise ValueError("exactly one of site and group")
        return self


class PolicyRefused(UplinkError):
    """A payload that is not obeyed. `kid` and `policy` are known only if the signature held."""

    def __init__(self, code: Code, sentence: str, kid: str = "", policy: Policy | None = None) -> None:
        super().__init__(f"{code.value}: {sentence}")
        self.code = code
        self.kid = kid
        self.policy = policy


def sign_policy(private_key: Ed25519PrivateKey, kid: str, policy: Policy) -> bytes:
    """The payload for `dn/config`: a compact JWS."""
    content = policy.model_dump_json(exclude_none=True, exclude_defaults=True).encode()
    return jws.sign(private_key, kid, POLICY_TYP, content)


class PolicyVerifier:
    """Decides whether a payload is a policy for this box."""

    def __init__(
        self, keys: Mapping[str, TrustedKey], site: str, groups: frozenset[str] = frozenset()
    ) -> None:
        self._keys = dict(keys)
        self._site, self._groups = site, groups

    def verify(self, payload: bytes, *, newer_than: int) -> tuple[Policy, str]:
        """The policy, and the key that signed it. Raises PolicyRefused."""
        kid, content = self._authentic(payload)
        try:
            policy = Policy.model_validate_json(content)
        except ValidationError as error:
            raise PolicyRefused(Code.MALFORMED, _first_fault(error), kid) from error
        if policy.site is not None and policy.site != self._site:
            raise PolicyRefused(Code.WRONG_AUDIENCE, "meant for another site", kid, policy)
        if policy.group is not None and policy.group not in self._groups:
            raise PolicyRefused(Code.WRONG_AUDIENCE, "meant for a group this site is not in", kid, policy)
        if self._keys[kid].role not in ROLES:
            raise PolicyRefused(Code.NOT_ALLOWED, "the key's role may not set a policy", kid, policy)
        if policy.version <= newer_than:
            told = f"version {policy.version} does not follow {newer_than}"
            raise PolicyRefused(Code.STALE, told, kid, policy)
        return policy, kid

    def _authentic(self, payload: bytes) -> tuple[str, bytes]:
        if len(payload) > MAX_POLICY:
            raise PolicyRefused(Code.MALFORMED, "too long")
        try:
            verified = jws.verify(payload, POLICY_TYP, self._public_key)
        except UnknownKey as error:
            raise PolicyRefused(Code.UNKNOWN_KID, str(error)) from error
        except BadSignature as error:
            raise PolicyRefused(Code.BAD_SIGNATURE, str(error)) from error
        except FormatError as error:
            raise PolicyRefused(Code.MALFORMED, str(error)) from error
        return verified.kid, verified.payload

    def _public_key(self, kid: str) -> Ed25519PublicKey | None:
        key = self._keys.get(kid)
        return key.public if key else None


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(p) for p in first['loc']) or 'policy'}: {first['msg']}"[:200]
