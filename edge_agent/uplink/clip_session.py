"""Sending one clip: parts read ahead by a thread, at most a window of them held, a lease."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from threading import Event, Thread

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Role
from edge_agent.uplink import topics, ulid
from edge_agent.uplink.clip import WINDOW
from edge_agent.uplink.lease import Lease
from edge_agent.uplink.playback import FASTEST
from edge_agent.uplink.topics import MediaKind

ALL_SENT = "all parts sent"
_LOOK_S = 0.5


class ClipSession:
    """One receiver of one clip. `payloads` is read in a thread of its own, because a disk may block."""

    kind = MediaKind.CLIP
    qos = 1
    dropped = 0

    def __init__(
        self, site: str, camera: str, role: Role, lease: str, lease_s: float, clock: Clock,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self.session = ulid.new(clock.now().wall_us)
        self.camera = camera
        self.role = role
        self.topic = topics.media(site, self.session, self.kind, camera, role)
        self._lease = Lease(lease, lease_s, clock)
        self._wake = wake
        self._ahead: queue.Queue[bytes] = queue.Queue(WINDOW)
        self._closed = Event()
        self._end = ""
        self._due = 0.0
        self._paced = False  # held back by nothing but the pace
        self._sent = 0

    def start(self, payloads: Iterable[bytes]) -> None:
        Thread(target=self._read, args=(payloads,), name="clip", daemon=True).start()

    @property
    def sent(self) -> int:
        """Parts handed to the link."""
        return self._sent

    def renew(self, lease: str, lease_s: float) -> bool:
        return self._lease.renew(lease, lease_s)

    def leave(self, lease: str) -> bool:
        return self._lease.leave(lease)

    def ended(self, now: float) -> str:
        """Why nothing more will come. A part that is read after the end was written cannot be."""
        end = self._end
        return self._lease.over(now) or (end if self._ahead.empty() else "")

    def next_part(self, now: float) -> bytes | None:
        """The next payload. Link thread only. Paced, because brokers drop what a slow receiver leaves."""
        self._paced = now < self._due
        if self._paced:
            return None
        try:
            payload = self._ahead.get_nowait()
        except queue.Empty:
            return None
        self._due = max(self._due, now) + len(payload) / FASTEST
        self._sent += 1
        return payload

    def next_due(self) -> float | None:
        paced, self._paced = self._paced, False  # told once: afterwards room or the window may be missing
        return self._due if paced else None

    def reconnected(self) -> None:
        """Parts under way are sent again by the link; nothing else is lost."""

    def close(self) -> None:
        self._closed.set()

    def _read(self, payloads: Iterable[bytes]) -> None:
        reason = "reading failed"
        try:
            for payload in payloads:
                if not self._put(payload):
                    break
            reason = ALL_SENT
        except EdgeAgentError as error:
            reason = str(error)
        finally:
            self._end = reason
            self._wake()

    def _put(self, payload: bytes) -> bool:
        while not self._closed.is_set():
            try:
                self._ahead.put(payload, timeout=_LOOK_S)
            except queue.Full:
                continue
            self._wake()
            return True
        return False
