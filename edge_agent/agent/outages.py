"""Why was there no footage? What the ledger says of one camera and of the box itself. Pure.

The reasons inside sealed gap records are for the command centre's eyes; these are in clear, because the
box must be able to tell them although it can no longer open what it has sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.errors import FormatError
from edge_agent.host.alive import Ending
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger.leaf import Leaf
from edge_agent.uplink.messages import wall_us

BATCH = 512
MAX_LEAVES = 100_000  # two months of quiet days; further back nobody scrolls

Read = Callable[[int, int], list[bytes]]


_BLIND = ("dark", "unusable")


class OutageKind(StrEnum):
    DARK = "dark"  # the camera did not see, or showed nothing of the place
    OFF = "off"  # the agent did not run


@dataclass(frozen=True, slots=True)
class Outage:
    """Wall time, microseconds. `to_us` is None while it lasts."""

    from_us: int
    to_us: int | None
    kind: OutageKind
    text: str


_ENDINGS = {
    Ending.STOPPED.value: "the agent was stopped",
    Ending.BOX_SHUTDOWN.value: "the box was shut down",
    Ending.KILLED.value: "the agent was killed or crashed",
    Ending.POWER_LOST.value: "the box lost power or was reset",
}


def outages(read: Read, size: int, camera: str, from_us: int, to_us: int) -> list[Outage]:
    """The outages of `camera` that touch the range, oldest first. `read(first, count)` gives entries."""
    told = _tell(_since(read, size, from_us), camera)
    return [o for o in told if o.from_us < to_us and (o.to_us is None or o.to_us > from_us)]


def _since(read: Read, size: int, from_us: int) -> list[Leaf]:
    """Leaves from the last before `from_us` on: an outage that began earlier ends with one that says so."""
    batches: list[list[Leaf]] = []
    first = size
    while first > 0 and size - first < MAX_LEAVES:
        count = min(BATCH, first)
        first -= count
        batch = list(_decoded(read(first, count)))
        batches.append(batch)
        if batch and batch[0].at.wall_us < from_us:
            break
    return [leaf for batch in reversed(batches) for leaf in batch]


def _decoded(entries: Iterable[bytes]) -> Iterator[Leaf]:
    for entry in entries:
        try:
            if not leaves.is_pruned(entry):
                yield leaves.decode(entry)
        except FormatError:
            continue  # of a kind or version that this one does not know


def _tell(walked: Iterable[Leaf], camera: str) -> list[Outage]:
    found: list[Outage] = []
    dark: Outage | None = None
    alive_us: int | None = None
    for leaf in walked:
        if leaf.kind == "boot":
            if dark is not None:
                found.append(_ended(dark, alive_us))
            dark = None
            found += _off(leaf, alive_us)
        elif leaf.kind == "camera" and leaf.data.get("camera") == camera:
            if dark is not None:
                found.append(_ended(dark, _moment(leaf, "since")))
            elif leaf.data.get("state") == "up" and leaf.data.get("before") in _BLIND:
                found.append(_dark(leaf, "before_since", _moment(leaf, "since")))
            dark = None if leaf.data.get("state") == "up" else _dark(leaf, "since", None)
        alive_us = leaf.at.wall_us
    return found if dark is None else [*found, dark]


def _off(boot: Leaf, alive_us: int | None) -> list[Outage]:
    """The time between the last leaf of the run before and this one's first."""
    words = _ENDINGS.get(str(boot.data.get("before")))
    if words is None or alive_us is None:
        return []
    return [Outage(alive_us, boot.at.wall_us, OutageKind.OFF, words)]


def _dark(leaf: Leaf, since: str, to_us: int | None) -> Outage:
    cause = leaf.data.get("cause")
    return Outage(_moment(leaf, since), to_us, OutageKind.DARK, cause if isinstance(cause, str) else "")


def _ended(outage: Outage, at_us: int | None) -> Outage:
    return Outage(outage.from_us, at_us, outage.kind, outage.text)


def _moment(leaf: Leaf, field: str) -> int:
    text = leaf.data.get(field)
    try:
        return wall_us(text) if isinstance(text, str) else leaf.at.wall_us
    except FormatError:
        return leaf.at.wall_us
