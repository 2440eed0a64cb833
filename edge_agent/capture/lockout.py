"""Lock-out care: a recorder locks the account after a few wrong passwords, and then the owner cannot
reach it either (Hikvision about 30 minutes, Reolink 5). So we give each device at most two wrong answers,
over ONVIF and RTSP together, and then hold our tongue until the credentials are edited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from threading import Lock

from edge_agent.model import Credentials

WRONG_ANSWERS_ALLOWED = 2

# Dahua and IMOU: "You still have 5 attempt(s)"; others: "remaining attempts: 3", "locked for 1800 seconds".
_COUNTDOWN = re.compile(
    r"(?:still have|remaining|left)\D{0,20}(?P<left>\d{1,3})|(?P<before>\d{1,3})\s*(?:attempt|tr(?:y|ies))",
    re.IGNORECASE,
)
_LOCKED = re.compile(r"\block(?:ed)?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Standing:
    """What one device thinks of one pair of credentials."""

    credentials: Credentials
    wrong: int = 0
    attempts_left: int | None = None  # the device's own countdown, if it tells
    locked: bool = False  # the device says so

    @property
    def may_try(self) -> bool:
        if self.locked or self.wrong >= WRONG_ANSWERS_ALLOWED:
            return False
        return self.attempts_left is None or self.attempts_left > 1


def countdown(text: str) -> int | None:
    """The attempts that the device says are left, read from its fault text; None when it tells nothing."""
    found = _COUNTDOWN.search(text[:2000])
    return int(found["left"] or found["before"]) if found else None


def after_wrong_answer(standing: Standing, text: str) -> Standing:
    """`text` is what the device said with its refusal."""
    left = countdown(text)
    return replace(
        standing,
        wrong=standing.wrong + 1,
        attempts_left=standing.attempts_left if left is None else left,
        locked=standing.locked or bool(_LOCKED.search(text[:2000])),
    )


class Lockouts:
    """The standing of every device, shared by ONVIF lanes and RTSP streams. Any thread.

    Keyed by the device's address alone: ONVIF on port 80 and RTSP on port 554 guard the same accounts.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._standings: dict[str, Standing] = {}

    def may_try(self, address: str, credentials: Credentials) -> bool:
        """False when another attempt could lock the account; edited credentials begin anew."""
        return self.standing(address, credentials).may_try

    def wrong(self, address: str, credentials: Credentials, text: str = "") -> Standing:
        """The device refused these credentials, with `text`."""
        with self._lock:
            standing = after_wrong_answer(self._of(address, credentials), text)
            self._standings[address] = standing
            return standing

    def right(self, address: str, credentials: Credentials) -> None:
        """The device accepted these credentials: the count starts again."""
        with self._lock:
            self._standings[address] = Standing(credentials)

    def standing(self, address: str, credentials: Credentials) -> Standing:
        with self._lock:
            return self._of(address, credentials)

    def _of(self, address: str, credentials: Credentials) -> Standing:
        known = self._standings.get(address)
        return known if known and known.credentials == credentials else Standing(credentials)


def sentence(address: str, standing: Standing) -> str:
    """Why we stopped and what to do, for the technician."""
    said = ""
    if standing.locked:
        said = " The device says that the account is locked; wait half an hour or restart it."
    elif standing.attempts_left is not None:
        said = f" The device says that {standing.attempts_left} attempt(s) are left."
    return (
        f"{address} refuses the user {standing.credentials.username!r}.{said} No further attempt is made, so "
        "that the account is not locked: correct the user name and password in the configuration, and check "
        "that this user may use ONVIF (Hikvision and Prama keep ONVIF users in a list of their own)."
    )
