"""Opens indexes for reading: sidecars where they hold, a scan where not, the open segment as it grows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from edge_agent.errors import FormatError, RingError
from edge_agent.ring.index import SegmentIndex, decode
from edge_agent.ring.layout import index_name, segment_name
from edge_agent.ring.scanner import load_head
from edge_agent.ring.segment import SegmentScan
from edge_agent.ring.store import Store

MAX_HEADS = 1024
MAX_SCANS = 4
SCAN_BYTES = 64 << 20

LiveIndex = Callable[[], SegmentIndex | None]


@dataclass(frozen=True, slots=True)
class Volume:
    """One segment on disk, as a listing shows it."""

    number: int
    size: int
    path: Path


class Shelf:
    """One ring directory for readers. Any thread: one lock, held while an index is read or made.

    Reads files only, so that it works beside the daemon and without it. The newest segment may still grow;
    what was scanned of it is kept and carried on. Inside the daemon the writer's own index spares that scan.
    """

    def __init__(self, directory: Path, live: LiveIndex) -> None:
        self._store = Store(directory)
        self._live = live
        self._lock = Lock()
        self._heads: OrderedDict[int, SegmentIndex] = OrderedDict()
        self._scans: OrderedDict[int, SegmentScan] = OrderedDict()
        self._times: dict[
            int, tuple[int, int]
        ] = {}  # of closed segments: a month's worth is a few hundred KB

    def volumes(self) -> list[Volume]:
        """Oldest first. Raises RingError when the directory cannot be read."""
        directory = self._store.directory
        try:
            return [Volume(n, size, directory / segment_name(n)) for n, size in self._store.segments()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RingError(f"ring {directory}: {error.strerror}") from error

    def may_hold(self, volume: Volume, from_us: int, to_us: int) -> bool:
        """Whether the segment's footage reaches into the time; reads its head once."""
        times = self._times.get(volume.number)
        if times is None:
            head = self.head(volume)
            if head.from_us is None or head.to_us is None:
                return False
            times = (head.from_us, head.to_us)
        return times[0] < to_us and times[1] > from_us

    def head(self, volume: Volume) -> SegmentIndex:
        """Epochs, stretches and damage; its entries may be missing. Empty for a segment that is gone."""
        live = self._live_index(volume)
        if live is not None:
            return live
        with self._lock:
            known = self._heads.get(volume.number)
            if known is not None and known.size >= volume.size:
                self._heads.move_to_end(volume.number)
                return known
            head = load_head(self._store, volume.number)
            if head is None:
                return self._scanned(volume)
            self._scans.pop(volume.number, None)
            self._heads[volume.number] = head
            if head.from_us is not None and head.to_us is not None:
                self._times[volume.number] = (head.from_us, head.to_us)
            while len(self._heads) > MAX_HEADS:
                self._heads.popitem(last=False)
            return head

    def full(self, volume: Volume) -> SegmentIndex:
        """With every record's place."""
        live = self._live_index(volume)
        if live is not None:
            return live
        try:
            data = (self._store.directory / index_name(volume.number)).read_bytes()
            index = decode(data)
            if index.number == volume.number and index.size >= volume.size:
                return index
        except (OSError, FormatError):
            pass  # no index that holds: the segment tells by itself
        with self._lock:
            return self._scanned(volume)

    def _live_index(self, volume: Volume) -> SegmentIndex | None:
        """The writer's, which only ever grows at its ends: safe to read while it does."""
        live = self._live()
        return live if live is not None and live.number == volume.number else None

    def _scanned(self, volume: Volume) -> SegmentIndex:
        scan = self._scans.pop(volume.number, None) or SegmentScan(volume.path, volume.number)
        self._scans[volume.number] = scan
        while len(self._scans) > MAX_SCANS:
            self._scans.popitem(last=False)
        try:
            while not scan.advance(SCAN_BYTES, final=False):
                pass
        except FileNotFoundError:
            return SegmentIndex(volume.number)
        except OSError as error:
            raise RingError(f"{volume.path}: {error.strerror}") from error
        return scan.index
