"""Fetching a clip: orders what is missing until nothing is, whatever is restarted on the way."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from edge_agent.errors import EdgeAgentError, FormatError, UplinkError
from edge_agent.iccc.clip_file import ClipFile, ClipHead
from edge_agent.iccc.orders import BEGUN, FINAL, CommandRefused, Ordered
from edge_agent.model import Role
from edge_agent.uplink.clip import ClipStarted
from edge_agent.uplink.operations import MAX_WANTED
from edge_agent.uplink.topics import MediaKind

if TYPE_CHECKING:
    from edge_agent.iccc.client import IcccClient

PATIENCE_S = 600.0  # without a single new part
SURVEY_S = 240.0  # a box may read gigabytes before it can answer
DEAF_S = 10.0  # without `accepted`: the order did not reach the box
SILENT_S = 30.0  # once it sends
STRAGGLERS_S = 10.0  # the broker has them all, or the box is another: what does not come is asked for again
PAUSE_S = (0.5, 10.0)
SAVE_S = 1.0
IN_HAND = 256  # 16 MiB between the link's thread and the disk
_POLL_S = 0.25
_LASTING = frozenset({"unsupported", "unknown_op", "not_allowed", "unknown_kid", "malformed"})
_AT_FIRST = frozenset({"no_camera", "not_recorded"})  # later: a box that was restarted looks for its cameras


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """What is to be fetched, and who wants it. Times: microseconds of the box's wall time."""

    site: str
    camera: str
    role: Role
    from_us: int
    to_us: int
    by: str
    reason: str


@dataclass(slots=True)
class Heard:
    """How it goes, for whoever watches. `waiting` is empty while parts come."""

    parts: int = 0
    here: int = 0
    rounds: int = 0
    again: int = 0  # parts that came twice
    waiting: str = ""


@dataclass(slots=True)
class _Hand:
    """Takes parts from the link's thread; never blocks."""

    payloads: queue.Queue[bytes] = field(default_factory=lambda: queue.Queue(IN_HAND))

    def feed(self, payload: bytes) -> None:
        with contextlib.suppress(queue.Full):  # its bit stays unset: it is asked for again
            self.payloads.put_nowait(payload)


def fetch(
    client: IcccClient, order: ClipOrder, path: Path, seen: Callable[[Heard], None] = lambda _: None,
    patience_s: float = PATIENCE_S,
) -> ClipHead:  # fmt: skip
    """Bring the clip to `path`, going on with what a run before has brought.

    Raises CommandRefused when the box will never give it, UplinkError after `patience_s` without a new
    part (run it again to go on), EdgeAgentError for files in the way, OSError for this disk.
    """
    if path.exists():
        raise EdgeAgentError(f"{path}: is there already; name another file")
    heard, moved_s, pause_s = Heard(), time.monotonic(), PAUSE_S[0]
    while True:
        before, heard.rounds, heard.waiting = heard.here, heard.rounds + 1, ""
        try:
            head = _round(client, order, path, heard, seen)
            if head is not None:
                return head
        except CommandRefused as error:
            if _lasting(error, path):
                raise
            if error.reply.data.code == "changed":
                _forget(path)
            heard.waiting = str(error)
        except UplinkError as error:
            heard.waiting = str(error)
        if heard.here != before:
            moved_s, pause_s = time.monotonic(), PAUSE_S[0]
        if time.monotonic() - moved_s > patience_s:
            raise UplinkError(
                f"{order.site}: nothing new for {patience_s:.0f} s ({heard.waiting or 'silent'}); "
                f"{heard.here} of {heard.parts} parts are here, run it again to go on"
            )
        seen(heard)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S[1])


def _round(
    client: IcccClient, order: ClipOrder, path: Path, heard: Heard, seen: Callable[[Heard], None]
) -> ClipHead | None:
    """One order and what it brings; the head once the clip is whole."""
    file = _taken_up(path, order)
    try:
        if file is None or not file.complete:
            hand, router = _Hand(), client.media(order.site, MediaKind.CLIP)
            with _ordered(client, order, file) as ordered:
                started = _started(ordered)
                file = file or ClipFile.create(path, _head(order, started))
                router.attach(started.session, hand)
                try:
                    _take(client, order, ordered, started, file, hand, heard, seen)
                finally:
                    router.detach(started.session, hand)
        _tell(file, heard, seen)
        if not file.complete:
            return None
        if file.finish():
            return file.head
        heard.here = 0
        raise UplinkError("the parts do not make what was promised; all of them are fetched again")
    finally:
        if file is not None:
            file.close()


