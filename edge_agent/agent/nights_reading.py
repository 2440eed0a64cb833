"""Finds the leaves that tell of a range of time, newest first, and reads no more than needed. Any thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from edge_agent.errors import FormatError
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger.leaf import Leaf
from edge_agent.model import ClockTrust

MAX_LEAVES = 600_000  # a year of minutes
BATCH = 512
EARLIER_MARKS_US = 600_000_000  # so that the silence between far apart leaves does not reach into the range

_MARK = re.compile(rb'\{"v":1,"type":"mark","ts":(\d{1,17}),')


def backwards(read: Callable[[int, int], list[bytes]], size: int) -> Iterator[bytes]:
    """Entries from the newest on, in batches. `read(first, count)` gives them."""
    first = size
    while first > 0:
        count = min(BATCH, first)
        first -= count
        yield from reversed(read(first, count))


def leaves_since(newest_first: Iterable[bytes | None], from_us: int) -> list[Leaf]:
    """All leaves that tell of the time since `from_us`, oldest first.

    Goes back to the start of the run that lasted then: a run says anew what each camera does. The marks of
    earlier times are passed over undecoded; they are most of a ledger.
    """
    found: list[Leaf] = []
    offsets: dict[str, int] = {}  # of each boot, wall time minus boottime while the clock was trusted
    for number, entry in enumerate(newest_first):
        if number >= MAX_LEAVES:
            break
        if entry is None or _is_old_mark(entry, from_us):
            continue
        leaf = _decoded(entry)
        if leaf is None:
            continue
        found.append(leaf)
        if leaf.at.trust >= ClockTrust.NTP:
            offsets[leaf.boot] = leaf.at.wall_us - leaf.at.boot_ns // 1000
        if leaf.kind == "boot" and _true_us(leaf, offsets) < from_us:
            break
    found.reverse()
    return found


def _is_old_mark(entry: bytes, from_us: int) -> bool:
    """One of 1970 is not: it may be of today, before the clock was set."""
    mark = _MARK.match(entry)
    return mark is not None and 10**15 < int(mark[1]) < from_us - EARLIER_MARKS_US


def _true_us(leaf: Leaf, offsets: dict[str, int]) -> int:
    """Of a clock that was never set, nothing can be said: as if it were now."""
    if leaf.at.trust >= ClockTrust.NTP:
        return leaf.at.wall_us
    if leaf.boot in offsets:
        return offsets[leaf.boot] + leaf.at.boot_ns // 1000
    return leaf.at.wall_us if leaf.at.trust > ClockTrust.NONE else 2**62


def _decoded(entry: bytes) -> Leaf | None:
    try:
        return None if leaves_.is_pruned(entry) else leaves_.decode(entry)
    except FormatError:
        return None
