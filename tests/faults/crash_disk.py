"""What a file system may hold after a power cut: synced files, synced names, and the rest at its whim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

from disk_log import Op

SECTOR = 512


class Whim(StrEnum):
    """What becomes of what no sync covered, data or names."""

    LOST = "lost"
    KEPT = "kept"
    TORN = "torn"  # data: cut anywhere or at a sector, some sectors zeros; names: any of the changes


@dataclass
class _File:
    safe: bytearray = field(default_factory=bytearray)
    since: list[Op] = field(default_factory=list)  # writes and truncations that no sync covered

    def after(self, whim: Whim, chance: Random) -> bytes:
        content = bytearray(self.safe)
        if whim is Whim.LOST:
            return bytes(content)
        left = sum(len(op.content) for op in self.since)
        if whim is Whim.TORN:
            left = chance.randint(0, left)
        for op in self.since:
            _apply(content, op, left)
            left = max(0, left - len(op.content))
        if whim is Whim.TORN:
            self._lose_sectors(content, chance)
        return bytes(content)

    def _lose_sectors(self, content: bytearray, chance: Random) -> None:
        """Some end at a sector's border, some have a hole: pages are written in no order."""
        fresh = len(content) - len(self.safe)
        if fresh <= 0 or chance.random() < 0.4:
            return
        if chance.random() < 0.5:
            del content[max(len(self.safe), len(content) // SECTOR * SECTOR) :]
            return
        at = len(self.safe) + chance.randrange(fresh)
        end = min(len(content), (at // SECTOR + 1) * SECTOR)
        content[at:end] = bytes(end - at)


def _apply(content: bytearray, op: Op, most: int) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
        return
    piece = op.content[:most]
    if len(content) < op.offset:
        content += bytes(op.offset - len(content))
    content[op.offset : op.offset + len(piece)] = piece


@dataclass
class CrashDisk:
    """Apply calls one by one; `build` what may be found if the power failed just now."""

    _files: dict[int, _File] = field(default_factory=dict)
    _safe_names: dict[str, int] = field(default_factory=dict)
    _changes: list[Op] = field(default_factory=list)  # of names, not yet synced

    def apply(self, op: Op) -> None:
        if op.failed:
            if op.kind == "sync":
                self._files[op.file].since.clear()  # the kernel has forgotten those pages: they are lost
            return
        if op.kind == "create":
            self._files[op.file] = _File()
            self._changes.append(op)
        elif op.kind in ("rename", "unlink"):
            self._changes.append(op)
        elif op.kind == "sync":
            file = self._files[op.file]
            for change in file.since:
                _apply(file.safe, change, len(change.content))
            file.since.clear()
        elif op.kind == "sync_directory":
            mine = [c for c in self._changes if str(Path(c.name).parent) == op.name]
            _rename(self._safe_names, mine)
            self._changes = [c for c in self._changes if c not in mine]
        else:
            self._files[op.file].since.append(op)

    def names(self, whim: Whim, chance: Random) -> dict[str, int]:
        names = dict(self._safe_names)
        if whim is not Whim.LOST:
            _rename(names, [c for c in self._changes if whim is Whim.KEPT or chance.random() < 0.5])
        return names

    def build(self, root: Path, whim: Whim, chance: Random) -> dict[str, int]:
        """Write it below `root`; a whim of TORN is thrown anew for each file.

        Returns how many bytes of each file were synced: what lies beyond may be anything.
        """
        names = self.names(whim, chance)
        for name, file in names.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = chance.choice(tuple(Whim)) if whim is Whim.TORN else whim
            path.write_bytes(self._files[file].after(mine, chance))
        return {name: len(self._files[file].safe) for name, file in names.items()}

    def content(self, file: int) -> bytes:
        """As the running process sees it."""
        return self._files[file].after(Whim.KEPT, Random(0))


def _rename(names: dict[str, int], changes: Sequence[Op]) -> None:
    for op in changes:
        if op.kind == "create":
            names[op.name] = op.file
        else:
            names.pop(op.name, None)
        if op.kind == "rename":
            names[op.to] = op.file


def remove(root: Path) -> None:
    """Quicker than shutil.rmtree: one level of directories, thousands of times."""
    for directory in root.iterdir():
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
    root.rmdir()
