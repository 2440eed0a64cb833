"""The loops in memory, packed for the wire. Event loop only; encoding and reading run in worker threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge_agent.demo.dvr import footage, media
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.faults import ChannelFaults, Mode
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.media import LoopKey, Shape, Variant
from edge_agent.demo.dvr.rtp import WireLoop, pack_loop
from edge_agent.model import Role

_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Clip:
    """A real clip, at its own size when `shape` is None."""

    path: Path
    shape: Shape | None


_SHOWN = {Mode.SLATE: Variant.SLATE, Mode.BLACK: Variant.BLACK, Mode.FROZEN: Variant.FROZEN}


def shown(faults: ChannelFaults) -> Variant:
    return _SHOWN.get(faults.mode, faults.variant)


class Library:
    """Streams that show the same loop share one packed copy."""

    def __init__(self, config: DvrConfig) -> None:
        self._config = config
        self._workers = ThreadPoolExecutor(_WORKERS, "encode")
        self._tasks: dict[LoopKey | Clip, asyncio.Task[WireLoop]] = {}
        self._jpegs: dict[tuple[int, int], bytes] = {}
        self._clips = footage.clips(config.footage) if config.footage else ()

    async def preload(self) -> None:
        """Every stream's normal loop; the first channels come first."""
        await asyncio.gather(*(self.wire(name) for name in self._config.streams()))

    async def wire(self, name: StreamName, variant: Variant = Variant.NORMAL) -> WireLoop:
        """Waits until the loop is encoded; a caller that gives up does not stop the others."""
        source = self._source(name, variant)
        if source not in self._tasks:
            self._tasks[source] = asyncio.create_task(self._load(source))
        return await asyncio.shield(self._tasks[source])

    def ready(self, name: StreamName, variant: Variant) -> WireLoop | None:
        task = self._tasks.get(self._source(name, variant))
        return task.result() if task and task.done() and not task.cancelled() else None

    async def jpeg(self, name: StreamName, variant: Variant, now: float) -> bytes:
        """A keyframe of the loop, another one as time passes."""
        loop = (await self.wire(name, variant)).source
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

    async def _load(self, source: LoopKey | Clip) -> WireLoop:
        running = asyncio.get_running_loop()
        return await running.run_in_executor(self._workers, lambda: pack_loop(self._encoded(source)))

    def _encoded(self, source: LoopKey | Clip) -> EncodedLoop:
        if isinstance(source, Clip):
            return footage.load(self._config.cache, source.path, source.shape)
        return media.load(self._config.cache, source)

    def _source(self, name: StreamName, variant: Variant) -> LoopKey | Clip:
        config, sub = self._config, name.role is Role.SUB
        if self._clips and variant is Variant.NORMAL:
            path = self._clips[config.inputs.index(name.channel) % len(self._clips)]
            return Clip(path, config.sub if sub else None)
        return media.loop_key(name.channel, sub, config.shape(name), variant)
