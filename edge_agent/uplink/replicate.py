"""The ledger sent to the command centre: which leaves next, and which again.

A PUBACK is not delivery: only the mirror's cosignature moves the cursor. Few leaves ride in the heartbeat;
urgent ones go at once; more than a heartbeat holds goes in batches, whenever the link has nothing else to do.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from pydantic import JsonValue, TypeAdapter, ValidationError

from edge_agent import deflate
from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger.wire import MAX_BATCH_BYTES, Batch, Want
from edge_agent.uplink.messages import CameraName, EventData, LedgerPart, Timestamp, WantPart

log = logging.getLogger(__name__)

IN_HEARTBEAT = 64  # more waiting leaves than these go in batches
ENTRIES_AT_ONCE = 128
MAX_WANTS = 64
UNCONFIRMED_S = 900.0  # sent and not cosigned for so long: the broker may have dropped it

_CAMERA: TypeAdapter[str] = TypeAdapter(CameraName)
_TIMESTAMP: TypeAdapter[str] = TypeAdapter(Timestamp)
_DETAIL: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class LedgerSource(Protocol):
    """The durable ledger, read from any thread. All but `size` may raise LedgerError."""

    @property
    def size(self) -> int: ...

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaves byte for byte; one whose body was pruned comes as its hash."""
        ...

    def checkpoint(self, size: int) -> str:
        """The signed note. LedgerError while the box may sign nothing."""
        ...


class ReplicaPlan:
    """Cursors over the ledger's indexes. Pure; not for several threads.

    `cosigned` <= `sent` <= `size`, but for a moment after the command centre lost leaves.
    """

    def __init__(self) -> None:
        self.size = 0
        self.sent = 0
        self.cosigned = 0
        self._wants: deque[tuple[int, int]] = deque()
        self._hurry_to = 0
        self._confirmed_at = 0.0

    def synced(self, size: int, *, urgent: bool) -> None:
        self.size = max(self.size, size)
        if urgent:
            self._hurry_to = self.size

    def confirmed(self, size: int, now: float) -> None:
        """The mirror has cosigned `size` leaves. Fewer than before: it lost some, they are sent again."""
        if size < self.cosigned:
            self.sent = min(self.sent, size)
        self.cosigned = size
        self.sent = max(self.sent, size)
        self._confirmed_at = now

    def want(self, first: int, count: int) -> bool:
        """Asked for again; False for what does not exist, is being sent anyway, or is too much at once."""
        end = min(first + count, self.sent)
        if first >= end or len(self._wants) >= MAX_WANTS or (first, end) in self._wants:
            return False
        self._wants.append((first, end))
        return True

    def link_lost(self) -> None:
        """Whatever is not cosigned may be lost: leaves are idempotent, so it is sent again."""
        self.sent = min(self.sent, self.cosigned)
        self._hurry_to = self.size
        self._wants.clear()

    def check(self, now: float) -> None:
        if self.sent > self.cosigned and now - self._confirmed_at > UNCONFIRMED_S:
            self._confirmed_at = now
            self.sent = self.cosigned

    def next_range(self) -> tuple[int, int] | None:
        """[first, end) to send now beside the heartbeats; `took` tells how much of it fitted."""
        if self._wants:
            return self._wants[0]
        waiting = self.size - self.sent
        return (self.sent, self.size) if waiting > IN_HEARTBEAT or self.hurried else None

    @property
    def hurried(self) -> bool:
        """Leaves wait that go in a batch at once: the command centre cosigns those sooner."""
        return self.sent < min(self._hurry_to, self.size)

    def took(self, first: int, end: int) -> None:
        if self._wants and self._wants[0][0] == first:
            _, last = self._wants.popleft()
            if end < last:
                self._wants.appendleft((end, last))
        else:
            self.sent = max(self.sent, end)


