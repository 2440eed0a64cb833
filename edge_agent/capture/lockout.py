"""Lock-out care: a recorder locks the account after a few wrong passwords, and then the owner cannot
reach it either (Hikvision about 30 minutes, Reolink 5). So we give each device at most two wrong answers,
over ONVIF and RTSP together, and then hold our tongue until the credentials are edited.

Whatever is on its way counts as wrong until it is answered: eight streams that are cut when the password
changes send it twice, not eight times.
"""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock

from edge_agent.capture.ports import Door, Leave
from edge_agent.model import Credentials

WRONG_ANSWERS_ALLOWED = 2
LOCKED_S = 2700.0  # recorders lock for 5 to 30 minutes; then our one attempt is worth it again
CLAIM_S = 5.0  # an answer that the device has not judged by then is given up
MAX_STANDINGS = 256

# Dahua and IMOU: "You still have 5 attempt(s)"; others: "remaining attempts: 3", "locked for 1800 seconds".
_COUNTDOWN = re.compile(
    r"(?:still have|remaining|left)\D{0,20}(?P<left>\d{1,3})|(?P<before>\d{1,3})\s*(?:attempt|tr(?:y|ies))",
    re.IGNORECASE,
)
_LOCKED = re.compile(r"\block(?:ed)?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Standing:
    """What one device thinks of one pair of credentials.

    `wrong` answers since the last right one, at any door: what the device's own counter stands at. Beside it,
    each door's refusals since it last said yes, because some recorders keep ONVIF users in a list of their
    own: what ONVIF refuses may be right for RTSP. `proven` doors said yes the last time they were asked.
    """

    wrong: int = 0
    wrong_onvif: int = 0
    wrong_rtsp: int = 0
    proven: frozenset[Door] = frozenset()
    attempts_left: int | None = None  # the device's own countdown, if it tells
    locked: bool = False  # the device says so
    locked_at: float = 0.0  # monotonic; 0 after a restart of ours, when nothing better is known

    def allowance(self, door: Door) -> int:
        """How many answers may be wrong from here on; 0: not one more is sent."""
        if self.locked or self._closed(door):
            return 0
        left = WRONG_ANSWERS_ALLOWED - self.wrong
        if self.attempts_left is not None:
            left = min(left, self.attempts_left - 1)  # the last attempt is the owner's
        return max(left, 0)

    def _closed(self, door: Door) -> bool:
        """ONVIF is asked once where RTSP has said yes: the other attempt is kept for the recording."""
        if door is Door.RTSP:
            return self.wrong_rtsp >= WRONG_ANSWERS_ALLOWED
        return self.wrong_onvif >= (1 if Door.RTSP in self.proven else WRONG_ANSWERS_ALLOWED)

    @property
    def may_try(self) -> bool:
        return any(self.allowance(door) for door in Door)


def countdown(text: str) -> int | None:
    """The attempts that the device says are left, read from its fault text; None when it tells nothing."""
    found = _COUNTDOWN.search(text[:2000])
    return int(found["left"] or found["before"]) if found else None


def after_wrong_answer(standing: Standing, door: Door, text: str) -> Standing:
    """`text` is what the device said with its refusal."""
    left = countdown(text)
    return replace(
        standing,
        wrong=standing.wrong + 1,
        wrong_onvif=standing.wrong_onvif + (door is Door.ONVIF),
        wrong_rtsp=standing.wrong_rtsp + (door is Door.RTSP),
        proven=standing.proven - {door},
        attempts_left=standing.attempts_left if left is None else left,
        locked=standing.locked or bool(_LOCKED.search(text[:2000])),
    )


def after_right_answer(standing: Standing, door: Door) -> Standing:
    return replace(
        standing,
        wrong=0,
        wrong_onvif=0 if door is Door.ONVIF else standing.wrong_onvif,
        wrong_rtsp=0 if door is Door.RTSP else standing.wrong_rtsp,
        proven=standing.proven | {door},
        attempts_left=None,
        locked=False,
    )


@dataclass(frozen=True, slots=True)
class _Claim:
    pair: str
    until: float
    wrong: int  # refusals when it was granted


class Lockouts:
    """The standing of every device, shared by ONVIF conversations and RTSP streams. Any thread.

    Keyed by the device's address and a keyed digest of the credentials: ONVIF on port 80 and RTSP on port
    554 guard the same accounts, and edited credentials begin anew. Implements `CredentialGate`.
    """

    def __init__(
        self,
        secret: bytes = b"",
        kept: Mapping[str, Standing] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`kept` is what an earlier run wrote down under the same `secret`."""
        self.revision = 0  # counts what is worth writing down
        self._secret = secret or os.urandom(32)
        self._monotonic = monotonic
        self._born = monotonic()
        self._lock = Lock()
        self._standings = dict(kept or {})
        self._claims: dict[object, _Claim] = {}

    def may_try(self, address: str, credentials: Credentials, door: Door = Door.ONVIF) -> bool:
        """False when another attempt could lock the account; edited credentials begin anew."""
        return self.standing(address, credentials).allowance(door) > 0

    def ask(
        self,
        address: str,
        credentials: Credentials,
        asker: object,
        *,
        door: Door,
        holds_s: float = CLAIM_S,
    ) -> Leave:
        """May `asker` send these credentials now? GO is a claim, held until it is answered, given back, or
        `holds_s` old; WAIT means that others' answers are awaited first; STOP that nothing more is sent.
        """
        pair, now = self._pair(address, credentials), self._monotonic()
        with self._lock:
            standing = self._of(pair)
            allowed = standing.allowance(door)
            if not allowed:
                return Leave.STOP
            self._claims = {a: c for a, c in self._claims.items() if c.until > now and a is not asker}
            if sum(1 for claim in self._claims.values() if claim.pair == pair) >= allowed:
                return Leave.WAIT
            self._claims[asker] = _Claim(pair, now + holds_s, standing.wrong)
            return Leave.GO

    def give_back(self, asker: object) -> None:
        """The question ended without the device judging the credentials."""
        with self._lock:
            self._claims.pop(asker, None)

    def wrong(
        self,
        address: str,
        credentials: Credentials,
        text: str = "",
        asker: object = None,
        door: Door = Door.ONVIF,
    ) -> Standing:
        """The device refused these credentials, with `text`."""
        pair = self._pair(address, credentials)
        with self._lock:
            self._claims.pop(asker, None)
            standing = after_wrong_answer(self._of(pair), door, text)
            if standing.locked:
                standing = replace(standing, locked_at=self._monotonic())
            self._standings.pop(pair, None)
            while len(self._standings) >= MAX_STANDINGS:
                self._standings.pop(next(iter(self._standings)))
            self._standings[pair] = standing
            self.revision += 1
            return standing

    def right(
        self, address: str, credentials: Credentials, asker: object = None, door: Door = Door.ONVIF
    ) -> None:
        """The device accepted these credentials: its own counter, and this door's, start again.

        What `asker` sent before the last refusal proves nothing: a pull that is answered now was let in
        before the password changed.
        """
        pair = self._pair(address, credentials)
        with self._lock:
            claim, before = self._claims.pop(asker, None), self._of(pair)
            if asker is not None and (claim is None or claim.wrong < before.wrong):
                return
            after = after_right_answer(before, door)
            if after != before:
                self._standings[pair] = after
                self.revision += _worth_keeping(before)

    def standing(self, address: str, credentials: Credentials) -> Standing:
        pair = self._pair(address, credentials)
        with self._lock:
            return self._of(pair)

    def sentence(self, address: str, credentials: Credentials) -> str:
        """Why we stopped and what to do, for the technician."""
        return sentence(address, credentials.username, self.standing(address, credentials))

    def forget(self) -> None:
        """All refusals: a person says that they were put right at the device."""
        with self._lock:
            self._standings.clear()
            self.revision += 1

    def worth_keeping(self) -> dict[str, Standing]:
        """What a restart must not forget: whoever was refused."""
        with self._lock:
            return {p: s for p, s in self._standings.items() if _worth_keeping(s)}

    def _of(self, pair: str) -> Standing:
        """A lock runs out; somebody else may have caused it. What we spent ourselves stays spent."""
        standing = self._standings.get(pair, Standing())
        if standing.locked and self._monotonic() - max(standing.locked_at, self._born) >= LOCKED_S:
            return replace(standing, locked=False, attempts_left=None)
        return standing

    def _pair(self, address: str, credentials: Credentials) -> str:
        text = "\0".join((address, credentials.username, credentials.password))
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()


def _worth_keeping(standing: Standing) -> bool:
    return bool(standing.wrong_onvif or standing.wrong_rtsp or standing.locked)


def sentence(address: str, username: str, standing: Standing) -> str:
    said = ""
    if standing.locked:
        said = " The device says that the account is locked; wait half an hour or restart it."
    elif standing.attempts_left is not None:
        said = f" The device says that {standing.attempts_left} attempt(s) are left."
    return (
        f"{address} refuses the user {username!r}.{said} No further attempt is made, so "
        "that the account is not locked: correct the user name and password in the configuration, and check "
        "that this user may use ONVIF (Hikvision and Prama keep ONVIF users in a list of their own)."
    )
