"""A disk that remembers every create, write, sync, rename and unlink below a directory, and fails on demand.

It stands in for the calls of `os` that the rooms make, so that nothing of them need know. Writes happen for
real; syncs do not, because what they promise is modelled by `disk_after`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Killed(BaseException):
    """The process is gone: nothing after this reaches the disk."""


@dataclass(frozen=True, slots=True)
class Op:
    """One call. `file` numbers inodes from 1; a directory's calls have 0. `failed` never took effect."""

    kind: str
    file: int
    name: str = ""
    to: str = ""
    offset: int = 0
    content: bytes = b""
    failed: bool = False


Fault = Callable[[Op], str | None]  # an errno's name, "short" or "kill"; None: all is well


@dataclass
class DiskLog(AbstractContextManager["DiskLog"]):
    """While entered, calls below `root` are logged, and fail where `fault` says so."""

    root: Path
    fault: Fault = lambda op: None
    crowded: bool = False  # somebody else has filled the disk
    log: list[Op] = field(default_factory=list)
    dead: bool = False
    _files: dict[int, int] = field(default_factory=dict)  # descriptor -> inode
    _directories: dict[int, str] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _made: int = 0
    _full: set[int] = field(default_factory=set)  # descriptors after a short write
    _real: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> DiskLog:
        calls = ("open", "write", "writev", "pwrite", "fsync", "fdatasync", "ftruncate", "close")
        for name in (*calls, "rename", "replace", "unlink", "statvfs"):
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, f"_os_{name}"))
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)
        for descriptor in [*self._files, *self._directories]:
            os.close(descriptor)

    def _inside(self, path: object) -> str | None:
        text = os.fspath(path) if not isinstance(path, int) else ""  # type: ignore[call-overload]
        return str(Path(text).relative_to(self.root)) if str(text).startswith(f"{self.root}/") else None

    def _note(self, op: Op) -> str | None:
        """Log it and return "short" where only half may be written; raise instead where the plan says so."""
        if self.dead:
            raise Killed
        verdict = self.fault(op)
        if verdict is None or (verdict == "short" and op.kind == "write"):
            half = op.content[: len(op.content) // 2] if verdict else op.content
            self.log.append(replace(op, content=half))
            return verdict
        if verdict == "kill":
            self.dead = True
            raise Killed
        self.log.append(replace(op, content=b"", failed=True))
        number = getattr(errno, verdict)
        raise OSError(number, os.strerror(number))

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        name = self._inside(path)
        if name is None or (flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_DIRECTORY):
            return int(self._real["open"](path, flags, mode, **more))
        if flags & os.O_DIRECTORY:
            descriptor = int(self._real["open"](path, flags))
            self._directories[descriptor] = name
            return descriptor
        fresh = not Path(path).exists()
        file = self._names.get(name, 0)
        if fresh or not file:
            file = self._made = self._made + 1
        if fresh:
            self._note(Op("create", file, name))
        descriptor = int(self._real["open"](path, flags, mode, **more))
        self._names[name] = self._files[descriptor] = file
        if flags & os.O_TRUNC and not fresh:
            self._note(Op("truncate", file))
        return descriptor

    def _put(self, descriptor: int, content: bytes, offset: int | None) -> int:
        file = self._files[descriptor]
        if descriptor in self._full:
            self._full.discard(descriptor)
            self.log.append(Op("write", file, failed=True))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        at = os.fstat(descriptor).st_size if offset is None else offset
        if self._note(Op("write", file, offset=at, content=content)) == "short":
            self._full.add(descriptor)  # the cause of a short write surfaces as the next error
            content = content[: len(content) // 2]
        return int(self._real["pwrite"](descriptor, content, at))

    def _os_write(self, descriptor: int, content: Any) -> int:
        if descriptor not in self._files:
            return int(self._real["write"](descriptor, content))
        return self._put(descriptor, bytes(content), None)

    def _os_writev(self, descriptor: int, buffers: Any) -> int:
        if descriptor not in self._files:
            return int(self._real["writev"](descriptor, buffers))
        return self._put(descriptor, b"".join(bytes(b) for b in buffers), None)

    def _os_pwrite(self, descriptor: int, content: Any, offset: int) -> int:
        if descriptor not in self._files:
            return int(self._real["pwrite"](descriptor, content, offset))
        return self._put(descriptor, bytes(content), offset)

    def _os_ftruncate(self, descriptor: int, length: int) -> None:
        if descriptor in self._files:
            self._note(Op("truncate", self._files[descriptor], offset=length))
        self._real["ftruncate"](descriptor, length)

    def _os_fsync(self, descriptor: int) -> None:
        if descriptor in self._directories:
            self._note(Op("sync_directory", 0, self._directories[descriptor]))
        elif descriptor in self._files:
            self._note(Op("sync", self._files[descriptor]))

    _os_fdatasync = _os_fsync

    def _os_close(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        self._directories.pop(descriptor, None)
        self._full.discard(descriptor)
        self._real["close"](descriptor)

    def _os_replace(self, source: Any, target: Any, **more: Any) -> None:
        name, to = self._inside(source), self._inside(target)
        if name is not None and to is not None:
            self._note(Op("rename", self._names[name], name, to))
            self._names[to] = self._names.pop(name)
        self._real["replace"](source, target, **more)

    _os_rename = _os_replace

    def _os_unlink(self, path: Any, **more: Any) -> None:
        name = self._inside(path)
        if name is not None and name in self._names:
            self._note(Op("unlink", self._names[name], name))
            del self._names[name]
        self._real["unlink"](path, **more)

    def _os_statvfs(self, path: Any) -> Any:
        if self.crowded and self._inside(path) is not None:
            return SimpleNamespace(f_bavail=0, f_frsize=4096)
        return self._real["statvfs"](path)


def touched_after_an_error(log: list[Op]) -> list[Op]:
    """Writes and syncs of files that had a failed write or sync before: there may be none (I4)."""
    broken: set[int] = set()
    found = []
    for op in log:
        if op.file in broken and op.kind in ("write", "sync"):
            found.append(op)
        if op.failed and op.kind in ("write", "sync"):
            broken.add(op.file)
    return found
