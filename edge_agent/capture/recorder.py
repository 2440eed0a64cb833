"""Runs of pictures to sealed records: epochs, byte credit, gaps, and the tap. Capture thread only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_agent.capture import fmp4
from edge_agent.capture.ports import RecordSink, Sealer
from edge_agent.capture.stream import Run
from edge_agent.capture.timeline import WallClock
from edge_agent.clock import Clock
from edge_agent.errors import SealError
from edge_agent.model import Fragment, InitSegment, Instant, StreamKey, StreamSpec
from edge_agent.seal.record import Record, sealed_size
from edge_agent.tap import Tap

if TYPE_CHECKING:
    Taps = Mapping[StreamKey, Tap[Record]]

log = logging.getLogger(__name__)

_GAP_TIMES = 32  # bytes of a gap's body before its reason (docs/format.md)
_DURATION_LIMIT = 0xFFFF_FFFF


class Recorder:
    """Seals one stream's runs and hands the records on, in order and without holes in their numbers.

    Without byte credit fragments are dropped up to the next keyframe, and a gap record says so: nothing
    that is sealed is ever dropped.
    """

    def __init__(self, spec: StreamSpec, sealer: Sealer, sink: RecordSink, taps: Taps, clock: Clock) -> None:
        self.spec = spec
        self.fragments = 0
        self.dropped = 0
        self.end_ns = 0  # box time up to which pictures were taken
        self._sealer = sealer
        self._sink = sink
        self._taps = taps
        self._tap: Tap[Record] | None = None
        self._clock = clock
        self._wall = WallClock(clock.now())
        self._init: InitSegment | None = None
        self._head: tuple[Record, Record] | None = None
        self._running = False  # an epoch that may be continued
        self._due = False  # the next keyframe begins another
        self._dropping = False
        self._gap: tuple[str, int] | None = None
        self._base_dts = 0
        self._number = 0

    def instant(self, boot_ns: int) -> Instant:
        return self._wall.at(boot_ns)

    def renew(self) -> None:
        """Begin a new epoch at the next keyframe: other recipients, or the ring lost a record."""
        self._due = True

    def lost(self, reason: str, since_ns: int) -> None:
        """The session is over: the next pictures begin an epoch, and a gap record tells why."""
        self._running = False
        self._note_gap(reason, since_ns)
        if self._tap is not None:
            self._tap.end()
            self._tap = None
        if self.spec.record:
            self._sink.end_stream(self.spec.key, self.spec.stream_id)

    def take(self, run: Run) -> None:
        """Seal one run and hand it on, or drop it and remember the gap."""
        self.end_ns = max(self.end_ns, run.units[-1].boot_ns)
        if run.init is not None:
            self._init = run.init
            self._due = True
        if run.lost_since_ns is not None:
            self._note_gap("packets lost", run.lost_since_ns)
        if not self.spec.record and self.spec.key not in self._taps:
            self._running = False  # whoever asks later gets an epoch from a keyframe on
        elif self._init is not None and self._may_record(run):
            self._try_to_record(run, self._init)
        else:
            self.dropped += 1

    def _may_record(self, run: Run) -> bool:
        if run.keyframe:
            self._due |= self._wall.stepped(self._clock.now())
            self._dropping = False
        return run.keyframe or (self._running and not self._dropping)

    def _try_to_record(self, run: Run, init: InitSegment) -> None:
        try:
            recorded = self._record(run, init)
        except SealError as error:
            log.warning("%s: %s; a new epoch begins at the next keyframe", self.spec.key, error)
            self._running = False
            self._drop(run, "sealing failed")
        else:
            if not recorded:
                self._drop(run, "recording queue full")

    def _record(self, run: Run, init: InitSegment) -> bool:
        """Seal and hand on; False when there is no credit for it."""
        if not self._running:
            self._base_dts = run.units[0].dts  # another session counts its media time from 0 again
        fragment = self._fragment(run)
        begins = not self._running or (self._due and run.keyframe) or self._sealer.rotation_due(fragment)
        if not self._has_credit(fragment, init if begins else None):
            return False
        if begins:
            fragment = self._begin_epoch(run, init)
        if self._gap is not None:
            reason, since_ns = self._gap
            self._hand_on(
                self._sealer.seal_gap(reason, self.instant(since_ns), fragment.start), keyframe=False
            )
            self._gap = None
        self._hand_on(self._sealer.seal(fragment), keyframe=fragment.keyframe)
        self._number += 1
        self.fragments += 1
        return True

    def _begin_epoch(self, run: Run, init: InitSegment) -> Fragment:
        """A new muxer: media time restarts at 0, the wall clock is read anew."""
        self._wall = WallClock(self._clock.now())
        self._base_dts = run.units[0].dts
        self._number = 0
        fragment = self._fragment(run)
        self._head = self._sealer.begin_epoch(init, fragment.start)
        self._running, self._due = True, False
        if self.spec.record:
            for record in self._head:
                self._sink.put(self.spec.key, record)
        self._tap = self._taps.get(self.spec.key)
        if self._tap is not None:
            self._tap.begin_epoch(*self._head)
        return fragment

    def _fragment(self, run: Run) -> Fragment:
        first = run.units[0]
        tfdt = first.dts - self._base_dts
        duration_us = min((run.end_dts - first.dts) * 100 // 9, _DURATION_LIMIT)
        return Fragment(
            fmp4.fragment(self._number + 1, tfdt, run.units, run.end_dts),
            self.instant(first.boot_ns),
            duration_us,
            tfdt,
            run.keyframe,
            run.discontinuity,
            len(run.units),
        )

    def _has_credit(self, fragment: Fragment, init: InitSegment | None) -> bool:
        """Credit for all that is about to be sealed; a key record's few hundred bytes go along."""
        if not self.spec.record:
            return True
        size = sealed_size(len(fragment.data))
        if init is not None:
            size += sealed_size(len(init.data))
        if self._gap is not None:
            size += sealed_size(_GAP_TIMES + len(self._gap[0].encode()))
        return self._sink.reserve(self.spec.key.role, size)

    def _hand_on(self, record: Record, *, keyframe: bool) -> None:
        if self.spec.record:
            self._sink.put(self.spec.key, record)
        tap = self._tap
        if tap is None:
            tap = self._tap = self._taps.get(self.spec.key)
            if tap is not None and self._head is not None:
                tap.begin_epoch(*self._head)
        if tap is not None:
            tap.publish(record, len(record.raw), keyframe=keyframe)

    def _drop(self, run: Run, reason: str) -> None:
        self._dropping = True
        self.dropped += 1
        self._note_gap(reason, run.units[0].boot_ns)

    def _note_gap(self, reason: str, since_ns: int) -> None:
        """The first cause of a gap is the one that is told."""
        if self._gap is None and self._head is not None:
            self._gap = (reason, since_ns)