class Replicator:
    """Thread-safe: the main thread tells it what happened, the link's thread takes batches."""

    def __init__(self, ledger: LedgerSource) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._plan = ReplicaPlan()
        self._plan.synced(ledger.size, urgent=False)
        self._complaint = ""

    # Main thread.

    def synced(self, size: int, urgent: Sequence[int], *, hurry: bool = False) -> list[EventData]:
        """Leaves became durable; the answer are the events to send at once for the urgent ones.

        `hurry`: do not leave them to the next heartbeat, urgent or not.
        """
        with self._lock:
            self._plan.synced(size, urgent=hurry or bool(urgent))
        return [event for index in urgent if (event := self._event(index)) is not None]

    def confirmed(self, size: int, now: float) -> None:
        """The mirror's cosigned size, from a note that was checked. `now` is monotonic."""
        with self._lock:
            self._plan.confirmed(size, now)

    def wanted(self, want: Want) -> bool:
        """`dn/want`, checked: send a range again. False for what is not sent yet or asked for already."""
        with self._lock:
            return self._plan.want(want.first, want.count)

    def heartbeat_part(self, now: float, fetch: Want | None = None) -> LedgerPart:
        """The waiting leaves and the checkpoint over them; they count as sent until `link_lost`."""
        asked = WantPart(first=fetch.first, count=fetch.count) if fetch else None
        with self._lock:
            self._plan.check(now)
            first, end = self._plan.sent, self._plan.size
            rides = end - first <= IN_HEARTBEAT and not self._plan.hurried
            batch = self._batch(first, end) if rides else None
            if batch is None:
                return LedgerPart(first=first, fetch=asked)
            self._plan.took(first, batch.end)
        return LedgerPart(
            first=first,
            leaves=tuple(entry.decode() for entry in batch.leaves),
            checkpoint=batch.checkpoint or "",
            fetch=asked,
        )

    def waiting(self) -> int:
        """Leaves that the command centre has not acknowledged."""
        with self._lock:
            return self._plan.size - self._plan.cosigned

    # Link thread (control.Backlog).

    def next_batch(self) -> bytes | None:
        with self._lock:
            wanted = self._plan.next_range()
            if wanted is None:
                return None
            batch = self._batch(*wanted)
            if batch is None or not batch.leaves:
                return None
            self._plan.took(batch.first, batch.end)
        return deflate.squeeze(batch.encode())

    def link_lost(self) -> None:
        with self._lock:
            self._plan.link_lost()

    def _batch(self, first: int, end: int) -> Batch | None:
        """As many of [first, end) as fit into 8 KB, with the checkpoint if they are the newest.

        None while the box may sign nothing: after a rollback its leaves could contradict what it signed.
        """
        try:
            note = self._ledger.checkpoint(self._plan.size)
            entries = self._ledger.entries(first, min(end - first, ENTRIES_AT_ONCE))
        except LedgerError as error:
            self._complain(str(error))
            return None
        self._complaint = ""
        fitting = _fitting(entries, MAX_BATCH_BYTES - 64 - len(note))
        newest = first + len(fitting) == self._plan.size
        return Batch(first, fitting, note if newest else None)

    def _event(self, index: int) -> EventData | None:
        """A leaf told at once, readable without knowing leaves."""
        try:
            entry = self._ledger.entries(index, 1)[0]
            leaf = leaves.decode(entry)
            detail = _DETAIL.validate_python(leaf.data)
        except (LedgerError, FormatError, ValidationError) as error:
            log.error("leaf %d cannot be told: %s; run `edge-agent ledger verify`", index, error)
            return None
        text = detail.get("text")
        return EventData.model_validate(
            {
                "kind": leaf.kind[:128],
                "camera": _as(_CAMERA, detail.get("camera")),
                "since": _as(_TIMESTAMP, detail.get("since")),
                "text": text[:512] if isinstance(text, str) else "",
                "detail": detail,
                "index": index,
                "leaf": entry.decode(),
            }
        )

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.info("replication waits: %s", text)
            self._complaint = text


def batches(entries: Sequence[bytes], first: int, checkpoint: str) -> list[bytes]:
    """Entries in payloads for `up/ledger`, at most 8 KB each; the last one carries the checkpoint."""
    payloads: list[bytes] = []
    end = first + len(entries)
    while first < end or not payloads:
        fitting = _fitting(entries[len(entries) - (end - first) :], MAX_BATCH_BYTES - 64 - len(checkpoint))
        last = first + len(fitting) == end
        payloads.append(Batch(first, fitting, checkpoint if last else None).encode())
        first += len(fitting)
    return payloads


def _fitting(entries: Sequence[bytes], room: int) -> tuple[bytes, ...]:
    """The first entries that fit; one always does."""
    fitting: list[bytes] = []
    for entry in entries:
        room -= len(entry) + 1
        if room < 0 and fitting:
            break
        fitting.append(entry)
    return tuple(fitting)


def _as(kind: TypeAdapter[str], value: object) -> str | None:
    try:
        return kind.validate_python(value)
    except ValidationError:
        return None
