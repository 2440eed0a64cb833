"""Answers to a 401: Basic (RFC 7617) and Digest (RFC 7616, RFC 2069 without qop)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_agent.model import Credentials

_PARAMETER = re.compile(r'([A-Za-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"(?:^|,)\s*(Digest|Basic)\b", re.IGNORECASE)
_HASHES = {"SHA-256": "sha256", "MD5": "md5"}  # the strongest first


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that the device offers. `algorithm` is empty for Basic."""

    algorithm: str
    session: bool
    parameters: Mapping[str, str]

    @property
    def nonce(self) -> str:
        return self.parameters.get("nonce", "")

    @property
    def stale(self) -> bool:
        return self.parameters.get("stale", "").lower() == "true"


def strongest(headers: Iterable[str]) -> Challenge | None:
    """The best challenge we can answer: SHA-256, MD5, Basic. Hikvision offers two in two headers."""
    offered = [c for header in headers for c in _challenges(header[:4096])]
    order = [*_HASHES, ""]
    return min(offered, key=lambda c: order.index(c.algorithm), default=None)


class Authorizer:
    """Makes the Authorization header for one challenge; counts its own uses of the nonce."""

    def __init__(
        self,
        credentials: Credentials,
        challenge: Challenge,
        cnonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.challenge = challenge
        self._credentials = credentials
        self._cnonce = cnonce
        self._uses = 0

    def header(self, method: str, url: str) -> str:
        if not self.challenge.algorithm:
            pair = f"{self._credentials.username}:{self._credentials.password}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        self._uses += 1
        return self._digest(method, url)

    def _digest(self, method: str, url: str) -> str:
        given = self.challenge.parameters
        realm, nonce, cnonce = given.get("realm", ""), self.challenge.nonce, self._cnonce()
        secret = self._hash(f"{self._credentials.username}:{realm}:{self._credentials.password}")
        if self.challenge.session:
            secret = self._hash(f"{secret}:{nonce}:{cnonce}")
        request = self._hash(f"{method}:{url}")
        count = f"{self._uses:08x}"
        qop = "auth" in [q.strip().lower() for q in given.get("qop", "").split(",")]
        proof = f"{nonce}:{count}:{cnonce}:auth" if qop else nonce
        fields = {
            "username": self._credentials.username,
            "realm": realm,
            "nonce": nonce,
            "uri": url,
            "response": self._hash(f"{secret}:{proof}:{request}"),
        }
        text = "Digest " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in fields.items())
        if "algorithm" in given:
            text += f", algorithm={given['algorithm']}"
        if "opaque" in given:
            text += f', opaque="{_quoted(given["opaque"])}"'
        return text + (f', qop=auth, nc={count}, cnonce="{cnonce}"' if qop else "")

    def _hash(self, text: str) -> str:
        name = _HASHES[self.challenge.algorithm]
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _challenges(header: str) -> list[Challenge]:
    """Split a header that may hold several challenges; those with an unknown algorithm are left out."""
    starts = list(_SCHEME.finditer(header))
    found = []
    for index, start in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(header)
        body = header[start.end() : end]
        parameters = {name.lower(): _plain(quoted, bare) for name, quoted, bare in _PARAMETER.findall(body)}
        if start[1].lower() == "basic":
            found.append(Challenge("", False, parameters))
            continue
        name = parameters.get("algorithm", "MD5").upper()
        if name.removesuffix("-SESS") in _HASHES:
            found.append(Challenge(name.removesuffix("-SESS"), name.endswith("-SESS"), parameters))
    return found


def _plain(quoted: str, bare: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare


def _quoted(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text).replace("\r", "").replace("\n", "")
