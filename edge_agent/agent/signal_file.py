"""The signal log on disk: what the night watch saw, for a replay. Written by chores, never by main.

Files `signals-{wall_us of the first}.jsonl` in a directory of their own, a new one each day, each run and
every 8 MB; the oldest go when all together hold more than the cap. Losing its last seconds in a power cut
spoils no evidence: what was decided is in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from edge_agent.agent.chores import Chores

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 8 * 1024**2
MAX_TOTAL_BYTES = 64 * 1024**2
MAX_WAITING = 20_000  # lines in memory while the disk does not take them
WRITE_EVERY_S = 15.0
WRITE_AT_ONCE = 2_000
DAY_US = 86_400_000_000


class SignalFile:
    """Main thread only, but for the chores it asks for."""

    def __init__(self, directory: Path, chores: Chores, *, total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._directory = directory
        self._chores = chores
        self._total_bytes = total_bytes
        self._waiting: list[bytes] = []
        self._path: Path | None = None
        self._day = self._size = 0
        self._due = 0.0
        self._writing = self._refused = False
        self.dropped = 0

    def note(self, line: bytes, wall_us: int) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(line)
        day = wall_us // DAY_US
        if self._path is None or day != self._day or self._size > MAX_FILE_BYTES:
            self._path = self._directory / f"signals-{wall_us:016d}.jsonl"
            self._day, self._size = day, 0

    def tick(self, now: float) -> None:
        """Have what waits written, unless it is too soon or the last writing still goes on."""
        if self._writing or not self._waiting or (now < self._due and len(self._waiting) < WRITE_AT_ONCE):
            return
        self._due, self._writing = now + WRITE_EVERY_S, True
        lines, path = self._take()
        self._chores.ask(lambda: self._write(path, lines), self._written, self._failed)

    def flush(self) -> None:
        """At the end, when no chore is done any more. Raises nothing: it is no evidence."""
        if self._waiting:
            lines, path = self._take()
            try:
                self._write(path, lines)
            except OSError as error:
                self._failed(str(error))

    def _take(self) -> tuple[list[bytes], Path]:
        lines, self._waiting = self._waiting, []
        self._size += sum(map(len, lines))
        assert self._path is not None
        return lines, self._path

    def _write(self, path: Path, lines: list[bytes]) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        return prune(self._directory, self._total_bytes, keep=path)

    def _written(self, pruned: int) -> None:
        self._writing = self._refused = False
        if pruned:
            log.debug("%d of the oldest signal files were removed", pruned)

    def _failed(self, reason: str) -> None:
        self._writing = False
        self.dropped += 1
        if not self._refused:
            log.warning("the signal log cannot be written: %s; a replay will lack what comes now", reason)
        self._refused = True


def prune(directory: Path, total_bytes: int, keep: Path) -> int:
    """Remove the oldest files until the rest fits; returns how many. `keep` is never removed."""
    sizes = {path: path.stat().st_size for path in files(directory)}
    removed = 0
    for path in sizes:
        if sum(sizes.values()) - sum(list(sizes.values())[:removed]) <= total_bytes or path == keep:
            break
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def files(directory: Path) -> Iterable[Path]:
    """The files of a signal log, oldest first."""
    return sorted(directory.glob("signals-*.jsonl"))
