"""The recorder's state, shared by its servers: faults, accounts, loops, sessions. One event loop."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from edge_agent.demo.dvr.auth import Accounts
from edge_agent.demo.dvr.brand import StreamName, realm
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.faults import Mode, healthy
from edge_agent.demo.dvr.library import Library, shown
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.rtp import WireLoop
from edge_agent.demo.dvr.skin import BrandSkin, Skin

_SENT_KEPT = 256  # newest pictures per stream, for the search for plaintext
_JPEGS_KEPT = 16
PIECE = 64


class Session(Protocol):
    """One RTSP session as the rest of the recorder sees it."""

    name: StreamName | None
    playing: bool

    def cut(self) -> None: ...

    def stall(self) -> None: ...

    def reset_timestamps(self) -> None: ...


class Recorder:
    def __init__(self, config: DvrConfig) -> None:
        self.config = config
        replay = config.replay
        self.faults = replay.faults if replay else healthy(config.inputs)
        named = (replay.realm if replay else "") or realm(config.brand, config.serial)
        self.accounts = Accounts(config.user, config.password, named, basic=bool(replay and replay.basic))
        self.skin: Skin = BrandSkin(config.brand)
        self.library = Library(config)
        self.started = self.device_time()  # its last boot, as it tells in ONVIF
        self.sessions: set[Session] = set()
        self.counts: Counter[str] = Counter()
        self._sent: dict[StreamName, deque[tuple[EncodedLoop, int]]] = {}
        self._jpegs: deque[bytes] = deque(maxlen=_JPEGS_KEPT)

    def device_time(self) -> datetime:
        """The recorder's own idea of UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.faults.device.clock_skew_s)

    def has(self, name: StreamName) -> bool:
        return name in self.config.streams()

    async def wire(self, name: StreamName) -> WireLoop:
        return await self.library.wire(name, shown(self.faults.channel(name.channel)))

    def wire_now(self, name: StreamName) -> WireLoop | None:
        """What the stream shows at this moment; None while it is still being encoded."""
        return self.library.ready(name, shown(self.faults.channel(name.channel)))

    def signal_lost(self, channel: int) -> bool:
        return self.faults.channel(channel).mode in (Mode.OFF, Mode.SLATE)

    def pictures(self, channel: int) -> bool:
        """Whether the input gives any picture, if only the slate."""
        return self.faults.channel(channel).mode not in (Mode.OFF, Mode.MUTE)

    async def snapshot(self, name: StreamName) -> bytes:
        jpeg = await self.library.jpeg(name, shown(self.faults.channel(name.channel)), time.monotonic())
        self._jpegs.append(jpeg)
        self.counts["snapshots"] += 1
        return jpeg

    def note_sent(self, name: StreamName, loop: EncodedLoop, index: int) -> None:
        if name not in self._sent:
            self._sent[name] = deque(maxlen=_SENT_KEPT)
        self._sent[name].append((loop, index))

    def sent_pieces(self, name: StreamName) -> list[bytes]:
        """64-byte pieces from the middle of slices sent lately, each from another picture."""
        pictures = {(id(loop), index): loop.units[index] for loop, index in self._sent.get(name, ())}
        slices = (max(unit.nals, key=len) for unit in pictures.values())
        return [nal[len(nal) // 2 :][:PIECE] for nal in slices if len(nal) >= 4 * PIECE]

    def jpeg_pieces(self) -> list[bytes]:
        return [jpeg[len(jpeg) // 2 :][:PIECE] for jpeg in set(self._jpegs) if len(jpeg) >= 4 * PIECE]

    def sessions_of(self, channel: int | None) -> Iterator[Session]:
        """Sessions of one channel, or all of them."""
        for session in tuple(self.sessions):
            if channel is None or (session.name is not None and session.name.channel == channel):
                yield session
