"""Replacing a small file so that after a power cut either the old or the new content is there, whole."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o640) -> None:
    """In this order: the file's bytes, its name, the directory. Raises OSError; the old file is whole then.

    About 16 KiB of flash wear a call: not for anything that happens every few seconds.
    """
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, for the mode
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
