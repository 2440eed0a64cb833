"""Recorded footage at the command centre: media parts in, opened items out, gaps made visible. Pure.

Believed is only what the box has signed: the key record of each epoch, of the stream that its birth names.
The numbers of the records inside an epoch, and of those inside the session, show what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_agent.errors import FormatError, SealError
from edge_agent.iccc.coverage import NOT_RUNNING, NOTHING_RECORDED
from edge_agent.iccc.fmp4_view import view_init
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.model import Role
from edge_agent.seal.opener import Opener, gap_of
from edge_agent.seal.record import Header, Kind, Record, parse_record
from edge_agent.uplink import parts, ulid
from edge_agent.uplink.messages import LiveStarted
from edge_agent.uplink.parts import Reassembler

JOIN_US = 1_000_000  # fragments no farther apart than this follow each other
PREROLL_US = 120_000_000  # footage begins at a keyframe; none is older than this
LOST_ON_WAY = "footage was lost on the way here"
DAMAGED = "footage is missing on the box's disk"
TOO_SLOW = "the reader here was too slow"
BOX_RESTARTED = "the box was restarted"


@dataclass(frozen=True, slots=True)
class PlaybackGap:
    """Nothing to show from `from_us` to `to_us` (wall time of the box, microseconds), and why."""

    from_us: int
    to_us: int
    cause: str


@dataclass(frozen=True, slots=True)
class PlaybackEnd:
    """The last item. `complete`: the box has said that all was sent, and all of it is here."""

    reason: str
    complete: bool


PlaybackItem = LiveInit | LiveFragment | PlaybackGap | PlaybackEnd


@dataclass(frozen=True, slots=True)
class Numbered:
    """An opened record with its number in the session. `lost` says why some before it are missing."""

    number: int
    item: LiveInit | LiveFragment | PlaybackGap
    lost: str = ""


class PlaybackReceiver:
    """Judges, orders and opens the records of one session. One thread."""

    def __init__(
        self,
        started: LiveStarted,
        role: Role,
        opener: Opener,
        stream: bytes,
        from_us: int,
        to_us: int,
        keep: Callable[[Record], None] | None = None,
    ) -> None:
        """`keep` hears every whole record before it is judged, in the link's thread; it must not block."""
        self._keep = keep
        self._parts = Reassembler(ulid.to_bytes(started.session))
        self._role, self._opener, self._stream = role, opener, stream
        self._range = (from_us, to_us)
        self._epoch: bytes | None = None
        self._last_n = 0  # of the epoch, since its last key record; 1 before the first fragment
        self._lost = ""
        self.next_number = 0
        self.skipped = 0  # fragments left out up to a keyframe, because one before them was lost
        self.refused: Counter[str] = Counter()

    def widen(self, from_us: int) -> None:
        """The viewer seeks to before the range that was asked for."""
        self._range = (min(from_us, self._range[0]), self._range[1])

    def receive(self, payload: bytes) -> Numbered | None:
        """The item that this part completes, if any. Never raises for what a hostile broker may send."""
        try:
            raw = self._parts.receive(payload)
            if raw is None:
                return None
            record = parse_record(raw)
            if self._keep is not None:
                self._keep(record)
            return self._take(parts.parse(payload).record, record)
        except (FormatError, SealError) as error:
            self.refused[str(error)[:120]] += 1
            return None

    def _take(self, number: int, record: Record) -> Numbered | None:
        header = record.header
        if header.kind is Kind.TIPS and number == self.next_number:
            self.next_number = number + 1  # the box's own stream: proofs for an export, nothing to show
            return None
        if header.stream != self._stream:
            raise SealError("record of another stream")
        if number < self.next_number:
            raise SealError("record that comes too late")
        if number > self.next_number:
            self._lost = LOST_ON_WAY
        self.next_number = number + 1
        if header.kind is Kind.KEY:
            self._begin(record)
            return None
        if header.epoch != self._epoch:
            self._lost = LOST_ON_WAY
            raise SealError("record of an epoch whose key record has not come")
        if header.kind is Kind.INIT:
            return Numbered(number, self._init(record))
        if header.kind is Kind.GAP:
            return Numbered(number, self._gap(record))
        return self._fragment(number, record)

    def _begin(self, record: Record) -> None:
        """A key record begins a passage: the next epoch, or the same one after a seek."""
        header = record.header
        self._opener.open(record)
        self._opener.rejoin(header.stream, header.epoch)
        self._epoch, self._last_n = header.epoch, 0

    def _init(self, record: Record) -> LiveInit:
        plain = self._opener.open(record)
        self._last_n = 1
        return LiveInit(plain, record.header.epoch, view_init(plain), self._role)

    def _gap(self, record: Record) -> PlaybackGap:
        if self._last_n > 1 and record.header.n != self._last_n + 1:
            self._opener.rejoin(record.header.stream, record.header.epoch)
        since, at, reason = gap_of(self._opener.open(record))
        self._last_n = record.header.n
        return PlaybackGap(since.wall_us, at.wall_us, reason)

    def _fragment(self, number: int, record: Record) -> Numbered | None:
        header = record.header
        if header.kind is not Kind.FRAGMENT or self._last_n == 0:
            raise SealError("record without an init record before it")
        if not self._asked_for(header):
            raise SealError("record of another time than the one asked for")
        if header.n != self._last_n + 1:
            if not header.keyframe:
                self.skipped += 1
                self._lost = self._lost or DAMAGED
                return None
            if self._last_n > 1:
                self._lost = self._lost or DAMAGED
                self._opener.rejoin(header.stream, header.epoch)
        plain = self._opener.open(record)
        self._last_n = header.n
        lost, self._lost = self._lost, ""
        return Numbered(number, LiveFragment(plain, header), lost)

    def _asked_for(self, header: Header) -> bool:
        from_us, to_us = self._range
        return header.end_us > from_us - PREROLL_US and header.wall_us < to_us + JOIN_US


