"""Live view of one stream: the tap's records, unchanged, in parts, and never older than a deadline.

A slow uplink must degrade the picture and nothing else: a fragment that waited too long is dropped together
with all up to the next keyframe, and counted. The viewer sees the jump in the record numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from edge_agent.clock import Clock
from edge_agent.model import Role
from edge_agent.seal.record import Kind, Record
from edge_agent.tap import Tap
from edge_agent.uplink import parts, topics, ulid
from edge_agent.uplink.messages import LiveStarted
from edge_agent.uplink.steering import Steering
from edge_agent.uplink.topics import MediaKind

PART_BYTES = 16 * 1024  # small enough that a more urgent part soon gets its turn
DEADLINE_S = 0.6  # what waits longer goes, with all up to the next keyframe
MAX_WAITING = 4 * 1024**2


class LivePacer:
    """Which record to send next, and which never. Pure; not for several threads.

    Key and init records are never dropped: nothing after them could be opened.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S, max_bytes: int = MAX_WAITING) -> None:
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Record, float]] = deque()
        self._held = 0
        self._skipping = False
        self._newest: tuple[bytes, int] = (b"", -1)
        self.offered = self.dropped = 0

    def offer(self, record: Record, now: float) -> None:
        """A new record, in the stream's order; one that was offered before is ignored."""
        epoch, number = record.header.epoch, record.header.n
        if epoch == self._newest[0] and number <= self._newest[1]:
            return
        self._newest = (epoch, number)
        self.offered += 1
        if self._skipping and not _resumes(record):
            self.dropped += 1
            return
        if record.header.keyframe:
            self._skipping = False
        self._waiting.append((record, now))
        self._held += len(record.raw)
        if self._held > self._max_bytes:
            self._skip_to_keyframe()

    def restart(self, backlog: tuple[Record, ...], now: float) -> None:
        """A viewer joined: begin again with the tap's backlog. What waited and is not in it still follows."""
        waiting = [r for r, _ in self._waiting if r.header.kind is Kind.FRAGMENT]
        self._waiting.clear()
        self._held, self._newest, self._skipping = 0, (b"", -1), False
        held = {(r.header.epoch, r.header.n) for r in backlog}
        fresh = any(r.header.kind is Kind.FRAGMENT for r in backlog)
        rest = () if fresh else [r for r in waiting if (r.header.epoch, r.header.n) not in held]
        for record in (*backlog, *rest):
            self.offer(record, now)

    def next(self, now: float) -> Record | None:
        if self._waiting and self._is_late(now):
            self._skip_to_keyframe()
        if not self._waiting:
            return None
        record, _ = self._waiting.popleft()
        self._held -= len(record.raw)
        return record

    def _is_late(self, now: float) -> bool:
        record, offered = self._waiting[0]
        return record.header.kind is Kind.FRAGMENT and now - offered > self._deadline_s

    def _skip_to_keyframe(self) -> None:
        """Drop at least the first fragment and everything up to the next keyframe, but no key or init."""
        kept: deque[tuple[Record, float]] = deque()
        dropping, first = False, True
        for record, offered in self._waiting:
            if record.header.kind is not Kind.FRAGMENT:
                kept.append((record, offered))
                continue
            dropping = first or (dropping and not record.header.keyframe)
            first = False
            if dropping:
                self.dropped += 1
            else:
                kept.append((record, offered))
        self._waiting = kept
        self._held = sum(len(r.raw) for r, _ in kept)
        self._skipping = dropping


