"""Playback of recorded footage: records read from an iterator, paced, acknowledged, bounded.

A thread of its own reads ahead, because a disk may block and the link must not. It ends with the footage,
with `close`, or when the reading fails; each is an end that the viewer hears of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition, Lock, Thread

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Role
from edge_agent.seal.record import Header, Kind, Record
from edge_agent.uplink import parts, topics, ulid
from edge_agent.uplink.lease import Lease
from edge_agent.uplink.live import PART_BYTES
from edge_agent.uplink.messages import LiveStarted
from edge_agent.uplink.topics import MediaKind

LEAD_S = 2.0  # sent ahead of real time, so that a player need not stop at the first hiccup
LONGEST_PAUSE_S = 1.0  # a gap in the footage is jumped, not waited for
READ_AHEAD = 2 * 1024**2
END_OF_FOOTAGE = "end of footage"
FASTEST = 4 * 1024**2  # bytes a second; above it brokers drop what a slow subscriber has not taken yet


class Pace:
    """When a record is due: media time over speed, `LEAD_S` ahead; without a speed, at `FASTEST`. Pure."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._next_us: int | None = None
        self._clock = 0.0  # when the sample at `_next_us` is played; without a speed, when more may leave

    def due(self, header: Header, now: float) -> float:
        """Monotonic seconds. Call once per record, in order."""
        if header.kind is not Kind.FRAGMENT:
            return now
        if self._speed is None:
            due = max(self._clock, now)
            self._clock = due + header.record_length / FASTEST
            return due
        if self._next_us is None:
            self._clock = now
        else:
            step_s = (header.wall_us - self._next_us) / 1e6
            if 0 < step_s <= LONGEST_PAUSE_S:
                self._clock += step_s / self._speed
            self._clock = max(self._clock, now)  # a slow link is not made up for by a burst
        due = max(self._clock - LEAD_S, now)
        self._next_us = header.end_us
        self._clock += header.duration_us / 1e6 / self._speed
        return due


class PlaybackSession:
    """One viewer of one range. `seek` begins again with other records in the same session."""

    kind = MediaKind.PLAYBACK
    qos = 1

    def __init__(
        self, site: str, camera: str, role: Role, lease: str, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.session = ulid.new(clock.now().wall_us)
        self.camera = camera
        self.role = role
        self.topic = topics.media(site, self.session, self.kind, camera, role)
        self._lease = Lease(lease, 0.0, clock)  # until `start`
        self._raw_session = ulid.to_bytes(self.session)
        self._wake = wake
        self._lock = Lock()  # between `seek` and the link
        self._reader: _ReadAhead | None = None
        self._pace = Pace(None)
        self._record: Record | None = None  # read, waiting for its moment
        self._due = 0.0
        self._parts: deque[bytes] = deque()
        self._sent = 0
        self.dropped = 0

    def start(self, records: Iterable[Record], speed: float | None, lease_s: float) -> LiveStarted:
        self._lease.renew(self._lease.name, lease_s)
        self.seek(records, speed)
        return LiveStarted(
            session=self.session, lease=self._lease.name, topic=self.topic, lease_s=int(lease_s)
        )

    def seek(self, records: Iterable[Record], speed: float | None) -> int:
        """Go on with other records. What was read ahead is forgotten, what was sent is sent.

        Returns the number that the first of them will have in the session: what a receiver waits for.
        """
        reader = _ReadAhead(records, self._wake)
        with self._lock:
            previous, self._reader = self._reader, reader
            self._pace, self._record = Pace(speed), None
            first = self._sent
        if previous is not None:
            previous.close()
        return first

    def renew(self, lease: str, lease_s: float) -> bool:
        return self._lease.renew(lease, lease_s)

    def leave(self, lease: str) -> bool:
        return self._lease.leave(lease)

    def ended(self, now: float) -> str:
        if over := self._lease.over(now):
            return over
        with self._lock:
            if self._reader is None or self._record is not None or self._parts:
                return ""
            return self._reader.ended()

    @property
    def sent(self) -> int:
        """Records handed to the link."""
        return self._sent

    def next_part(self, now: float) -> bytes | None:
        """The next payload once it is due. Link thread only."""
        with self._lock:
            if not self._parts:
                record = self._take_due(now)
                if record is None:
                    return None
                self._parts.extend(parts.split(record.raw, self._raw_session, self._sent, PART_BYTES))
                self._sent += 1
            return self._parts.popleft()

    def next_due(self) -> float | None:
        with self._lock:
            return self._due if self._record is not None else None

    def reconnected(self) -> None:
        """Parts under way are sent again by the link; nothing else is lost."""

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _take_due(self, now: float) -> Record | None:
        if self._record is None and self._reader is not None:
            self._record = self._reader.take()
            if self._record is not None:
                self._due = self._pace.due(self._record.header, now)
        if self._record is None or self._due > now:
            return None
        record, self._record = self._record, None
        return record


class _ReadAhead:
    """Reads records in a thread until `READ_AHEAD` bytes wait."""

    def __init__(self, records: Iterable[Record], wake: Callable[[], None]) -> None:
        self._records = records
        self._wake = wake
        self._changed = Condition()
        self._waiting: deque[Record] = deque()
        self._held = 0
        self._closed = False
        self._end = ""
        Thread(target=self._read, name="playback", daemon=True).start()

    def take(self) -> Record | None:
        with self._changed:
            if not self._waiting:
                return None
            record = self._waiting.popleft()
            self._held -= len(record.raw)
            self._changed.notify()
            return record

    def ended(self) -> str:
        """Why nothing more will come, empty while something may."""
        with self._changed:
            return "" if self._waiting else self._end

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _read(self) -> None:
        reason = "reading failed"
        try:
            for record in self._records:
                if not self._put(record):
                    break
            reason = END_OF_FOOTAGE
        except EdgeAgentError as error:
            reason = str(error)
        finally:
            with self._changed:
                self._end = reason
            self._wake()

    def _put(self, record: Record) -> bool:
        with self._changed:
            while self._held >= READ_AHEAD and not self._closed:
                self._changed.wait(1.0)
            if self._closed:
                return False
            self._waiting.append(record)
            self._held += len(record.raw)
        self._wake()
        return True
