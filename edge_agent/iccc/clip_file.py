"""A clip as it arrives: a sparse file, and beside it which of its parts are there. One thread.

`FILE.part` holds the bytes, `FILE.state` one line of JSON and a bitmap. A part's bit reaches the disk after
its bytes do: after a power cut the bitmap may know too little, never too much.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError

from edge_agent import durable
from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.model import Role
from edge_agent.uplink.clip import MAX_PARTS, PART_BYTES, Part, Span, parse, parts_of
from edge_agent.uplink.messages import CameraName, Count, Hex16, Model, Name

UNSAVED = 64  # parts that a crash may cost: 4 MiB to be sent again
_MAX_HEAD = 4096
_CHUNK = 1024**2


class ClipHead(Model):
    """Which clip it is to become. `asked_to_us` is what the order named, `to_us` what the box granted."""

    site: Name
    camera: CameraName
    role: Role
    from_us: Count
    asked_to_us: Count
    to_us: Count
    transfer: Hex16
    size: Annotated[int, Field(gt=0, le=MAX_PARTS * PART_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClipFile:
    """`create` begins one, `resume` goes on with one, `finish` makes it the file; close it in any case."""

    def __init__(self, path: Path, head: ClipHead, bitmap: bytearray, state: int, data: int) -> None:
        self.path = path
        self.head = head
        self.parts = parts_of(head.size)
        self._bitmap = bitmap
        self._state, self._data = state, data
        self._bits_at = len(_first_line(head))
        self._unsaved: list[int] = []
        self._count = sum(byte.bit_count() for byte in bitmap)

    @classmethod
    def create(cls, path: Path, head: ClipHead) -> Self:
        """Whatever was begun under this name is forgotten. Raises OSError, EdgeAgentError as `resume`."""
        draft, state = _beside(path)
        data = _sole(draft, os.O_CREAT)
        try:
            os.truncate(data, 0)
            os.truncate(data, head.size)
            durable.replace(state, _first_line(head) + bytes(-(-parts_of(head.size) // 8)))
            bits = os.open(state, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(data)
            raise
        return cls(path, head, bytearray(-(-parts_of(head.size) // 8)), bits, data)

    @classmethod
    def resume(cls, path: Path) -> Self | None:
        """What was begun under this name; None when nothing was.

        Raises EdgeAgentError when it is damaged or another process is at it, OSError.
        """
        draft, state = _beside(path)
        try:
            content = state.read_bytes()
        except FileNotFoundError:
            return None
        head, bitmap = _read_state(state, content)
        if not draft.exists() or draft.stat().st_size != head.size:
            raise EdgeAgentError(f"{draft}: does not belong to {state}; remove both and fetch again")
        data = _sole(draft)
        return cls(path, head, bitmap, os.open(state, os.O_RDWR | os.O_CLOEXEC), data)

    @property
    def here(self) -> int:
        """How many parts have come."""
        return self._count

    @property
    def complete(self) -> bool:
        return self._count == self.parts

    def add(self, payload: bytes) -> bool:
        """Keep a part; False when it is here already. Raises FormatError for one of no use, OSError."""
        part = parse(payload)
        self._check(part)
        if self._bitmap[part.number >> 3] >> (part.number & 7) & 1:
            return False
        _write_at(self._data, part.body, part.number * PART_BYTES)
        self._bitmap[part.number >> 3] |= 1 << (part.number & 7)
        self._unsaved.append(part.number)
        self._count += 1
        if len(self._unsaved) >= UNSAVED or self.complete:
            self.save()
        return True

    def missing(self, most: int) -> list[Span]:
        """The first `most` ranges of parts that are not here."""
        found: list[Span] = []
        for number in self._absent():
            if found and found[-1][1] == number - 1:
                found[-1] = (found[-1][0], number)
            elif len(found) == most:
                break
            else:
                found.append((number, number))
        return found

    def save(self) -> None:
        """The bytes first, then the bits that vouch for them. Raises OSError."""
        if not self._unsaved:
            return
        os.fdatasync(self._data)
        first, last = min(self._unsaved) >> 3, max(self._unsaved) >> 3
        _write_at(self._state, bytes(self._bitmap[first : last + 1]), self._bits_at + first)
        os.fdatasync(self._state)
        self._unsaved.clear()

    def finish(self) -> bool:
        """Check the whole; True: it is at `path` now. False: it was not what was promised, all is to be
        fetched again. Raises OSError."""
        self.save()
        if self._digest() != self.head.sha256:
            self._bitmap[:] = bytes(len(self._bitmap))
            self._count = 0
            _write_at(self._state, bytes(self._bitmap), self._bits_at)
            os.fdatasync(self._state)
            return False
        draft, state = _beside(self.path)
        os.fsync(self._data)
        draft.replace(self.path)
        state.unlink()
        durable.sync_directory(self.path.parent)
        return True

    def close(self) -> None:
        os.close(self._data)
        os.close(self._state)

    def _check(self, part: Part) -> None:
        if part.transfer.hex() != self.head.transfer:
            raise FormatError("a part of another clip")
        whole = PART_BYTES if part.number < self.parts - 1 else self.head.size - part.number * PART_BYTES
        if part.parts != self.parts or len(part.body) != whole:
            raise FormatError("a part that does not fit its clip")

    def _absent(self) -> Iterator[int]:
        for at, byte in enumerate(self._bitmap):
            if byte != 0xFF:
                yield from (
                    at * 8 + bit for bit in range(8) if not byte >> bit & 1 and at * 8 + bit < self.parts
                )

    def _digest(self) -> str:
        whole = sha256()
        for at in range(0, self.head.size, _CHUNK):
            whole.update(os.pread(self._data, _CHUNK, at))
        return whole.hexdigest()


def _sole(draft: Path, flags: int = 0) -> int:
    """Opened for this process alone: two would rename each other's halves."""
    data = os.open(draft, os.O_RDWR | os.O_CLOEXEC | flags, 0o640)
    try:
        fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(data)
        raise EdgeAgentError(f"{draft}: another process is fetching it") from error
    return data


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".part"), path.with_name(path.name + ".state")


def _first_line(head: ClipHead) -> bytes:
    return head.model_dump_json().encode() + b"\n"


def _read_state(state: Path, content: bytes) -> tuple[ClipHead, bytearray]:
    line, _, bits = content.partition(b"\n")
    try:
        head = ClipHead.model_validate_json(line[:_MAX_HEAD])
    except ValidationError as error:
        raise EdgeAgentError(f"{state}: is no clip under way; remove it and fetch again") from error
    parts = parts_of(head.size)
    spare = parts % 8
    if len(bits) != -(-parts // 8) or (spare and bits[-1] >> spare):
        raise EdgeAgentError(f"{state}: does not fit its clip; remove it and fetch again")
    return head, bytearray(bits)


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], offset + done)
