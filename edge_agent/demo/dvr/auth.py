"""Who may ask: HTTP Digest (RFC 2617, 7616) for RTSP and HTTP, UsernameToken for SOAP. No I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from urllib.parse import unquote

from edge_agent.demo.dvr.faults import DeviceFaults

_LOCK_S = 1800.0
_NONCES_KEPT = 1024
_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


class Verdict(Enum):
    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"
    STALE = "stale"  # right password, but an old nonce
    LATE = "late"  # right password, but the token's time is off
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """What WS-UsernameToken carries, as text; `digest` False is PasswordText."""

    username: str
    password: str
    nonce: str
    created: str
    digest: bool = True


class Accounts:
    """The recorder's one user, its nonces, and the count of wrong answers over RTSP and ONVIF together."""

    def __init__(self, user: str, password: str, realm: str, *, basic: bool = False) -> None:
        """`basic`: Basic (RFC 7617) is taken for Digest."""
        self.user = user
        self.password = password
        self.realm = realm
        self.basic = basic
        self.wrong = 0
        self._locked_until = 0.0
        self._nonces: OrderedDict[str, float] = OrderedDict()

    def change(self, user: str, password: str) -> None:
        """New credentials; the lock and the nonces go, open sessions stay, as on a real recorder."""
        self.user, self.password = user, password
        self._locked_until = 0.0
        self.wrong = 0
        self._nonces.clear()

    def forget_nonces(self) -> None:
        self._nonces.clear()

    def locked(self, now: float) -> bool:
        return now < self._locked_until

    def attempts_left(self, faults: DeviceFaults) -> int | None:
        """None when the recorder never locks."""
        return max(0, faults.lockout_after - self.wrong) if faults.lockout_after else None

    def challenges(self, now: float, faults: DeviceFaults, stale: bool = False) -> tuple[str, ...]:
        """Values of WWW-Authenticate, one per algorithm, the stronger first."""
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = now
        while len(self._nonces) > _NONCES_KEPT:
            self._nonces.popitem(last=False)
        head = f'Digest realm="{self.realm}", nonce="{nonce}"' + (', stale="TRUE"' if stale else "")
        modern = (f'{head}, qop="auth", algorithm=SHA-256',) if faults.sha256 else ()
        return (*modern, f'{head}, qop="auth", algorithm=MD5' if faults.sha256 else head)

    def verify_digest(self, method: str, authorization: str, now: float, faults: DeviceFaults) -> Verdict:
        """Judge one Authorization header; a missing one is no attempt."""
        if self.locked(now):
            return Verdict.LOCKED
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "basic" and self.basic:
            told = base64.b64encode(f"{self.user}:{self.password}".encode())
            good = hmac.compare_digest(rest.strip().encode(), told)
            return Verdict.GOOD if good else self._wrong_answer(now, faults)
        if scheme.lower() != "digest":
            return Verdict.MISSING
        given = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(rest)}
        issued = self._nonces.get(given.get("nonce", ""))
        if issued is None or (faults.nonce_life_s and now - issued > faults.nonce_life_s):
            return Verdict.STALE
        expected = self._response(method, given, faults)
        if expected and self._same(given.get("username", ""), given.get("response", ""), expected):
            return Verdict.GOOD
        return self._wrong_answer(now, faults)

    def verify_told(self, user: str, password: str, now: float, faults: DeviceFaults) -> Verdict:
        """Judge an account that stands in a URL, percent-encoded."""
        if self.locked(now):
            return Verdict.LOCKED
        good = self._same(unquote(user), unquote(password), self.password)
        return Verdict.GOOD if good else self._wrong_answer(now, faults)

    def verify_token(
        self, token: UsernameToken, now: float, device_time: datetime, faults: DeviceFaults
    ) -> Verdict:
        """Judge a UsernameToken against the recorder's own clock, as strict devices do."""
        if self.locked(now):
            return Verdict.LOCKED
        expected = self.password
        if token.digest:
            try:
                nonce = base64.b64decode(token.nonce, validate=True)
            except ValueError:
                return self._wrong_answer(now, faults)
            raw = hashlib.sha1(nonce + token.created.encode() + self.password.encode()).digest()  # noqa: S324
            expected = base64.b64encode(raw).decode()
        if not self._same(token.username, token.password, expected):
            return self._wrong_answer(now, faults)
        if token.digest and not _timely(token.created, device_time, faults):
            return Verdict.LATE
        return Verdict.GOOD

    def _response(self, method: str, given: dict[str, str], faults: DeviceFaults) -> str:
        algorithm = given.get("algorithm", "MD5").upper()
        if algorithm not in _HASHES or (algorithm == "SHA-256" and not faults.sha256):
            return ""

        def hashed(text: str) -> str:
            return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()

        secret = hashed(f"{self.user}:{self.realm}:{self.password}")
        asked = hashed(f"{method}:{given.get('uri', '')}")
        middle = given["nonce"]
        if "qop" in given:
            middle += f":{given.get('nc', '')}:{given.get('cnonce', '')}:{given['qop']}"
        return hashed(f"{secret}:{middle}:{asked}")

    def _same(self, username: str, answer: str, expected: str) -> bool:
        right_answer = hmac.compare_digest(answer.encode(), expected.encode())
        return hmac.compare_digest(username.encode(), self.user.encode()) and right_answer

    def _wrong_answer(self, now: float, faults: DeviceFaults) -> Verdict:
        self.wrong += 1
        if faults.lockout_after and self.wrong >= faults.lockout_after:
            self._locked_until = now + _LOCK_S
        return Verdict.WRONG


def _timely(created: str, device_time: datetime, faults: DeviceFaults) -> bool:
    if faults.zulu_only and not created.endswith("Z"):
        return False
    try:
        stamped = datetime.fromisoformat(created)
    except ValueError:
        return False
    if stamped.tzinfo is None:
        return False
    return abs((stamped - device_time).total_seconds()) <= faults.clock_tolerance_s