class Journey:
    """Puts a visible gap between fragments that do not follow each other in time or number."""

    def __init__(self, from_us: int) -> None:
        self.reach_us = from_us  # shown, or told to be missing, up to here
        self._stated: PlaybackGap | None = None
        self._last: Header | None = None

    def seek(self, from_us: int) -> None:
        """What lies between here and there is left out because the viewer wants it so."""
        self.reach_us = from_us
        self._stated = self._last = None

    def take(self, item: LiveInit | LiveFragment | PlaybackGap, lost: str = "") -> Iterator[PlaybackItem]:
        """What the viewer gets for one item of the receiver."""
        if isinstance(item, PlaybackGap):
            self._stated = item
            return
        if isinstance(item, LiveFragment):
            header = item.header
            if header.wall_us - self.reach_us > JOIN_US or lost:
                end_us = max(header.wall_us, self.reach_us)
                yield PlaybackGap(self.reach_us, end_us, self._cause(header, lost))
            first = self._last is None  # footage begins at the keyframe before the asked moment
            self.reach_us = max(self.reach_us, header.end_us) if first else header.end_us
            self._stated, self._last = None, header
        yield item

    def rest(self, to_us: int) -> PlaybackGap | None:
        """What is missing between the last fragment and `to_us`."""
        if to_us - self.reach_us <= JOIN_US:
            return None
        return PlaybackGap(self.reach_us, to_us, NOTHING_RECORDED)

    def _cause(self, header: Header, lost: str) -> str:
        """A sealed reason, else what the numbers show, else nobody was there to write one."""
        if self._stated is not None:
            return self._stated.cause
        if lost:
            return lost
        if self._last is None:
            return NOTHING_RECORDED
        restarted = self._last.boot_id != header.boot_id
        return f"{NOT_RUNNING}: {BOX_RESTARTED}" if restarted else NOT_RUNNING
