"""Which leaves of the box's ledger an export carries, and the proofs that lead to a signed head. Pure."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.ledger.leaf import Leaf
from edge_agent.seal.record import Record, Tip
from edge_agent.seal.tips import parse_tips

BATCH = 512
MAX_WALKED = 200_000
MARK_US = 130_000_000  # after this long, whatever happened has been told in a leaf
CLOCK_SLACK_US = 600_000_000  # leaves stand in the order of writing, not of a clock

_OF_BOX = frozenset(
    {"boot", "stop", "cameras", "config", "recorder", "ring_fault", "ring_recovered", "damage"}
    | {"clock_step", "standstill", "rollback", "lost", "mark", "export", "hold"}
)
_OF_CAMERA = frozenset({"camera", "gap"})


@dataclass(frozen=True, slots=True)
class LedgerView:
    """A ledger as one side holds it: the box its own, the command centre what its mirror stored.

    `own` is the newest checkpoint that the box signed; `cosigned` and `witnessed` are the notes with the
    mirror's and the witness's signature, empty when there is none.
    """

    key: Verifier
    entries: Callable[[int, int], Sequence[bytes]]
    nodes: merkle.NodeLookup
    own: str
    cosigned: str = ""
    witnessed: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A leaf that is carried, by its index in the log."""

    index: int
    entry: bytes
    leaf: Leaf


class Heads:
    """The signed heads of a view, checked against the box's key. Raises LedgerError or FormatError."""

    def __init__(self, view: LedgerView) -> None:
        self._nodes = _remembered(view.nodes)
        self.own = notes.open_checkpoint(view.own, view.key)[0]
        self.cosigned = notes.open_checkpoint(view.cosigned, view.key)[0] if view.cosigned else None

    @property
    def size(self) -> int:
        return max(self.own.size, self.cosigned.size if self.cosigned else 0)

    def proof(self, index: int) -> tuple[str, list[bytes]]:
        """Under which head, and the audit path; under the cosigned one wherever it reaches."""
        head, name = self._over(index)
        path = merkle.inclusion(self._nodes, index, head.size)
        if not merkle.verify_inclusion(self._nodes(0, index), index, head.size, path, head.root):
            raise LedgerError(f"leaf {index} is not under the signed head; run `edge-agent ledger verify`")
        return name, path

    def _over(self, index: int) -> tuple[Checkpoint, str]:
        if self.cosigned is not None and index < self.cosigned.size:
            return self.cosigned, "cosigned"
        return self.own, "own"


def walk_back(view: LedgerView, size: int, until_us: int) -> list[Chosen]:
    """The leaves that were written since `until_us`, and the newest batch before; in order."""
    batches: list[list[Chosen]] = []
    first = size
    while first > 0 and size - first < MAX_WALKED:
        count = min(BATCH, first)
        first -= count
        batch = list(_decoded(first, view.entries(first, count)))
        batches.append(batch)
        if batch and batch[0].leaf.at.wall_us < until_us - CLOCK_SLACK_US:
            break
    return [chosen for batch in reversed(batches) for chosen in batch]


def relevant(walked: Iterable[Chosen], camera: str, role: str, from_us: int, to_us: int) -> list[Chosen]:
    """What the window's reader must know: marks, boots, this camera's states and gaps, evictions, clock.

    The newest boot, camera list and state of the camera from before the window come too.
    """
    before: dict[str, Chosen] = {}
    within: list[Chosen] = []
    for chosen in walked:
        leaf = chosen.leaf
        if not _concerns(leaf, camera, role):
            continue
        if leaf.at.wall_us < from_us:
            if leaf.kind in ("boot", "cameras", "camera"):
                before[leaf.kind] = chosen
        elif leaf.at.wall_us <= to_us + MARK_US or _evicted(leaf, from_us, to_us):
            within.append(chosen)
    return sorted([*before.values(), *within], key=lambda c: c.index)


def marked_tips(
    walked: Iterable[Chosen], tips: Iterable[Record]
) -> dict[int, tuple[Record, tuple[Tip, ...]]]:
    """Index of a mark -> the tips record that it has the root of. A record without a mark proves nothing."""
    roots = {c.leaf.data.get("tips"): c.index for c in walked if c.leaf.kind == "mark"}
    found: dict[int, tuple[Record, tuple[Tip, ...]]] = {}
    for record in tips:
        rows = parse_tips(record)
        root = leaves.tips_root(leaves.Tip(t.stream, t.epoch, t.n, t.digest) for t in rows)
        index = roots.get(leaves.mark(0, (), bytes(32), (), root)["tips"])
        if index is not None:
            found[index] = (record, rows)
    return found


def encode(view: LedgerView, heads: Heads, carried: Sequence[Chosen]) -> bytes:
    """`ledger.json`: notes, then every leaf byte for byte with its proof."""
    told: list[Mapping[str, object]] = []
    for chosen in carried:
        under, path = heads.proof(chosen.index)
        told.append(
            {
                "index": chosen.index,
                "leaf": chosen.entry.decode(),
                "proof": [b64encode(p).decode() for p in path],
                "under": under,
            }
        )
    document = {
        "cosigned": view.cosigned,
        "leaves": told,
        "own": view.own,
        "v": 1,
        "witnessed": view.witnessed,
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _concerns(leaf: Leaf, camera: str, role: str) -> bool:
    if leaf.kind in _OF_CAMERA:
        return leaf.data.get("camera") == camera and leaf.data.get("role", role) == role
    if leaf.kind == "eviction":
        return leaf.data.get("role") == role
    return leaf.kind in _OF_BOX


def _evicted(leaf: Leaf, from_us: int, to_us: int) -> bool:
    """Whether footage of the window was removed, however much later."""
    start, end = leaf.data.get("from"), leaf.data.get("to")
    if leaf.kind != "eviction" or not isinstance(start, str) or not isinstance(end, str):
        return False
    try:
        return moment(start) < to_us and moment(end) > from_us
    except ValueError:
        return False


def moment(text: str) -> int:
    """A leaf's time text (RFC 3339, UTC) as microseconds of wall time. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def _decoded(first: int, entries: Sequence[bytes]) -> Iterable[Chosen]:
    for index, entry in enumerate(entries, first):
        if leaves.is_pruned(entry):
            continue
        try:
            yield Chosen(index, entry, leaves.decode(entry))
        except FormatError:
            continue  # of a kind or version that this one does not know


def _remembered(nodes: merkle.NodeLookup) -> merkle.NodeLookup:
    known: dict[tuple[int, int], bytes] = {}

    def look_up(level: int, index: int) -> bytes:
        if (level, index) not in known:
            known[level, index] = nodes(level, index)
        return known[level, index]

    return look_up
