"""The zip file of an evidence package, written so that there is exactly one for a given list of files.

Everything is stored, nothing compressed, no date, no comment, no spare byte: a verifier rebuilds every header
and finds any byte that differs (docs/evidence.md, "The archive"). Field layout: PKWARE APPNOTE 4.3.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from edge_agent.errors import FormatError

FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_ENTRY_BYTES = 0xFFFF_FFFE

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_CRC_AT = 14
_NO_DATE = 0x0021  # 1980-01-01
_UNIX_FILE = 0o100644 << 16
_FULL = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file of the package, as the manifest lists it."""

    name: str
    size: int
    sha256: str
    crc: int
    offset: int


class Bundle:
    """Writes one archive front to back into a seekable file. One thread; the caller opens, syncs, closes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._files: list[PackedFile] = []

    @property
    def files(self) -> tuple[PackedFile, ...]:
        return tuple(self._files)

    def add(self, name: str, size: int, chunks: Iterable[bytes | memoryview]) -> PackedFile:
        """Add a file of exactly `size` bytes. Raises FormatError when the chunks do not add up to it."""
        if (
            not FILE_NAME.fullmatch(name)
            or size > MAX_ENTRY_BYTES
            or any(f.name == name for f in self._files)
        ):
            raise FormatError(f"{name!r} cannot be a file of the package")
        offset, crc, written, digest = self._file.tell(), 0, 0, sha256()
        self._file.write(_local(name, size, 0))
        for chunk in chunks:
            crc = zlib.crc32(chunk, crc)
            digest.update(chunk)
            written += self._file.write(chunk)
        if written != size:
            raise FormatError(f"{name}: {written} bytes where {size} were announced")
        self._file.seek(offset + _CRC_AT)
        self._file.write(struct.pack("<I", crc))
        self._file.seek(0, 2)
        packed = PackedFile(name, size, digest.hexdigest(), crc, offset)
        self._files.append(packed)
        return packed

    def add_bytes(self, name: str, content: bytes) -> PackedFile:
        return self.add(name, len(content), (content,))

    def finish(self) -> None:
        """Write the directory. Nothing can be added after it."""
        start = self._file.tell()
        central = b"".join(_central(f) for f in self._files)
        self._file.write(central + end_records(len(self._files), len(central), start))


def end_records(count: int, size: int, start: int) -> bytes:
    """What closes the archive: with the 64-bit records exactly when the directory begins beyond 4 GiB."""
    if start < _FULL:
        return _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)
    wide = _END64.pack(b"PK\6\6", _END64.size - 12, 0x032D, 45, 0, 0, count, count, size, start)
    locator = _LOCATOR64.pack(b"PK\6\7", 0, start + size, 1)
    return wide + locator + _END.pack(b"PK\5\6", 0, 0, count, count, size, _FULL, 0)


def _local(name: str, size: int, crc: int) -> bytes:
    raw = name.encode("ascii")
    return _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _NO_DATE, crc, size, size, len(raw), 0) + raw


def _central(file: PackedFile) -> bytes:
    raw = file.name.encode("ascii")
    far = file.offset >= _FULL
    extra = struct.pack("<HHQ", 1, 8, file.offset) if far else b""
    head = _CENTRAL.pack(
        b"PK\1\2", 0x032D, 45 if far else 20, 0, 0, 0, _NO_DATE, file.crc, file.size, file.size,
        len(raw), len(extra), 0, 0, 0, _UNIX_FILE, _FULL if far else file.offset,
    )  # fmt: skip
    return head + raw + extra
