"""sd_notify(3): tell systemd that we are ready, alive, what we do, and that we end. Standard library only."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

MAX_STATUS = 200


class Notifier:
    """Speaks to the socket that systemd named; without one every call does nothing. Main thread.

    Datagrams are sent without waiting: a manager that does not read must not hold the daemon up.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._last_status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> Notifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; the watchdog may be meant for another pid."""
        usec = environ.get("WATCHDOG_USEC", "")
        meant_for = environ.get("WATCHDOG_PID", "")
        ours = not meant_for or meant_for == str(os.getpid() if pid is None else pid)
        watchdog_s = int(usec) / 1e6 if usec.isdecimal() and ours else None
        return cls(environ.get("NOTIFY_SOCKET") or None, watchdog_s)

    @property
    def under_systemd(self) -> bool:
        return self._address is not None

    @property
    def pet_every_s(self) -> float | None:
        """A third of the watchdog's patience, so that one late beat does not kill; None without watchdog."""
        return self.watchdog_s / 3 if self.watchdog_s else None

    def ready(self, status: str = "") -> None:
        """Start-up is over: the first record is durable, or the site is declared dark."""
        self._send("READY=1", *_status(status))

    def alive(self) -> None:
        """Pet the watchdog; only while every worker has beaten lately."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        if text != self._last_status:
            self._last_status = text
            self._send(*_status(text))

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        with (
            contextlib.suppress(OSError),  # systemd restarting itself; the next message gets through
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> tuple[str, ...]:
    line = " ".join(text.split())[:MAX_STATUS]
    return (f"STATUS={line}",) if line else ()
