"""The lease of a media session with one receiver: who holds it, and until when. Pure but for the clock."""

from __future__ import annotations

from edge_agent.clock import Clock

STOPPED = "stopped"
LEASE_RAN_OUT = "lease ran out"


class Lease:
    """Whoever knows its name may renew it or give it back. Moments are monotonic seconds."""

    def __init__(self, name: str, lease_s: float, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._until = clock.monotonic() + lease_s
        self._left = False

    def renew(self, name: str, lease_s: float) -> bool:
        if name != self.name:
            return False
        self._until, self._left = self._clock.monotonic() + lease_s, False
        return True

    def leave(self, name: str) -> bool:
        self._left = self._left or name == self.name
        return name == self.name

    def over(self, now: float) -> str:
        """Why the session ends; empty while it does not."""
        if self._left:
            return STOPPED
        return LEASE_RAN_OUT if now >= self._until else ""
