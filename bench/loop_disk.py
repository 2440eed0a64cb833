"""A small ext4 of its own, so that the bytes which reach the device can be counted. Root only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

from edge_agent.errors import EdgeAgentError

SECTOR_BYTES = 512
_WRITTEN = 6  # seventh figure of /sys/block/*/stat: sectors written


class LoopDisk:
    """Entered, `directory` is an empty ext4 on a loop device; left, it is gone."""

    def __init__(self, place: Path, size_bytes: int) -> None:
        self._image = place / "disk.ext4"
        self.directory = place / "disk"
        self._size = size_bytes
        self._device = ""

    @staticmethod
    def possible() -> bool:
        return os.geteuid() == 0 and Path("/dev/loop-control").exists()

    def written(self) -> int:
        """Bytes that reached the device so far, once all is flushed."""
        _call("sync", "-f", str(self.directory))
        stat = Path("/sys/block", Path(self._device).name, "stat").read_text(encoding="ascii")
        return int(stat.split()[_WRITTEN]) * SECTOR_BYTES

    def __enter__(self) -> LoopDisk:
        self.directory.mkdir()
        with self._image.open("wb") as image:
            image.truncate(self._size)
        _call("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))
        self._device = _call("losetup", "--find", "--show", str(self._image)).strip()
        try:
            _call("mount", self._device, str(self.directory))
        except EdgeAgentError:
            _call("losetup", "--detach", self._device)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _call("umount", str(self.directory))
        _call("losetup", "--detach", self._device)
        self._image.unlink()
        self.directory.rmdir()


def _call(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EdgeAgentError(f"{command[0]}: {error}") from error
