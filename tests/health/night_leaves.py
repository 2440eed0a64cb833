"""A ledger in memory, told hour by hour: what tests of the nightly record read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent.clock import timestamp
from edge_agent.ledger import leaf
from edge_agent.model import ClockTrust, Instant

IST = "Asia/Kolkata"
MIN = 60_000_000
HOUR = 60 * MIN


def at(text: str, zone: str = IST) -> int:
    """`2026-11-21 22:04` at the site, in microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


class Story:
    """Leaves as the agent writes them. `until` lets minutes pass with their marks."""

    def __init__(
        self, cameras: Sequence[str], start: str, zone: str = IST, boot: int = 1, every: int = 1
    ) -> None:
        self.zone = zone
        self._every_us = every * MIN
        self.cameras = list(cameras)
        self.entries: list[bytes] = []
        self.now_us = at(start, zone)
        self.letters = dict.fromkeys(self.cameras, "-")
        self.trust = ClockTrust.NTP
        self._boot = boot
        self._offset_us = self.now_us - 5_000_000

    def boot(self, before: str = "first_start", alive_us: int | None = None) -> Story:
        if before in ("power_lost", "box_shutdown"):
            self._boot += 1
            self._offset_us = self.now_us - 5_000_000
        self.letters = dict.fromkeys(self.cameras, "-")
        alive = timestamp(alive_us) if alive_us else None
        self.add("boot", software="0", run="00", before=before, alive=alive)
        return self.add("cameras", ids=self.cameras)

    def all_up(self) -> Story:
        for camera in self.cameras:
            self.turn(camera, "up")
        return self

    def turn(self, camera: str, state: str, since: str | None = None, **more: Any) -> Story:
        since_us = at(since, self.zone) if since else self.now_us
        self.letters[camera] = {"up": "u", "dark": "l", "unusable": "d"}.get(state, "-")
        return self.add("camera", camera=camera, state=state, since=timestamp(since_us), **more)

    def until(self, text: str, *, marks: bool = True) -> Story:
        """Let time pass up to then."""
        end_us = at(text, self.zone)
        while marks and self.now_us + self._every_us <= end_us:
            self.now_us += self._every_us
            self.add("mark", run=1, seg=[1], bcn="", cam="".join(self.letters.values()), tips="")
        self.now_us = end_us
        return self

    def add(self, kind: str, **data: Any) -> Story:
        moment = Instant(self.now_us, (self.now_us - self._offset_us) * 1000, self.trust)
        self.entries.append(leaf.encode(kind, data, moment, self._boot.to_bytes(4) + bytes(12)))
        return self

    def leaves(self) -> list[leaf.Leaf]:
        return [leaf.decode(entry) for entry in self.entries]
