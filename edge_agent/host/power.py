"""Is mains power there? Asked from a UPS daemon (NUT) over its text protocol, or from the box's own battery.

NUT: Network UPS Tools, protocol of upsd (docs/net-protocol.txt): `LIST UPS`, `GET VAR <ups> ups.status`.
`OL` is on line, `OB` on battery; several words may stand together. Nothing is ever ordered, only asked.
"""

from __future__ import annotations

import shlex
import socket
import time
from dataclasses import dataclass

from edge_agent.errors import EdgeAgentError

NUT_PORT = 3493
TIMEOUT_S = 2.0
MAX_LINE = 1024
MAX_LINES = 64


class UpsError(EdgeAgentError):
    """The UPS daemon does not answer, knows no UPS, or has lost it."""


@dataclass(frozen=True, slots=True)
class Power:
    """`mains` None: the source cannot tell, as when the daemon has lost its UPS."""

    mains: bool | None
    source: str
    charge_percent: int | None = None


@dataclass(frozen=True, slots=True)
class UpsAddress:
    """`ups` empty: the first that the daemon knows."""

    ups: str
    host: str
    port: int = NUT_PORT

    @classmethod
    def parse(cls, text: str) -> UpsAddress:
        """`[ups@]host[:port]`. Raises ValueError."""
        ups, _, where = text.rpartition("@")
        host, _, port = where.partition(":")
        if not host or (port and not port.isdigit()):
            raise ValueError(f"{text!r} is not [ups@]host[:port]")
        return cls(ups, host, int(port or NUT_PORT))


def ask_ups(address: UpsAddress, timeout_s: float = TIMEOUT_S) -> Power:
    """One short conversation. Raises UpsError; takes at most `timeout_s`."""
    where = f"the UPS daemon at {address.host}:{address.port}"
    try:
        with _Conversation(address, time.monotonic() + timeout_s) as upsd:
            ups = address.ups or upsd.first_ups()
            status = upsd.variable(ups, "ups.status")
            charge = upsd.variable(ups, "battery.charge") if status else ""
            upsd.say("LOGOUT")
    except OSError as error:
        raise UpsError(f"{where} does not answer: {error.strerror or 'timed out'}") from error
    return Power(mains_of(status), f"UPS {ups}", _percent(charge))


def own_battery() -> Power | None:
    """The box's own battery, as laptops and some mini-PCs have; None without one."""
    import psutil  # here, for a quick start: the first question comes after recording has begun

    if not hasattr(psutil, "sensors_battery"):
        return None
    try:
        battery = psutil.sensors_battery()
    except (OSError, ValueError):  # a driver that answers nonsense
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return Power(battery.power_plugged, "the box's battery", round(battery.percent))


def mains_of(status: str) -> bool | None:
    """`OL CHRG` is mains, `OB DISCHRG LB` battery; both or neither, as `OL OB` or `WAIT`, is unknown."""
    words = status.split()
    if ("OL" in words) is ("OB" in words):
        return None
    return "OL" in words


def _percent(text: str) -> int | None:
    try:
        return min(max(round(float(text)), 0), 100)
    except (ValueError, OverflowError):
        return None


class _Conversation:
    """Lines to and from upsd until a deadline. Raises UpsError for its refusals, OSError for the network."""

    def __init__(self, address: UpsAddress, until: float) -> None:
        self._until = until
        self._sock = socket.create_connection((address.host, address.port), self._left())
        self._unread = b""

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def say(self, line: str) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(line.encode() + b"\n")

    def first_ups(self) -> str:
        self.say("LIST UPS")
        found = ""
        for _ in range(MAX_LINES):
            words = self._words()
            if words[:2] == ["END", "LIST"]:
                break
            if words[0] == "UPS" and len(words) > 1:
                found = found or words[1]
        if not found:
            raise UpsError("the UPS daemon knows no UPS")
        return found

    def variable(self, ups: str, name: str) -> str:
        """Its value; empty when this UPS does not tell it, or the daemon has lost touch with the UPS."""
        self.say(f"GET VAR {ups} {name}")
        words = self._words()
        if words[0] == "ERR":
            if words[1:2] == ["UNKNOWN-UPS"]:
                raise UpsError(f"the UPS daemon knows no UPS named {ups}")
            return ""  # DATA-STALE, DRIVER-NOT-CONNECTED, VAR-NOT-SUPPORTED
        return words[3] if words[0] == "VAR" and len(words) > 3 else ""

    def _words(self) -> list[str]:
        while b"\n" not in self._unread:
            if len(self._unread) > MAX_LINE:
                raise UpsError("the UPS daemon talks nonsense")
            self._sock.settimeout(self._left())
            received = self._sock.recv(MAX_LINE)
            if not received:
                raise UpsError("the UPS daemon hung up")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            words = shlex.split(line.decode("utf-8", "replace"))
        except ValueError:
            words = []
        return words or [""]

    def _left(self) -> float:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