def _take(
    client: IcccClient, order: ClipOrder, ordered: Ordered, started: ClipStarted, file: ClipFile, hand: _Hand,
    heard: Heard, seen: Callable[[Heard], None],
) -> None:  # fmt: skip
    """Keep parts until all are here, the box has ended, or nothing comes any more."""
    fed_s = renewed_s = saved_s = time.monotonic()
    birth = client.birth(order.site)  # another one: the box or its line was restarted
    try:
        while not file.complete:
            now_s = time.monotonic()
            with contextlib.suppress(queue.Empty, FormatError):
                heard.again += not file.add(hand.payloads.get(timeout=_POLL_S))
                fed_s = now_s
            going_on = ordered.answered(FINAL) is None and client.birth(order.site) is birth
            if now_s - fed_s > (SILENT_S if going_on else STRAGGLERS_S):
                return
            if now_s - saved_s > SAVE_S:
                file.save()
                saved_s = now_s
                _tell(file, heard, seen)
            if now_s - renewed_s > started.lease_s / 3:
                _say(client, order, "live.renew", started, lease_s=started.lease_s)
                renewed_s = now_s
    finally:
        file.save()
        if ordered.answered(FINAL) is None:
            _say(client, order, "live.stop", started)


@contextmanager
def _ordered(client: IcccClient, order: ClipOrder, file: ClipFile | None) -> Iterator[Ordered]:
    args: dict[str, JsonValue] = {
        "camera": order.camera, "role": order.role.value, "from_us": order.from_us, "to_us": order.to_us,
    }  # fmt: skip
    if file is not None:
        spans = [list[JsonValue](span) for span in file.missing(MAX_WANTED)]
        want = list[JsonValue](spans)
        args |= {"to_us": file.head.to_us, "transfer": file.head.transfer, "want": want}
    ordered = client.order(order.site, "clip.fetch", args, operator=order.by, reason=order.reason)
    try:
        yield ordered
    finally:
        ordered.forget()


def _started(ordered: Ordered) -> ClipStarted:
    """Waits long only for a box that has taken the order."""
    began_s = time.monotonic()
    while ordered.answered(BEGUN) is None:
        waited_s = time.monotonic() - began_s
        if waited_s > (SURVEY_S if ordered.replies() else DEAF_S):
            break
        time.sleep(_POLL_S / 5)
    if ordered.answered(BEGUN) is None:
        raise UplinkError("no answer to clip.fetch")
    reply, _ = ordered.wait(BEGUN, 0)
    try:
        return ClipStarted.model_validate(reply.data.result, strict=False)
    except ValidationError as error:
        raise UplinkError("the reply to clip.fetch names no clip") from error


def _taken_up(path: Path, order: ClipOrder) -> ClipFile | None:
    """What a run before has begun. Raises EdgeAgentError when it is another clip."""
    file = ClipFile.resume(path)
    if file is None:
        return None
    head = file.head
    begun = (head.site, head.camera, head.role, head.from_us, head.asked_to_us)
    if begun != (order.site, order.camera, order.role, order.from_us, order.to_us):
        file.close()
        raise EdgeAgentError(f"{path}: another clip was begun under this name; name another file")
    return file


def _head(order: ClipOrder, started: ClipStarted) -> ClipHead:
    return ClipHead(
        site=order.site, camera=order.camera, role=order.role, from_us=order.from_us,
        asked_to_us=order.to_us, to_us=started.to_us, transfer=started.transfer, size=started.size,
        sha256=started.sha256,
    )  # fmt: skip


def _forget(path: Path) -> None:
    """What was begun cannot be completed: the ring no longer holds it."""
    for suffix in (".state", ".part"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _say(client: IcccClient, order: ClipOrder, op: str, started: ClipStarted, **more: JsonValue) -> None:
    """A word that is not waited for: a lease ends by itself."""
    args: dict[str, JsonValue] = {"session": started.session, "lease": started.lease, **more}
    with contextlib.suppress(UplinkError):
        client.order(order.site, op, args, operator=order.by, reason=order.reason).forget()


def _lasting(refusal: CommandRefused, path: Path) -> bool:
    """Would asking again be answered in the same way?"""
    code = refusal.reply.data.code
    return code in _LASTING or (code in _AT_FIRST and not path.with_name(path.name + ".state").exists())


def _tell(file: ClipFile, heard: Heard, seen: Callable[[Heard], None]) -> None:
    heard.parts, heard.here = file.parts, file.here
    seen(heard)
