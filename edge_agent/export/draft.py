"""A package appears under its name whole and durable, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import EdgeAgentError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An empty file to write into: synced, renamed to `path` and its directory synced when the body succeeds.

    Raises EdgeAgentError when the disk is full or cannot be written; the draft is removed whatever happens.
    """
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"{path.parent}: the disk is full; free some space, or name another place with --output"
            raise EdgeAgentError(text) from error
        raise EdgeAgentError(f"{error.filename or path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
