"""The background scan: makes missing indexes, learns the old segments' times, lists damage.

A worker of its own with low priority. It reads closed segments and writes index sidecars, never footage.
"""

from __future__ import annotations

import contextlib
import logging
import os
from threading import Event, get_native_id

from edge_agent.clock import Clock
from edge_agent.errors import FormatError
from edge_agent.events import Inbox
from edge_agent.model import Role
from edge_agent.ring.catalogue import Catalogue
from edge_agent.ring.facts import RingScanned
from edge_agent.ring.index import SegmentIndex, decode_head, head_length
from edge_agent.ring.layout import index_name, segment_name
from edge_agent.ring.segment import SegmentScan
from edge_agent.ring.store import Store, write_new
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

NICE = 10
STEP_BYTES = 4 << 20
REST_S = 0.02  # after each step: at most about 150 MB/s, so that the recording has the disk
LOOK_AGAIN_S = 15.0
MAX_TRIES = 3


class RingScanner:
    """Reads what the catalogue has not read. Start it after the writer; it never delays the recording."""

    def __init__(self, *, role: Role, store: Store, catalogue: Catalogue, clock: Clock, inbox: Inbox) -> None:
        self.name = f"scan-{role.value}"
        self._role = role
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._inbox = inbox
        self._tries: dict[int, int] = {}

    def run(self, stop: Event, beat: Beat) -> None:
        with contextlib.suppress(OSError):  # a filter may forbid the call; the scan matters more
            os.setpriority(os.PRIO_PROCESS, get_native_id(), NICE)  # this thread only, on Linux
        while not stop.is_set():
            self.scan_unread(stop, beat)
            beat()
            stop.wait(LOOK_AGAIN_S if self._catalogue.listed else 0.5)

    def scan_unread(self, stop: Event, beat: Beat) -> None:
        """One pass over the segments without an index in memory; says what it found."""
        segments, damage = 0, list[tuple[int, int]]()
        for number in self._catalogue.unread():
            if stop.is_set():
                return
            beat()
            index = self._index(number, stop, beat)
            if index is not None:
                self._catalogue.learned(index)
                segments += 1
                damage += index.damage
        if segments:
            lost = sum(end - start for start, end in damage)
            self._inbox.put(RingScanned(self._clock.now(), self._role, segments, len(damage), lost))

    def _index(self, number: int, stop: Event, beat: Beat) -> SegmentIndex | None:
        """From the sidecar if it holds, else by scanning; None when the segment cannot be read now."""
        index = load_head(self._store, number)
        if index is not None:
            return index
        scan = SegmentScan(self._store.directory / segment_name(number), number)
        try:
            while not scan.advance(STEP_BYTES, final=True):
                beat()
                if stop.wait(REST_S):
                    return None
        except FileNotFoundError:  # evicted meanwhile, or taken by hand: it holds nothing
            return SegmentIndex(number)
        except OSError as error:
            return self._give_up(number, scan.size, error)
        self._keep(number, scan.index)
        return scan.index

    def _keep(self, number: int, index: SegmentIndex) -> None:
        for start, end in index.damage:
            log.warning("segment %d: bytes %d to %d are damaged", number, start, end)
        try:
            write_new(self._store, index_name(number), index.encode(), durable=False)
            if not (self._store.directory / segment_name(number)).exists():  # evicted while we scanned
                self._store.unlink(index_name(number))
        except OSError as error:
            log.debug("segment %d: index not kept: %s", number, error)

    def _give_up(self, number: int, size: int, error: OSError) -> SegmentIndex | None:
        """A disk that cannot read a segment three times will not: the whole of it counts as damaged."""
        tries = self._tries[number] = self._tries.get(number, 0) + 1
        log.warning("segment %d: cannot be read (%s), try %d of %d", number, error, tries, MAX_TRIES)
        if tries < MAX_TRIES:
            return None
        index = SegmentIndex(number)
        index.add_damage(0, size)
        return index


def load_head(store: Store, number: int) -> SegmentIndex | None:
    """The head of a segment's index, if it is there, whole, and covers the whole segment."""
    try:
        with (store.directory / index_name(number)).open("rb") as file:
            start = file.read(64)
            index = decode_head(start + file.read(head_length(start) - len(start)))
        size = (store.directory / segment_name(number)).stat().st_size
    except (OSError, FormatError):
        return None
    return index if index.number == number and index.size == size else None
