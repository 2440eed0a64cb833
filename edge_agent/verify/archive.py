"""Reads the archive without trust: every header is built anew and compared, so no byte escapes.

Nothing is ever unpacked to disk. Only stored files are known, so a file is never larger than the archive.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edge_agent.verify.report import Findings, Unusable

MAX_FILES = 1000
CHUNK = 1 << 20

_NAME = re.compile(rb"[a-z0-9][a-z0-9._-]{0,63}")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_DATE, _MODE, _FULL = 0x0021, 0o100644 << 16, 0xFFFF_FFFF
_NOT_OURS = "this is no evidence package of edge-agent"
_CUT = "the archive is cut short, or its end was altered"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file inside: where its bytes lie, and the checksum that the archive names."""

    name: str
    start: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Hashed:
    sha256: str
    crc: int


class Archive:
    """An open package. Close it when done. One thread."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unusable(error.strerror or "cannot be opened") from error
        self.size = os.fstat(self._fd).st_size
        self.entries: dict[str, Entry] = {}

    def close(self) -> None:
        os.close(self._fd)

    def open(self, findings: Findings) -> None:
        """Find the files. Raises Unusable for anything that was never one of ours."""
        ours = _LOCAL.size < self.size and self._begins_with_clip()
        found = self._directory()
        if found is None:
            if not ours:
                raise Unusable(_NOT_OURS)
            findings.add("archive", _CUT)
            return
        start, central = found
        self._read_directory(central, start, ours, findings)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of a file, fewer where it ends."""
        size = max(0, min(size, entry.size - start))
        return os.pread(self._fd, size, entry.start + start)

    def whole(self, name: str, limit: int) -> bytes:
        """A small file. Raises Unusable when it is missing or larger than `limit`."""
        entry = self.entries.get(name)
        if entry is None:
            raise Unusable(f"{_NOT_OURS}: it has no {name}")
        if entry.size > limit:
            raise Unusable(f"{name} has {entry.size} bytes; no package needs so many")
        return self.read(entry, 0, entry.size)

    def hashed(self, entry: Entry) -> Hashed:
        digest, crc, at = sha256(), 0, 0
        while chunk := self.read(entry, at, CHUNK):
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            at += len(chunk)
        return Hashed(digest.hexdigest(), crc)

    def _begins_with_clip(self) -> bool:
        head = os.pread(self._fd, _LOCAL.size + 4, 0)
        return head[:4] == b"PK\3\4" and head[_LOCAL.size :] == b"clip"

    def _directory(self) -> tuple[int, bytes] | None:
        """Where the directory starts, and its bytes; None when the end of the file is not one of ours."""
        end = os.pread(self._fd, _END.size, max(0, self.size - _END.size))
        if len(end) < _END.size or end[:4] != b"PK\5\6":
            return None
        count, size, start = struct.unpack_from("<HII", end, 10)
        at = self.size - _END.size
        if start == _FULL:
            at -= _LOCATOR64.size + _END64.size
            wide = os.pread(self._fd, _END64.size, max(0, at))
            if len(wide) < _END64.size:
                return None
            start = _END64.unpack(wide)[-1]
        if count > MAX_FILES or not 0 <= start <= at or start + size != at:
            return None
        if os.pread(self._fd, self.size - at, at) != _end(count, size, start):
            return None
        return start, os.pread(self._fd, size, start)

    def _read_directory(self, central: bytes, start: int, ours: bool, findings: Findings) -> None:
        expected = 0
        for entry, offset, raw in _rows(central, ours):
            if not findings.check(
                raw == _central(entry, offset), entry.name, "its directory entry was altered"
            ):
                continue
            local = _local(entry)
            header = os.pread(self._fd, len(local), offset)
            at = offset + len(local)
            if offset != expected or at + entry.size > start or entry.name in self.entries:
                raise Unusable(
                    f"{entry.name}: its place or size cannot be; the archive is not of this format"
                )
            findings.check(header == local, entry.name, "its header in the archive was altered")
            self.entries[entry.name] = Entry(entry.name, at, entry.size, entry.crc)
            expected = at + entry.size
        findings.check(expected == start, "archive", "bytes between its files that belong to none")
        if not ours and not self.entries:
            raise Unusable(_NOT_OURS)


def _rows(central: bytes, ours: bool) -> Iterator[tuple[Entry, int, bytes]]:
    at = 0
    while at < len(central):
        fields = central[at : at + _CENTRAL.size]
        if len(fields) < _CENTRAL.size or fields[:4] != b"PK\1\2":
            raise Unusable(_CUT if ours else _NOT_OURS)
        crc, _, size, names, extras = struct.unpack_from("<IIIHH", fields, 16)
        (offset,) = struct.unpack_from("<I", fields, 42)
        end = at + _CENTRAL.size + names + extras
        raw = central[at:end]
        name = raw[_CENTRAL.size : _CENTRAL.size + names]
        if offset == _FULL and extras == 12:
            (offset,) = struct.unpack_from("<Q", raw, _CENTRAL.size + names + 4)
        if not _NAME.fullmatch(name) or len(raw) != end - at:
            raise Unusable("a file in the archive has a name that no package has")
        yield Entry(name.decode("ascii"), 0, size, crc), offset, raw
        at = end


def _local(entry: Entry) -> bytes:
    raw = entry.name.encode("ascii")
    return _LOCAL.pack(
        b"PK\3\4", 20, 0, 0, 0, _DATE, entry.crc, entry.size, entry.size, len(raw), 0
    ) + raw  # fmt: skip


def _central(entry: Entry, offset: int) -> bytes:
    raw, far = entry.name.encode("ascii"), offset >= _FULL
    extra = struct.pack("<HHQ", 1, 8, offset) if far else b""
    head = _CENTRAL.pack(
        b"PK\1\2", 0x032D, 45 if far else 20, 0, 0, 0, _DATE, entry.crc, entry.size, entry.size,
        len(raw), len(extra), 0, 0, 0, _MODE, _FULL if far else offset,
    )  # fmt: skip
    return head + raw + extra


def _end(count: int, size: int, start: int) -> bytes:
    if start < _FULL:
        return _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)
    wide = _END64.pack(b"PK\6\6", _END64.size - 12, 0x032D, 45, 0, 0, count, count, size, start)
    locator = _LOCATOR64.pack(b"PK\6\7", 0, start + size, 1)
    return wide + locator + _END.pack(b"PK\5\6", 0, 0, count, count, size, _FULL, 0)
