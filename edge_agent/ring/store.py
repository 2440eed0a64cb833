"""The only place that writes, syncs and unlinks footage. One directory, one owner: the ring thread.

Each method is one durability step or one plain write, so that the order can be read in the caller, and a
test can stand in for the disk. Everything raises OSError; nobody here retries.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_agent.ring.layout import number_of

IOV_MAX = 1024  # Linux UIO_MAXIOV


class Store:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Make the directory if it is missing. At start only: later its absence is an unmounted disk."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def segments(self) -> list[tuple[int, int]]:
        """(number, bytes) of every segment, by number. Names and sizes only: no segment is opened."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                number = number_of(entry.name)
                if number is not None:
                    found.append((number, entry.stat(follow_symlinks=False).st_size))
        return sorted(found)

    def litter(self) -> list[str]:
        """Drafts that a crash left, and indexes whose segment is gone. Ask before anything new is written."""
        with os.scandir(self.directory) as entries:
            names = {entry.name for entry in entries}
        return [
            name
            for name in names
            if name.endswith(".new")
            or (name.endswith(".idx") and name.removesuffix(".idx") + ".ear" not in names)
        ]

    def free_bytes(self) -> int:
        """What an unprivileged writer may still use."""
        stat = os.statvfs(self.directory)
        return stat.f_bavail * stat.f_frsize

    def create(self, name: str) -> int:
        """A new empty file, append only. Never opens one that exists: nothing written is written again."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.directory / name, flags, 0o600)

    def write(self, file: int, buffers: Sequence[bytes]) -> None:
        """Append all of `buffers`; a short write is carried on, and its cause surfaces as the next error."""
        waiting = [memoryview(b) for b in buffers if b]
        while waiting:
            written = os.writev(file, waiting[:IOV_MAX])
            waiting = _rest(waiting, written)

    def sync(self, file: int) -> None:
        """Data and size are on the medium when this returns. An error is final for this file (I4)."""
        os.fdatasync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_directory(self) -> None:
        """Creations, renames and unlinks before this survive a power cut."""
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def rename(self, name: str, to: str) -> None:
        (self.directory / name).replace(self.directory / to)

    def unlink(self, name: str) -> None:
        """Remove; a file that is already gone is as good."""
        (self.directory / name).unlink(missing_ok=True)


def write_new(store: Store, name: str, data: bytes, *, durable: bool) -> None:
    """Replace a small side file whole: write beside it, rename over it.

    Without `durable` a power cut may leave an old, empty or torn file, which its digest gives away: right
    for indexes, which can be rebuilt, and one sync cheaper each.
    """
    fresh = name + ".new"
    store.unlink(fresh)
    file = store.create(fresh)
    try:
        store.write(file, [data])
        if durable:
            store.sync(file)
    finally:
        store.close(file)
    store.rename(fresh, name)
    if durable:
        store.sync_directory()


def _rest(buffers: list[memoryview], written: int) -> list[memoryview]:
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
