"""Why is a stretch missing? The sealed word of the capture side, the ledger's, the numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.errors import SealError
from edge_agent.export.manifest import Cause
from edge_agent.export.proofs import Chosen, moment
from edge_agent.export.rows import Keyring, Row, stated_gap
from edge_agent.export.timeline import Hole
from edge_agent.ledger.leaf import Leaf
from edge_agent.seal.record import Kind

MISSING = "records are missing here: removed, damaged or left out"
UNKNOWN = "not known"


def cause_of(
    hole: Hole, rows: Sequence[Row], leaves: Sequence[Chosen], keyring: Keyring, camera: str
) -> Cause:
    if hole.missing:
        return Cause("numbers", MISSING)
    stated = _stated(hole, rows, keyring)
    if stated:
        return Cause("record", stated)
    for chosen in leaves:
        text = _told(chosen.leaf, hole, camera)
        if text:
            return Cause("ledger", text, chosen.index)
    return Cause("none", UNKNOWN)


def _stated(hole: Hole, rows: Sequence[Row], keyring: Keyring) -> str:
    for row in rows:
        if row.header.kind is not Kind.GAP or row.header.wall_us > hole.to_us:
            continue
        try:
            since_us, until_us, reason = stated_gap(row, keyring)
        except SealError:
            continue
        if since_us < hole.to_us and until_us > hole.from_us:
            return reason
    return ""


def _told(leaf: Leaf, hole: Hole, camera: str) -> str:
    """A sentence if the leaf explains the hole."""
    data = leaf.data
    if leaf.kind == "gap" and _touches(data.get("since"), data.get("until"), hole):
        return str(data.get("text", ""))
    if leaf.kind == "eviction" and _touches(data.get("from"), data.get("to"), hole):
        return f"evicted: {data.get('reason', '')}"
    if not hole.from_us <= leaf.at.wall_us <= hole.to_us + 2_000_000:
        return ""
    if leaf.kind == "boot":
        return f"the agent did not run: {data.get('before', '')}"
    if leaf.kind == "camera" and data.get("camera") == camera:
        return str(data.get("cause") or data.get("text") or "")
    if leaf.kind == "stop":
        return "the agent was stopped"
    if leaf.kind == "standstill":
        return f"the box itself stood still for {data.get('lost_s', '?')} s"
    if leaf.kind == "ring_fault":
        return f"the box's disk did not take it: {data.get('text', '')}"
    return ""


def _touches(start: object, end: object, hole: Hole) -> bool:
    if not isinstance(start, str) or not isinstance(end, str):
        return False
    try:
        return moment(start) < hole.to_us and moment(end) > hole.from_us
    except ValueError:
        return False
