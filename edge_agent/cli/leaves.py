"""Leaves in words: one line a leaf, one line an access. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.ledger.leaf import Json, Leaf

MAX_TEXT = 110
UNKNOWN_SENDER = "somebody unknown"


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody asked this box for something. `outcome`: received, done, failed or refused, and why."""

    wall_us: int
    who: str
    op: str
    camera: str
    reason: str
    outcome: str


def describe(leaf: Leaf) -> str:
    """The leaf's own sentence if it has one, else its fields."""
    data = leaf.data
    match leaf.kind:
        case "mark":
            return f"cameras {data.get('cam')}, segments {_plain(data.get('seg'))}"
        case "command":
            access = accesses([leaf])[0]
            return _joined(access.who, access.op, access.camera, access.outcome, access.reason)
        case "camera" | "recorder":
            return _joined(_text(data, "camera") or _text(data, "recorder"), _text(data, "text"))
    shown = {k: v for k, v in data.items() if v not in (None, "", [])}
    return " ".join(f"{name}={_plain(value)}" for name, value in shown.items())[:MAX_TEXT]


def accesses(leaves: Iterable[Leaf]) -> list[Access]:
    """Commands, each with its last outcome, and looks at the box itself; in the order of the leaves."""
    found: dict[object, Access] = {}
    for number, leaf in enumerate(leaves):
        access = _access(leaf)
        if access is None:
            continue
        key: object = _text(leaf.data, "id") or number
        before = found.get(key)
        found[key] = access if before is None else _ended(before, access)
    return list(found.values())


def _access(leaf: Leaf) -> Access | None:
    data, at = leaf.data, leaf.at.wall_us
    match leaf.kind:
        case "command":
            why = _text(data, "code") or _text(data, "text")
            outcome = _text(data, "status") + (f": {why}" if why else "")
            who = _text(data, "operator") or _text(data, "kid") or UNKNOWN_SENDER
            return Access(at, who, _text(data, "op"), _text(data, "camera"), _text(data, "reason"), outcome)
        case "local":
            who = f"at the box, {_text(data, 'who')}"
            return Access(at, who, _text(data, "op"), _text(data, "camera"), "", "done")
        case "work":
            who, cameras = _text(data, "who").replace("local ", "at the box, ", 1), data.get("cameras")
            where = ", ".join(map(str, cameras)) if isinstance(cameras, list) else ""
            return Access(at, who, "work", where, _text(data, "reason"), f"until {_text(data, 'until')}")
        case "export":
            who = f"{_text(data, 'by')}, at the box, {_text(data, 'who')}"
            return Access(at, who, "export", _text(data, "camera"), _text(data, "reason"), "done")
        case "strangers":
            said = f"refused: {data.get('count')} messages, the last: {_text(data, 'last')}"
            return Access(at, UNKNOWN_SENDER, "", "", "", said)
    return None


def _ended(first: Access, later: Access) -> Access:
    return Access(first.wall_us, first.who, first.op, first.camera, first.reason, later.outcome)


def _joined(*words: str) -> str:
    return "  ".join(word for word in words if word)[:MAX_TEXT]


def _text(data: Mapping[str, Json], key: str) -> str:
    value = data.get(key)
    return "" if value is None else str(value)


def _plain(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
