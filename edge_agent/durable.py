"""Replacing a small file so that after a power cut either the old or the new content is there, whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o640, *, synced: bool = True) -> None:
    """In this order: the file's bytes, its name, the directory. Raises OSError; the old file is whole then.

    About 16 KiB of flash wear a call: not for anything that happens every few seconds. Without `synced` the
    replacing is still whole for other processes, but a power cut may leave an older, empty or torn file:
    only for what tells by itself whether it holds, and can be done without.
    """
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # a fresh inode each time: one whose sync failed is never synced again
    try:
        _write(draft, content, mode, synced=synced)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if synced:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Creations, renames and unlinks in it survive a power cut from here on. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """A short write is carried on; its cause surfaces as the next error. Raises OSError."""
    waiting = memoryview(content)
    while waiting:
        waiting = waiting[os.write(descriptor, waiting) :]


def _write(path: Path, content: bytes, mode: int, *, synced: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        write_all(descriptor, content)
        if synced:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
