"""The media gateway: one live session a stream, however many people watch. Owned by the event loop.

A viewer who joins gets the init segment and the fragments since the last keyframe at once; a viewer who is
too slow loses fragments up to the next keyframe, never the others' time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Event, Thread

from edge_agent.errors import EdgeAgentError, UplinkError
from edge_agent.iccc.client import CommandRefused, IcccClient
from edge_agent.iccc.live import LiveFragment, LiveInit, LiveItem
from edge_agent.iccc.stream import LiveStream
from edge_agent.model import Role

log = logging.getLogger(__name__)

GOP_BYTES = 8 * 1024**2
VIEWER_ITEMS = 512
MAX_VIEWERS = 64
LINGER_S = 3.0
SILENT_S = 5.0  # after so long without a record it is worth asking whether the box still knows us
FORGOTTEN_S = 60.0  # after so long the session is asked for again, whatever the box says
RETRY_S = (2.0, 30.0)  # each start is a leaf in the box's ledger: back off
HOPELESS = frozenset({"malformed", "not_found", "no_camera", "not_allowed", "unsupported", "unknown_op"})
_POLL_S = 0.1

Address = tuple[str, str, Role]


@dataclass(frozen=True, slots=True)
class Notice:
    """Why there is no picture at the moment; `final` when trying again would not help."""

    text: str
    final: bool = False


class Viewer:
    """One person's queue. Bounded: a slow viewer goes on at the next keyframe."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[LiveItem | Notice] = asyncio.Queue(VIEWER_ITEMS)
        self.dropped = 0
        self._skipping = False

    def give(self, item: LiveItem | Notice) -> None:
        starts = not isinstance(item, LiveFragment) or item.header.keyframe
        if self._skipping and not starts:
            self.dropped += 1
            return
        try:
            self.items.put_nowait(item)
            self._skipping = False
        except asyncio.QueueFull:
            self.dropped += 1
            self._skipping = True


class Relay:
    """One stream's session and its viewers. The reader thread only hands items to the event loop."""

    def __init__(self, open_live: Callable[[], LiveStream], loop: asyncio.AbstractEventLoop) -> None:
        self._open_live = open_live
        self._loop = loop
        self._viewers: set[Viewer] = set()
        self._init: LiveInit | None = None
        self._gop: list[LiveFragment] = []
        self._gop_bytes = 0
        self._stop = Event()
        self._thread = Thread(target=self._keep_reading, name="iccc-relay", daemon=True)
        self._thread.start()

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def join(self) -> Viewer:
        viewer = Viewer()
        if self._init is not None:
            viewer.give(self._init)
            for fragment in self._gop:
                viewer.give(fragment)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def close(self) -> None:
        """The thread gives the lease back and ends by itself."""
        self._stop.set()

    # --- event loop ------------------------------------------------------------------------------

    def _take(self, item: LiveItem | Notice) -> None:
        if isinstance(item, LiveInit):
            self._init = item
            self._drop_gop()
        elif isinstance(item, LiveFragment):
            self._remember(item)
        for viewer in self._viewers:
            viewer.give(item)

    def _remember(self, fragment: LiveFragment) -> None:
        if fragment.header.keyframe:
            self._drop_gop()
        elif not self._gop:
            return  # outgrown: late viewers wait for the next keyframe
        self._gop.append(fragment)
        self._gop_bytes += len(fragment.data)
        if self._gop_bytes > GOP_BYTES:
            self._drop_gop()

    def _drop_gop(self) -> None:
        self._gop = []
        self._gop_bytes = 0

    # --- reader thread ---------------------------------------------------------------------------

    def _keep_reading(self) -> None:
        pause_s = RETRY_S[0]
        while not self._stop.is_set():
            try:
                with self._open_live() as stream:
                    if stream.started.note:
                        self._hand(Notice(stream.started.note))
                    why = self._read(stream)
                    if stream.first_record_s is not None:
                        pause_s = RETRY_S[0]
                self._hand(Notice(why))
            except CommandRefused as refusal:
                self._hand(Notice(str(refusal), final=refusal.reply.data.code in HOPELESS))
            except EdgeAgentError as error:
                self._hand(Notice(str(error)))
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_S[1])

    def _read(self, stream: LiveStream) -> str:
        """Hand items on until told to stop; returns why the session must be asked for again."""
        heard_s = time.monotonic()
        while not self._stop.is_set():
            item = stream.next_item(_POLL_S)
            silent_s = time.monotonic() - heard_s
            if item is not None:
                heard_s = time.monotonic()
                self._hand(item)
            elif stream.receiver.lost_head:
                return "The start of the stream was lost; asking again"
            elif silent_s > FORGOTTEN_S or (silent_s > SILENT_S and not stream.box_remembers()):
                return "No pictures from the camera; asking again"
        return ""

    def _hand(self, item: LiveItem | Notice) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take, item)
        except RuntimeError:  # the loop has ended: so do we
            self._stop.set()


class Gateway:
    """All relays. Every method belongs to the event loop."""

    def __init__(self, client: IcccClient, operator: str) -> None:
        self._client = client
        self._operator = operator
        self._relays: dict[Address, Relay] = {}
        self._viewers = 0

    @asynccontextmanager
    async def watch(self, site: str, camera: str, role: Role) -> AsyncIterator[Viewer]:
        """A viewer's items while the block runs. Raises UplinkError when too many watch already."""
        if self._viewers >= MAX_VIEWERS:
            raise UplinkError("too many viewers; close one first")
        address = (site, camera, role)
        relay = self._relays.get(address)
        if relay is None:
            relay = self._relays[address] = self._open(address)
        viewer = relay.join()
        self._viewers += 1
        try:
            yield viewer
        finally:
            self._viewers -= 1
            relay.leave(viewer)
            asyncio.get_running_loop().call_later(LINGER_S, self._close_if_idle, address, relay)

    def watching(self) -> dict[str, int]:
        return {f"{s}/{c}/{r.value}": relay.viewers for (s, c, r), relay in self._relays.items()}

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    def _open(self, address: Address) -> Relay:
        site, camera, role = address

        def open_live() -> LiveStream:
            reason = "live view in the console"
            return self._client.live(site, camera, role, operator=self._operator, reason=reason)

        return Relay(open_live, asyncio.get_running_loop())

    def _close_if_idle(self, address: Address, relay: Relay) -> None:
        if relay.viewers == 0 and self._relays.get(address) is relay:
            del self._relays[address]
            relay.close()
