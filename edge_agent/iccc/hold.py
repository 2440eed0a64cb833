"""Holding footage for a case: the box copies it, this side seals its keys again to the evidence key.

Only so does a hold outlive crypto-shredding: when the private key of a month is destroyed, what was sealed
to it is gone, but for the epochs whose keys were rewrapped here before.
"""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue

from edge_agent.errors import UplinkError
from edge_agent.iccc.hold_store import HeldThere, HoldStore
from edge_agent.iccc.orders import FINAL, CommandRefused, SecondKey
from edge_agent.model import Role
from edge_agent.seal.epoch import Wrap
from edge_agent.seal.keys import Recipient
from edge_agent.seal.record import Record, parse_record
from edge_agent.seal.rewrap import rewrap
from edge_agent.uplink.messages import Lifecycle, Reply

if TYPE_CHECKING:
    from edge_agent.iccc.client import IcccClient

SILENT_S = 240.0  # a box waits 80 s for the minute mark, and a slow disk with a full queue takes its time
RELEASED_S = 90.0  # the leaf first, then gigabytes; a signature that the box does not know gets no answer
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """What is to be held, and who wants it. Times: microseconds of the box's wall time."""

    site: str
    camera: str
    role: Role
    from_us: int
    to_us: int
    case: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rewrapper:
    """The recipient whose key opens now, and the one that shall open later."""

    recipient_id: str
    recipient_key: bytes
    evidence: Recipient


def hold(
    client: IcccClient, public: bytes, order: HoldOrder, rewrapper: Rewrapper, store: HoldStore,
    seen: Callable[[int], None] = lambda _: None,
) -> HeldThere:  # fmt: skip
    """Order it, wait until it is whole, keep its keys. The same order again is the same hold.

    `seen` hears percents. Raises CommandRefused (the box's log is full, nothing is recorded), UplinkError
    when the box falls silent or a key record is missing: give the order again; SealError for a key record
    that is not the box's or not sealed to our key.
    """
    args: dict[str, JsonValue] = {
        "camera": order.camera, "role": order.role.value, "from_us": order.from_us, "to_us": order.to_us,
        "case": order.case,
    }  # fmt: skip
    replies = _carried_out(client, order, args, seen)
    told = replies[-1].data.result
    keys = [parse_record(raw) for reply in replies for raw in _keys(reply)]
    if told.get("epochs") != len(keys):
        raise UplinkError(f"{order.site}: {len(keys)} of {told.get('epochs')} key records came; order again")
    held = HeldThere(
        order.site, str(told.get("hold")), order.case, order.camera, order.role, order.from_us, order.to_us,
        _count(told.get("records")), str(told.get("digest")), time.time_ns() // 1000, order.by,
    )  # fmt: skip
    store.keep(held, rewrapped(keys, public, rewrapper))
    return held


def rewrapped(keys: Iterable[Record], public: bytes, by: Rewrapper) -> list[tuple[bytes, Wrap]]:
    """(epoch, wrap to the evidence key) of each key record. Raises SealError, FormatError."""
    return [
        (key.header.epoch, rewrap(key, public, by.recipient_id, by.recipient_key, by.evidence))
        for key in keys
    ]


def release(
    client: IcccClient, site: str, case: str, second: SecondKey, store: HoldStore, *, by: str, reason: str
) -> int:
    """Give up all that is held for a case, there and here: the bytes that the box removed.

    A box obeys two keys of different roles. Raises as `IcccClient.command`.
    """
    ordered = client.order(site, "ring.release", {"case": case}, operator=by, reason=reason, second=second)
    try:
        reply, _ = ordered.wait(FINAL, RELEASED_S)
    finally:
        ordered.forget()
    store.forget(site, case)
    return _count(reply.data.result.get("bytes"))


def _carried_out(
    client: IcccClient, order: HoldOrder, args: dict[str, JsonValue], seen: Callable[[int], None]
) -> list[Reply]:
    """Every reply up to the last; its key records come in several."""
    ordered = client.order(order.site, "ring.hold", args, operator=order.by, reason=order.reason)
    came, heard_s = 0, time.monotonic()
    try:
        while ordered.answered(FINAL) is None:
            replies = ordered.replies()
            if len(replies) > came:
                came, heard_s = len(replies), time.monotonic()
                seen(replies[-1].data.progress or 0)
            if time.monotonic() - heard_s > SILENT_S:
                raise UplinkError(
                    f"{order.site}: silent for {SILENT_S:.0f} s; the same order goes on with it"
                )
            time.sleep(POLL_S)
        replies = ordered.replies()
    finally:
        ordered.forget()
    last = next(reply for reply in replies if reply.data.status in FINAL)
    if last.data.status is not Lifecycle.DONE:
        raise CommandRefused(last)
    return [*(reply for reply in replies if reply is not last), last]


def _keys(reply: Reply) -> list[bytes]:
    listed = reply.data.result.get("keys")
    texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    try:
        return [b64decode(text, validate=True) for text in texts]
    except ValueError as error:
        raise UplinkError(f"a key record in the reply is not base64: {error}") from error


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
