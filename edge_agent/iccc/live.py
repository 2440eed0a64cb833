"""One live session at the command centre: media parts in, opened init segments and fragments out. Pure.

Believed is only what the box's signed reply leads to: the epoch it names, or a later one whose signed key
record comes after it on the box's own clock. What is forged, replayed, foreign or stale is refused and
counted by its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.errors import FormatError, SealError
from edge_agent.iccc.fmp4_view import InitView, view_init
from edge_agent.model import Role
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Header, Kind, Record, parse_record
from edge_agent.uplink import ulid
from edge_agent.uplink.messages import LiveStarted
from edge_agent.uplink.parts import Reassembler

MAX_LAG_S = 120.0  # older media than this is not live: refused as stale
EPOCH_NS = 1230 * 10**9  # twenty minutes and a group of pictures: no epoch is longer (docs/format.md)
CLOCK_SLACK_S = 5.0  # a record's first sample may lie a little before the reply's or the last one's moment


@dataclass(frozen=True, slots=True)
class LiveInit:
    """A new epoch begins; what follows needs this init segment. `view` says what a page must know."""

    data: bytes
    epoch: bytes
    view: InitView
    role: Role


@dataclass(frozen=True, slots=True)
class LiveFragment:
    """`moof` + `mdat` in clear, with the header that the box sealed."""

    data: bytes
    header: Header


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stream was left."""

    epoch: bytes
    newest_ns: int
    last_n: int


LiveItem = LiveInit | LiveFragment


@dataclass(frozen=True, slots=True)
class Anchor:
    """The signed reply's moment on the box's clock, and when it came here (our monotonic clock)."""

    box_ns: int
    arrived_s: float

    def box_now_ns(self, now_s: float) -> int:
        return self.box_ns + int((now_s - self.arrived_s) * 1e9)


class LiveReceiver:
    """Judges, orders and opens the records of one session. One thread.

    `stream` is the id that the signed birth names for the stream, None when it names none; `others` are the
    camera's further streams: the box steps to a smaller one while its line carries no more, and back.
    """

    def __init__(
        self,
        started: LiveStarted,
        anchor: Anchor,
        role: Role,
        opener: Opener,
        stream: bytes | None,
        others: Mapping[bytes, Role] | None = None,
    ) -> None:
        self._parts = Reassembler(ulid.to_bytes(started.session))
        self._named = bytes.fromhex(started.epoch) if started.epoch else None
        self._first = started.first
        self._anchor, self._role, self._opener = anchor, role, opener
        self._stream = stream
        self._roles = dict(others or {})
        self._left: dict[bytes, _Place] = {}  # streams that were stepped away from
        self._epoch: bytes | None = None
        self._boot_id: bytes | None = None
        self._newest_ns = 0
        self._last_n = 0
        self._playable = False
        self.refused: Counter[str] = Counter()
        self.lost_head = False  # key or init record of the running epoch never came: start again
        self.skipped = 0  # fragments left out up to a keyframe, because one before them was lost

    def receive(self, payload: bytes, now_s: float) -> LiveItem | None:
        """The item that this part completes, if any. Never raises for what a hostile broker may send."""
        try:
            raw = self._parts.receive(payload)
            return None if raw is None else self._take(parse_record(raw), now_s)
        except (FormatError, SealError) as error:
            self.refused[str(error)[:120]] += 1
            return None

    def _take(self, record: Record, now_s: float) -> LiveItem | None:
        header = record.header
        if header.kind is Kind.KEY:
            self._begin(record)
            return None
        if header.epoch != self._epoch or (header.kind is Kind.FRAGMENT and not self._playable):
            self.lost_head = True
            raise SealError("record of an epoch whose key or init record has not come")
        if header.kind is Kind.INIT:
            return self._init(record)
        if header.kind is Kind.FRAGMENT:
            return self._fragment(record, now_s)
        if header.kind is Kind.GAP and header.n == self._last_n + 1:
            self._opener.open(record)
            self._last_n = header.n
        return None

    def _begin(self, record: Record) -> None:
        header = record.header
        if header.epoch == self._epoch:
            return  # a copy, for a viewer who joined
        if self._stream is not None and header.stream != self._stream:
            self._step(record)
            return
        if not self._is_next(header):
            raise SealError("key record of an epoch that the signed reply does not lead to")
        self._opener.open(record)
        self._stream, self._epoch, self._boot_id = header.stream, header.epoch, header.boot_id
        self._newest_ns = max(self._newest_ns, header.boot_ns)
        self._last_n, self._playable = 0, False

    def _step(self, record: Record) -> None:
        """Another stream of the same camera takes over, in the midst of its epoch or where it was left.

        How old an epoch may be is bounded by its length; that its fragments are of now is judged one by one.
        """
        header = record.header
        if self._epoch is None or self._stream is None or header.stream not in self._roles:
            raise SealError("key record of another stream")
        left = self._left.get(header.stream, _Place(bytes(16), self._newest_ns - EPOCH_NS, 0))
        known = header.epoch == left.epoch
        if header.boot_id != self._boot_id or not (known or header.boot_ns >= left.newest_ns):
            raise SealError("key record of an epoch that ended before")
        self._opener.open(record)
        self._left[self._stream] = _Place(self._epoch, self._newest_ns, self._last_n)
        self._roles[self._stream] = self._role
        self._role = self._roles[header.stream]
        self._stream, self._epoch = header.stream, header.epoch
        self._newest_ns = max(left.newest_ns, header.boot_ns)
        self._last_n, self._playable = left.last_n if known else 0, False

    def _is_next(self, header: Header) -> bool:
        """The named epoch first; afterwards only epochs that began later, in the same run of the box."""
        if self._epoch is None:
            if self._named is not None:
                return header.epoch == self._named
            return header.boot_ns >= self._anchor.box_ns - int(MAX_LAG_S * 1e9)
        later = header.boot_ns >= self._newest_ns - int(CLOCK_SLACK_S * 1e9)
        return header.boot_id == self._boot_id and later

    def _init(self, record: Record) -> LiveInit | None:
        plain = self._opener.open(record)
        if self._playable:
            return None  # a copy
        view = view_init(plain)
        self._playable = True
        self._last_n = max(self._last_n, 1)
        return LiveInit(plain, record.header.epoch, view, self._role)

    def _fragment(self, record: Record, now_s: float) -> LiveFragment | None:
        header = record.header
        if header.n <= self._last_n:
            return None  # sent again for a viewer who joined
        if self._epoch == self._named and self._first is not None and header.n < self._first:
            raise SealError("record before the first that the signed reply names")
        lag_ns = self._anchor.box_now_ns(now_s) - header.boot_ns - header.duration_us * 1000
        if lag_ns > MAX_LAG_S * 1e9 or lag_ns < -CLOCK_SLACK_S * 1e9:
            raise SealError("record of another time than now")
        if header.n != self._last_n + 1:
            if not header.keyframe:
                self.skipped += 1
                return None
            self._opener.rejoin(header.stream, header.epoch)
        plain = self._opener.open(record)
        self._last_n = header.n
        self._newest_ns = max(self._newest_ns, header.boot_ns)
        return LiveFragment(plain, header)
