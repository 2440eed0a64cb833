"""The evidence log: footage held beyond every retention. One directory a hold, records verbatim.

    <evidence>/case-<id>/hold.json, seg-000000000001.ear, seg-000000000001.idx ...

`hold.json` comes first and says `copying` until all is there (docs/evidence.md, "Holds"). One thread writes;
reading needs the files alone, in any process, while the agent runs and when it does not.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from edge_agent import durable
from edge_agent.errors import FormatError, RingError
from edge_agent.ring import hold as holds
from edge_agent.ring.hold import Bounds, Hold, HoldState, Stretch
from edge_agent.ring.hold_copy import AFTER_US, HoldCopy
from edge_agent.ring.reader import RingReader
from edge_agent.ring.store import Store
from edge_agent.seal.record import Kind, Record

log = logging.getLogger(__name__)

FILE = "hold.json"
GONE = "gone-"
MAX_KEYS = 2000  # epochs of one hold: ten days of them, or a camera that flaps for hours
MAX_FILE_BYTES = 64 * 1024


class EvidenceLog:
    """`box` and `run` go into segment headers. Methods that write belong to the evidence thread."""

    def __init__(self, directory: Path, bounds: Bounds, box: bytes, run: bytes) -> None:
        self._directory = directory
        self._bounds = bounds
        self._box, self._run = box, run

    def held(self) -> list[Hold]:
        return list_holds(self._directory)

    def reader(self, hold: Hold) -> RingReader:
        return reader_of(self._directory, hold)

    def sweep(self) -> None:
        """Finish removals that a crash cut off. Raises OSError."""
        if self._directory.is_dir():
            for path in self._directory.glob(f"{GONE}*"):
                shutil.rmtree(path)

    def admit(self, stretch: Stretch, now_us: int) -> Hold:
        """Step H1: the order is on disk; after a crash it is taken up again. Raises RingError, OSError."""
        known = next((hold for hold in self.held() if hold.id == stretch.id), None)
        if known is not None:
            return known
        hold = Hold(stretch, HoldState.COPYING, now_us)
        directory = self._directory / hold.id
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.sync_directory(self._directory)
        self._write(hold)
        return hold

    def copy(self, hold: Hold, source: RingReader, now_us: int) -> Iterator[int]:
        """Steps H2-H4: percent done, batch by batch. Raises RingError or OSError; then call `give_up`."""
        stretch = hold.stretch
        need = source.weigh(stretch.stream, stretch.from_us, stretch.to_us + AFTER_US)  # at most
        held = [known for known in self.held() if known.id != hold.id]
        free = shutil.disk_usage(self._directory).free + _size(self._directory / hold.id)
        for leaving in holds.give_way(held, stretch, need, free, self._bounds):
            log.info("evidence: %s gives way", leaving.stretch.case)
            self.drop(leaving)
        copying = HoldCopy(Store(self._directory / hold.id), source, stretch, self._box, self._run)
        for done in copying.steps(now_us):
            yield min(99, done * 100 // max(1, need))

    def finish(self, hold: Hold) -> tuple[Hold, list[Record]]:
        """Step H5: read the copy back, and say so. With its key records, for the command centre.

        Raises RingError when the copy holds no footage, FormatError when it cannot be read.
        """
        digest, records, keys = read_back(self._directory, hold)
        if not records:
            raise RingError("nothing is recorded of this camera in that time")
        if len(keys) > MAX_KEYS:
            raise RingError(f"{len(keys)} epochs are more than one hold may have; hold shorter stretches")
        size = _size(self._directory / hold.id)
        done = replace(hold, state=HoldState.WHOLE, records=records, bytes=size, digest=digest, text="")
        if done != hold:
            self._write(done)
        return done, keys

    def note(self, hold: Hold) -> None:
        """Step H7: its leaf is durable; nobody need write it again. Raises OSError."""
        if (self._directory / hold.id).is_dir():
            self._write(replace(hold, noted=True))

    def give_up(self, hold: Hold, why: str) -> None:
        """What was copied stays and is listed as partial; a hold without any footage goes. Raises OSError."""
        if not Store(self._directory / hold.id).segments():
            self.drop(hold)
            return
        size = _size(self._directory / hold.id)
        self._write(replace(hold, state=HoldState.PARTIAL, bytes=size, text=why[:256]))

    def drop(self, hold: Hold) -> None:
        """Remove a hold: out of the list by one rename, then the bytes. Raises OSError."""
        gone = self._directory / f"{GONE}{hold.id}"
        if gone.exists():
            shutil.rmtree(gone)
        (self._directory / hold.id).rename(gone)
        durable.sync_directory(self._directory)
        shutil.rmtree(gone)

    def _write(self, hold: Hold) -> None:
        durable.replace(self._directory / hold.id / FILE, holds.encode(hold), 0o600)


class Readers:
    """Footage from wherever more of it is: the ring, or a hold that outlived it. Any thread."""

    def __init__(self, ring: RingReader, directory: Path) -> None:
        self._ring = ring
        self._directory = directory

    def records(self, stream: bytes, from_us: int, to_us: int) -> Iterator[Record]:
        """As `RingReader.records`; the choice is made when the first record is asked for."""
        yield from self.best(stream, from_us, to_us).records(stream, from_us, to_us)

    def loose(self, of: bytes, stream: bytes, from_us: int, to_us: int) -> Iterator[Record]:
        """As `RingReader.loose` for `of`, from where `stream`'s footage of that time is read."""
        yield from self.best(stream, from_us, to_us).loose(of, from_us, to_us)

    def best(self, stream: bytes, from_us: int, to_us: int) -> RingReader:
        """Raises RingError when the ring cannot be read."""
        best, most = self._ring, _covered(self._ring, stream, from_us, to_us)
        for hold in list_holds(self._directory):
            stretch = hold.stretch
            if stretch.stream != stream or stretch.from_us >= to_us or stretch.to_us + AFTER_US <= from_us:
                continue
            reader = reader_of(self._directory, hold)
            found = _covered(reader, stream, from_us, to_us)
            if found > most:
                best, most = reader, found
        return best


