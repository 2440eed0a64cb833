"""A disk of its own below a directory: ext4 on a loop device, to be filled, broken, taken and put back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """Needs root and the right to mount; skips the test without."""

    def __init__(self, image: Path, place: Path, mib: int) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root, to mount a disk of its own")
        self.image, self.place = image, place
        with image.open("wb") as file:
            file.truncate(mib << 20)
        call("mkfs.ext4", "-q", "-m", "0", str(image))
        self.mount()

    def mount(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["mount", "-o", "loop", self.image, self.place], check=False).returncode:
            pytest.skip("this container may not mount")

    def fill(self) -> None:
        """Somebody else's file takes every block that is left."""
        with (self.place / "foreign").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def empty(self) -> None:
        (self.place / "foreign").unlink()

    def abort(self) -> None:
        """As after a fatal error of the medium: ext4 gives up its journal and turns read-only."""
        call("mount", "-o", "remount,abort", str(self.place))

    def take_away(self) -> None:
        """What is open stays open for whoever has it; the directory is the empty one below."""
        call("umount", "-l", str(self.place))

    def put_back(self) -> None:
        """After the check that every start makes, on another device: the daemon's lock holds the old one."""
        copy = self.image.with_name(self.image.name + "+")
        call("cp", "--sparse=always", str(self.image), str(copy))
        subprocess.run(["fsck.ext4", "-p", copy], check=False, capture_output=True)
        self.image = copy
        self.mount()

    def replace(self) -> None:
        self.take_away()
        self.put_back()


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
