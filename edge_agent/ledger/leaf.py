"""Leaf model v1: one fact as the exact bytes that are hashed, stored and sent. Pure.

A leaf is compact JSON without line breaks, at most 4 KB, beginning with `{`. It is written once and never
re-serialised: every reader hashes the bytes that it got. Fields: `v` 1, `type`, `ts` (wall clock, us),
`up` (boottime, ms), `clk` (clock trust, docs/format.md), `boot` (first 8 hex digits of the boot id), `data`.
The index is not part of a leaf, so that a leaf can be appended again after a rollback.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import merkle
from edge_agent.model import ClockTrust, Instant

MAX_LEAF_BYTES = 4096
PRUNED_MARK = b"#"

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf read back. `data` is whatever the kind defines; readers keep unknown kinds and fields."""

    kind: str
    at: Instant
    boot: str
    data: Mapping[str, Json]


def encode(kind: str, data: Mapping[str, Json], at: Instant, boot: bytes) -> bytes:
    """Write a leaf. Raises `LedgerError` if it is larger than 4 KB or is not JSON."""
    fact: dict[str, Json] = {
        "v": 1,
        "type": kind,
        "ts": at.wall_us,
        "up": at.boot_ns // 1_000_000,
        "clk": int(at.trust),
        "boot": boot.hex()[:8],
        "data": data,
    }
    try:
        leaf = json.dumps(fact, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise LedgerError(f"a {kind} leaf cannot be written as JSON: {error}") from error
    if len(leaf) > MAX_LEAF_BYTES:
        raise LedgerError(f"a {kind} leaf of {len(leaf)} bytes exceeds {MAX_LEAF_BYTES}")
    return leaf


def decode(leaf: bytes) -> Leaf:
    """Read a leaf of version 1. Raises `FormatError` on anything else."""
    check_entry(leaf)
    try:
        fact = json.loads(leaf)
        if fact["v"] != 1 or not isinstance(fact["data"], dict):
            raise FormatError("not a leaf of version 1")
        at = Instant(int(fact["ts"]), int(fact["up"]) * 1_000_000, ClockTrust(fact["clk"]))
        return Leaf(str(fact["type"]), at, str(fact["boot"]), fact["data"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError(f"not a leaf: {error!r}") from error


# -- entries: a leaf, or `#` and its hash once the body is pruned -------------------------------------------


def pruned(hash_: bytes) -> bytes:
    """The entry that stands for a leaf whose body is no longer kept."""
    return PRUNED_MARK + base64.b64encode(hash_)


def is_pruned(entry: bytes) -> bool:
    return entry.startswith(PRUNED_MARK)


def entry_hash(entry: bytes) -> bytes:
    """The leaf hash of an entry, computed from its body or taken from its mark."""
    if not is_pruned(entry):
        return merkle.leaf_hash(entry)
    hash_ = base64.b64decode(entry[1:], validate=True)
    if len(hash_) != merkle.HASH_BYTES:
        raise FormatError("a pruned leaf travels as 32 bytes of hash")
    return hash_


def check_entry(entry: bytes) -> bytes:
    """Cheap shape check of an entry from outside; returns it."""
    if len(entry) > MAX_LEAF_BYTES or not entry.startswith((b"{", PRUNED_MARK)) or b"\n" in entry:
        raise FormatError("an entry is one line of at most 4 KB beginning with { or #")
    if is_pruned(entry):
        try:
            entry_hash(entry)
        except ValueError as error:
            raise FormatError("a pruned leaf travels as base64") from error
    return entry


# -- the minute mark ----------------------------------------------------------------------------------------


class CameraMark(StrEnum):
    """One letter a camera in the minute mark, in the order of the newest `cameras` list in the ledger."""

    UP = "u"
    LOST = "l"  # no packets
    DARK = "d"  # packets, but the picture shows nothing useful
    OFF = "o"  # switched off in the configuration or out of duty hours
    QUARANTINED = "q"  # recorded, not decoded
    UNKNOWN = "-"


@dataclass(frozen=True, slots=True, order=True)
class Tip:
    """The newest synced record of one stream."""

    stream: bytes  # 16
    epoch: bytes  # 16
    n: int
    digest: bytes  # 32

    @property
    def encoded(self) -> bytes:
        return self.stream + self.epoch + self.n.to_bytes(8, "big") + self.digest


def tips_root(tips: Iterable[Tip]) -> bytes:
    """One hash for all streams: the RFC 6962 root over the tips' 72 bytes in sorted order."""
    return merkle.root([merkle.leaf_hash(tip.encoded) for tip in sorted(tips)])


def mark(
    run: int, segments: Sequence[int], beacon: bytes, cameras: Sequence[CameraMark], tips: bytes
) -> dict[str, Json]:
    """The data of a `mark` leaf: at most 250 bytes as a leaf of 8 cameras.

    `segments` are the open segments in the order of the rings; `beacon` is SHA-256 of the newest
    cosignature (16 bytes of it are kept: it only has to be unpredictable); `tips` is `tips_root`.
    """
    return {
        "run": run,
        "seg": list(segments),
        "cam": "".join(cameras),
        "bcn": _short64(beacon[:16]),
        "tips": _short64(tips),
    }


def _short64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# -- floods from outside ------------------------------------------------------------------------------------


@dataclass(slots=True)
class RateLimitedLeaf:
    """Lets strangers cause at most one leaf a minute: the first at once, the rest as one sum.

    Not thread-safe. Feed every occurrence to `note`, and call `due` about once a second.
    """

    interval_s: float = 60.0
    _next_s: float = field(default=float("-inf"), init=False)
    _count: int = field(default=0, init=False)
    _last: str = field(default="", init=False)

    def note(self, what: str, now_s: float) -> dict[str, Json] | None:
        """Count one occurrence; returns the leaf's data if one may be written now."""
        self._count += 1
        self._last = what[:200]
        return self.due(now_s)

    def due(self, now_s: float) -> dict[str, Json] | None:
        """The data of the leaf that sums up what has gathered, if its minute is over."""
        if self._count == 0 or now_s < self._next_s:
            return None
        data: dict[str, Json] = {"count": self._count, "last": self._last}
        self._count, self._next_s = 0, now_s + self.interval_s
        return data