class LiveSession:
    """All viewers of one stream. Leases from the main thread, records from capture, parts to the link.

    `smaller` is the camera's small stream, if it runs: it takes over while the line carries no more. A viewer
    sees it by the key and init records of another of the camera's streams.
    """

    kind = MediaKind.LIVE
    qos = 0

    def __init__(
        self,
        site: str,
        camera: str,
        role: Role,
        tap: Tap[Record],
        clock: Clock,
        wake: Callable[[], None],
        smaller: Tap[Record] | None = None,
    ) -> None:
        self.session = ulid.new(clock.now().wall_us)
        self.camera = camera
        self.role = role
        self.topic = topics.media(site, self.session, self.kind, camera, role)
        self._raw_session = ulid.to_bytes(self.session)
        self._asked, self._smaller = tap, smaller
        self._tap = tap
        self._steering = Steering()
        self._steer_s = 0.0
        self._clock = clock
        self._wake = wake
        self._lock = Lock()  # held for microseconds: the capture thread passes here
        self._pacer = LivePacer()
        self._leases: dict[str, float] = {}
        self._parts: deque[bytes] = deque()
        self._sent = 0
        self._over = False

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def dropped(self) -> int:
        return self._pacer.dropped

    def join(self, lease: str, lease_s: float) -> LiveStarted | None:
        """One more viewer: the group of pictures so far is sent (again), then what follows.

        None when the last viewer has just left and the session is over.
        """
        with self._lock:
            if self._over:
                return None
            self._leases[lease] = self._clock.monotonic() + lease_s
        backlog = self.restart()
        fragments = [r.header.n for r in backlog if r.header.kind is Kind.FRAGMENT]
        return LiveStarted(
            session=self.session,
            lease=lease,
            topic=self.topic,
            epoch=backlog[0].header.epoch.hex() if backlog else None,
            first=fragments[0] if fragments else None,
            lease_s=int(lease_s),
        )

    def restart(self) -> tuple[Record, ...]:
        """Begin again at the last keyframe, as after a lost connection."""
        with self._lock:
            self._tap.unsubscribe(self._arrived)
            backlog = self._tap.subscribe(self._arrived)
            self._pacer.restart(backlog, self._clock.monotonic())
        return backlog

    def renew(self, lease: str, lease_s: float) -> bool:
        with self._lock:
            if lease not in self._leases:
                return False
            self._leases[lease] = self._clock.monotonic() + lease_s
            return True

    def leave(self, lease: str) -> bool:
        with self._lock:
            return self._leases.pop(lease, None) is not None

    def ended(self, now: float) -> str:
        """Why nobody watches any more, empty while somebody does."""
        with self._lock:
            for lease in [name for name, until in self._leases.items() if until <= now]:
                del self._leases[lease]
            self._over = not self._leases
            return "no viewer left" if self._over else ""

    def steer(self, now: float) -> None:
        """Step to the small stream when the line is strained, and back to see. Link thread, any time."""
        if self._smaller is None or now < self._steer_s:
            return
        self._steer_s = now + 1.0
        with self._lock:
            offered, dropped = self._pacer.offered, self._pacer.dropped
        if self._tap is self._asked and self._steering.strained(offered, dropped, now):
            self._steering.stepped_down(now)
            self._serve(self._smaller)
        elif self._tap is not self._asked and self._steering.may_try(now):
            self._steering.stepped_up(now)
            self._serve(self._asked)

    def next_part(self, now: float) -> bytes | None:
        """The next payload. Link thread only."""
        if not self._parts:
            with self._lock:
                record = self._pacer.next(now)
            if record is None:
                return None
            self._parts.extend(parts.split(record.raw, self._raw_session, self._sent, PART_BYTES))
            self._sent += 1
        return self._parts.popleft()

    def next_due(self) -> float | None:
        return None

    def reconnected(self) -> None:
        self._parts.clear()
        self.restart()

    def close(self) -> None:
        self._tap.unsubscribe(self._arrived)

    def _serve(self, tap: Tap[Record]) -> None:
        with self._lock:
            self._tap.unsubscribe(self._arrived)
            self._tap = tap
        self.restart()

    def _arrived(self, record: Record) -> None:
        with self._lock:
            self._pacer.offer(record, self._clock.monotonic())
        self._wake()


def _resumes(record: Record) -> bool:
    return record.header.kind is not Kind.FRAGMENT or record.header.keyframe
