"""One daemon per state directory and per ring: two writers would tear ledger and segments apart."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_agent.errors import EdgeAgentError


@contextmanager
def sole_owner(*directories: Path) -> Iterator[None]:
    """Hold every directory for this process. Raises EdgeAgentError at once when another one holds it.

    The kernel frees the lock when the process ends, however it ends. The directory itself is locked
    (flock), not a file in it: a full or read-only disk changes nothing, and no file is left behind.
    """
    with ExitStack() as held:
        for path in sorted({directory.resolve() for directory in directories}):
            held.callback(os.close, _lock(path))
        yield


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise EdgeAgentError(f"{path}: {error.strerror}; check owner and mode") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise EdgeAgentError(
                f"{path}: another edge-agent is at work here; stop it, or give this one its own directory"
            ) from error
        raise EdgeAgentError(f"{path}: cannot be locked: {error.strerror}") from error
    return descriptor
