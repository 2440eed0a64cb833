"""The ledger's leaves from its files alone, newest first: beside a running daemon, or without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_agent.ledger import parts
from edge_agent.ledger.checkpoint import MAX_SIZE


def newest_first(directory: Path) -> Iterator[tuple[int, bytes | None]]:
    """Index and bytes of every leaf, None for one whose frame is damaged. Raises OSError.

    Reads one part (4 MiB) at a time, and none that the caller does not get to.
    """
    for stretch in reversed(parts.overlay(parts.list_parts(directory), MAX_SIZE)):
        content = stretch.part.path.read_bytes()
        offsets = parts.scan(content).offsets[: stretch.end - stretch.first]
        for at in range(len(offsets) - 1, -1, -1):
            yield stretch.first + at, parts.leaf_at(content, offsets[at])