def list_holds(directory: Path) -> list[Hold]:
    """Every hold, oldest first; one whose file does not hold is passed over and logged."""
    found = []
    for path in sorted(directory.glob(f"*/{FILE}")) if directory.is_dir() else ():
        if path.parent.name.startswith(GONE):
            continue
        try:
            with path.open("rb") as file:
                found.append(holds.decode(file.read(MAX_FILE_BYTES)))
        except (OSError, FormatError) as error:
            log.warning("evidence: %s: %s", path, error)
    return sorted(found, key=lambda hold: (hold.held_at_us, hold.id))


def read_back(directory: Path, hold: Hold) -> tuple[str, int, list[Record]]:
    """What a hold's files give: digest, number of records, key records. Raises RingError, FormatError."""
    keys: list[Record] = []
    digest, records = sha256(), 0
    stretch = hold.stretch
    reader = reader_of(directory, hold)
    for record in reader.records(stretch.stream, stretch.from_us, stretch.to_us + AFTER_US):
        digest.update(record.digest)
        records += 1
        if record.header.kind is Kind.KEY:
            keys.append(record)
    return digest.hexdigest(), records, keys


def reader_of(directory: Path, hold: Hold) -> RingReader:
    return RingReader({hold.stretch.role: directory / hold.id})


def _covered(reader: RingReader, stream: bytes, from_us: int, to_us: int) -> int:
    return sum(span.to_us - span.from_us for span in reader.coverage(stream, from_us, to_us))


def _size(directory: Path) -> int:
    return sum(size for _, size in _segments(directory))


def _segments(directory: Path) -> Sequence[tuple[int, int]]:
    return Store(directory).segments() if directory.is_dir() else ()
