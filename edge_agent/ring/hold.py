"""What is held for a case, and what the evidence log has room for. Pure; docs/evidence.md, "Holds"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from edge_agent.errors import FormatError, RingError
from edge_agent.model import Role

VERSION = 1
MAX_HOLDS = 1024
LEAST_FREE_BYTES = 64 << 20  # a hold never takes the disk's last bytes from the recording


class HoldState(StrEnum):
    """`partial`: not all could be copied; the same order again goes on with it."""

    COPYING = "copying"
    WHOLE = "whole"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is to be held: one stream's records between two moments of wall time, in microseconds.

    `automatic`: held by the night watch, not for a case; such a hold may give way to a newer one.
    """

    case: str
    camera: str
    role: Role
    stream: bytes
    from_us: int
    to_us: int
    automatic: bool = False

    @property
    def id(self) -> str:
        """The same for the same order, so that an order given twice is one hold."""
        named = [self.case, self.camera, self.role.value, self.stream.hex(), self.from_us, self.to_us]
        return ("dark-" if self.automatic else "case-") + sha256(json.dumps(named).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold as it stands. `digest`: SHA-256 over the digests of its `records` records, in hex.

    `noted`: its leaf is durable in the ledger.
    """

    stretch: Stretch
    state: HoldState
    held_at_us: int
    records: int = 0
    bytes: int = 0
    digest: str = ""
    text: str = ""
    noted: bool = False

    @property
    def id(self) -> str:
        return self.stretch.id


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes for cases, and bytes for what the night watch holds by itself."""

    max_bytes: int
    automatic_bytes: int


def give_way(held: Sequence[Hold], wanted: Stretch, need: int, free: int, bounds: Bounds) -> list[Hold]:
    """The automatic holds that make room for `need` bytes, oldest first. A case's hold never gives way.

    Raises RingError, with what to do, when there is no room.
    """
    if free - need < LEAST_FREE_BYTES:
        raise RingError(
            f"the evidence disk has {_mb(free)} free, the hold needs {_mb(need)}; free some space"
        )
    if len(held) >= MAX_HOLDS:
        raise RingError(f"{len(held)} holds are kept already; release some")
    mine = [hold for hold in held if hold.stretch.automatic == wanted.automatic]
    taken = sum(hold.bytes for hold in mine)
    if not wanted.automatic:
        if taken + need > bounds.max_bytes:
            raise RingError(
                f"the evidence log is full: {_mb(taken)} of {_mb(bounds.max_bytes)} are held, this needs "
                f"{_mb(need)}; release a case, or raise ring.evidence.max_bytes"
            )
        return []
    if need > bounds.automatic_bytes:
        raise RingError(f"{_mb(need)} are more than the night watch may hold ({_mb(bounds.automatic_bytes)})")
    leaving: list[Hold] = []
    for hold in sorted(mine, key=lambda h: (h.held_at_us, h.id)):
        if taken + need <= bounds.automatic_bytes:
            break
        leaving.append(hold)
        taken -= hold.bytes
    return leaving


def encode(hold: Hold) -> bytes:
    """`hold.json`."""
    stretch = hold.stretch
    document = {
        "v": VERSION, "case": stretch.case, "camera": stretch.camera, "role": stretch.role.value,
        "stream": stretch.stream.hex(), "from_us": stretch.from_us, "to_us": stretch.to_us,
        "automatic": stretch.automatic, "state": hold.state.value, "held_at_us": hold.held_at_us,
        "records": hold.records, "bytes": hold.bytes, "digest": hold.digest, "text": hold.text,
        "noted": hold.noted,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"


def decode(content: bytes) -> Hold:
    """Raises FormatError."""
    try:
        told = json.loads(content)
        if told["v"] != VERSION:
            raise FormatError(f"hold.json: version {told['v']} is not known")
        stretch = Stretch(
            str(told["case"]), str(told["camera"]), Role(told["role"]), bytes.fromhex(told["stream"]),
            int(told["from_us"]), int(told["to_us"]), bool(told["automatic"]),
        )  # fmt: skip
        return Hold(
            stretch, HoldState(told["state"]), int(told["held_at_us"]), int(told["records"]),
            int(told["bytes"]), str(told["digest"]), str(told["text"]), bool(told["noted"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"hold.json: {error!r}") from error


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
