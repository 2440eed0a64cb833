"""The loops in memory, packed for the wire. Event loop only; encoding and reading run in worker threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_agent.demo.dvr import footage, media
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.faults import ChannelFaults, Mode
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.media import LoopKey, Shape, Variant
from edge_agent.demo.dvr.old_codecs import Coding, pack_as
from edge_agent.demo.dvr.rtp import WireLoop
from edge_agent.model import Role

_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Clip:
    """A real clip, at its own size when `shape` is None."""

    path: Path
    shape: Shape | None


_Key = tuple[LoopKey | Clip, Coding, int]
_SHOWN = {Mode.SLATE: Variant.SLATE, Mode.BLACK: Variant.BLACK, Mode.FROZEN: Variant.FROZEN}


class Showing(NamedTuple):
    """Which recording of its scene a stream shows, and in which codec."""

    variant: Variant = Variant.NORMAL
    coding: Coding = Coding.OWN


def shown(faults: ChannelFaults) -> Showing:
    coding = Coding.MJPEG if faults.mjpeg else Coding.MPEG4 if faults.mpeg4 else Coding.OWN
    return Showing(_SHOWN.get(faults.mode, faults.variant), coding)


class Library:
    """Streams that show the same loop share one packed copy."""

    def __init__(self, config: DvrConfig) -> None:
        self._config = config
        self._workers = ThreadPoolExecutor(_WORKERS, "encode")
        self._tasks: dict[_Key, asyncio.Task[WireLoop]] = {}
        self._jpegs: dict[tuple[int, int], bytes] = {}
        self._clips = footage.clips(config.footage) if config.footage else ()

    async def preload(self) -> None:
        """Every stream's normal loop; the first channels come first."""
        await asyncio.gather(*(self.wire(name) for name in self._config.streams()))

    async def wire(self, name: StreamName, showing: Showing = Showing()) -> WireLoop:
        """Waits until the loop is encoded; a caller that gives up does not stop the others."""
        key = self._key(name, showing)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._load(*key))
        return await asyncio.shield(self._tasks[key])

    def ready(self, name: StreamName, showing: Showing) -> WireLoop | None:
        task = self._tasks.get(self._key(name, showing))
        return task.result() if task and task.done() and not task.cancelled() else None

    async def jpeg(self, name: StreamName, showing: Showing, now: float) -> bytes:
        """A keyframe of the loop, another one as time passes."""
        loop = (await self.wire(name, Showing(showing.variant))).source
        keyframes = [index for index, unit in enumerate(loop.units) if unit.keyframe]
        index = keyframes[int(now / media.GOP_S) % len(keyframes)]
        key = id(loop), index
        if key not in self._jpegs:
            running = asyncio.get_running_loop()
            self._jpegs[key] = await running.run_in_executor(self._workers, media.jpeg_of, loop, index)
        return self._jpegs[key]

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _load(self, source: LoopKey | Clip, coding: Coding, payload_type: int) -> WireLoop:
        running = asyncio.get_running_loop()
        return await running.run_in_executor(
            self._workers, lambda: pack_as(self._encoded(source), coding, payload_type)
        )

    def _encoded(self, source: LoopKey | Clip) -> EncodedLoop:
        if isinstance(source, Clip):
            return footage.load(self._config.cache, source.path, source.shape)
        return media.load(self._config.cache, source)

    def _key(self, name: StreamName, showing: Showing) -> _Key:
        return self._source(name, showing.variant), showing.coding, self._config.payload_type(name)

    def _source(self, name: StreamName, variant: Variant) -> LoopKey | Clip:
        config, sub = self._config, name.role is Role.SUB
        if self._clips and variant is Variant.NORMAL:
            path = self._clips[config.inputs.index(name.channel) % len(self._clips)]
            return Clip(path, config.sub if sub else None)
        return media.loop_key(name.channel, sub, config.shape(name), variant)
