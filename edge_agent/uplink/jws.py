"""Compact JWS with Ed25519 (RFC 7515, RFC 9864): the one shape in which this protocol signs anything. Pure.

The library would accept `jku`, `crit`, `b64: false` or a foreign `typ`; here the protected header must hold
exactly `alg`, `typ` and `kid`, and nothing else is ever looked at.

joserfc brings X.509 and every other algorithm along, an eighth of the daemon's start; a box that was killed
records before it speaks, so the library is loaded by the first message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_agent.errors import FormatError

ALG = "Ed25519"
MAX_TOKEN = 120 * 1024
_NAMES = frozenset({"alg", "typ", "kid"})


class UnknownKey(FormatError):
    """Well-formed, but signed by a key that is not pinned here."""


class BadSignature(FormatError):
    """The key is known and did not sign these bytes."""


@dataclass(frozen=True, slots=True)
class Verified:
    kid: str
    payload: bytes


def sign(private_key: Ed25519PrivateKey, kid: str, typ: str, payload: bytes) -> bytes:
    from joserfc import jws
    from joserfc.jwk import OKPKey

    header = {"alg": ALG, "typ": typ, "kid": kid}
    key = OKPKey.import_key(private_key)
    return jws.serialize_compact(header, payload, key, algorithms=[ALG]).encode("ascii")


def verify(token: bytes, typ: str, find_key: Callable[[str], Ed25519PublicKey | None]) -> Verified:
    """The payload and who signed it. Raises FormatError, UnknownKey or BadSignature, in this order."""
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import OKPKey

    if len(token) > MAX_TOKEN:
        raise FormatError("token too long")
    try:
        parsed = jws.extract_compact(token)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise FormatError("not a compact JWS") from error
    header = parsed.protected
    if not isinstance(header, dict) or header.keys() != _NAMES:
        raise FormatError("the header is not exactly alg, typ, kid")
    kid = header["kid"]
    if header["alg"] != ALG or header["typ"] != typ or not isinstance(kid, str):
        raise FormatError(f"the header does not say {ALG} and {typ}")
    public_key = find_key(kid)
    if public_key is None:
        raise UnknownKey("signed by a key that is not pinned")
    try:
        jws.deserialize_compact(token, OKPKey.import_key(public_key), algorithms=[ALG])
    except (JoseError, ValueError) as error:
        raise BadSignature("the signature does not match") from error
    if parsed.payload is None:
        raise FormatError("no payload")
    return Verified(kid, parsed.payload)
