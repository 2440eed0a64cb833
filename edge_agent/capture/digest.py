"""HTTP Digest authentication (RFC 7616, or RFC 2617 without qop), where a device asks for it (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_agent.model import Credentials

_SCHEME = re.compile(r"(?:^|,)\s*Digest\s+", re.IGNORECASE)
_PAIR = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")


@dataclass(frozen=True, slots=True)
class Challenge:
    realm: str
    nonce: str
    algorithm: str  # MD5, SHA-256, or with -sess
    qop: str  # "auth" or empty
    opaque: str
    stale: bool


def choose(headers: Iterable[str]) -> Challenge | None:
    """The strongest challenge that can be answered; Hikvision offers MD5 and SHA-256 side by side."""
    offered = [c for header in headers for c in _challenges(header[:4000])]
    return max(offered, key=lambda c: c.algorithm.startswith("SHA-256"), default=None)


def authorization(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, *, count: int, cnonce: str
) -> str:
    """The Authorization header for the `count`th use of this challenge's nonce."""
    digest = _hash(challenge.algorithm)
    ha1 = digest(f"{credentials.username}:{challenge.realm}:{credentials.password}")
    if challenge.algorithm.endswith("-SESS"):
        ha1 = digest(f"{ha1}:{challenge.nonce}:{cnonce}")
    ha2 = digest(f"{method}:{uri}")
    middle = f"{count:08x}:{cnonce}:{challenge.qop}:" if challenge.qop else ""
    parts = {
        "username": credentials.username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
        "response": digest(f"{ha1}:{challenge.nonce}:{middle}{ha2}"),
        **({"opaque": challenge.opaque} if challenge.opaque else {}),
    }
    plain = [f"algorithm={challenge.algorithm}"]
    if challenge.qop:
        plain += [f"qop={challenge.qop}", f"nc={count:08x}", f'cnonce="{cnonce}"']
    return "Digest " + ", ".join([*(f'{k}="{_escaped(v)}"' for k, v in parts.items()), *plain])


def _challenges(header: str) -> Iterable[Challenge]:
    for part in _SCHEME.split(header)[1:]:
        pairs = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(part)}
        algorithm = (pairs.get("algorithm") or "MD5").upper()
        qops = [q.strip().lower() for q in pairs.get("qop", "").split(",")]
        known = algorithm.removesuffix("-SESS") in ("MD5", "SHA-256")
        if not known or not pairs.get("nonce") or (qops != [""] and "auth" not in qops):
            continue
        yield Challenge(
            pairs.get("realm", ""),
            pairs["nonce"],
            algorithm,
            "auth" if "auth" in qops else "",
            pairs.get("opaque", ""),
            pairs.get("stale", "").lower() == "true",
        )


def _hash(algorithm: str) -> Callable[[str], str]:
    if algorithm.startswith("SHA-256"):
        return lambda text: hashlib.sha256(text.encode()).hexdigest()
    return lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _escaped(value: str) -> str:
    return "".join(f"\\{c}" if c in '"\\' else c for c in value if c.isprintable())
