"""The loops in memory, packed for the wire. Event loop only; encoding and reading run in worker threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from edge_agent.demo.dvr import footage, media
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.faults import ChannelFaults, Mode
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.media import Variant
from edge_agent.demo.dvr.rtp import WireLoop, pack_loop
from edge_agent.model import Role

_WORKERS = 2


def shown(faults: ChannelFaults) -> Variant:
    return Variant.SLATE if faults.mode is Mode.SLATE else faults.variant


class Library:
    def __init__(self, config: DvrConfig) -> None:
        self._config = config
        self._workers = ThreadPoolExecutor(_WORKERS, "encode")
        self._tasks: dict[tuple[StreamName, Variant], asyncio.Task[WireLoop]] = {}
        self._jpegs: dict[tuple[int, int], bytes] = {}
        self._clips = footage.clips(config.footage) if config.footage else ()

    async def preload(self) -> None:
        """Every stream's normal loop; the first channels come first."""
        await asyncio.gather(*(self.wire(name) for name in self._config.streams()))

    async def wire(self, name: StreamName, variant: Variant = Variant.NORMAL) -> WireLoop:
        """Waits until the loop is encoded; a caller that gives up does not stop the others."""
        key = name, variant
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._load(name, variant))
        return await asyncio.shield(self._tasks[key])

    def ready(self, name: StreamName, variant: Variant) -> WireLoop | None:
        task = self._tasks.get((name, variant))
        return task.result() if task and task.done() and not task.cancelled() else None

    async def jpeg(self, name: StreamName, variant: Variant, now: float) -> bytes:
        """A keyframe of the loop, another one as time passes."""
        loop = (await self.wire(name, variant)).source
        keyframes = [index for index, unit in enumerate(loop.units) if unit.keyframe]
        index = keyframes[int(now / media.GOP_S) % len(keyframes)]
        if (id(loop), index) not in self._jpegs:
            running = asyncio.get_running_loop()
            self._jpegs[id(loop), index] = await running.run_in_executor(
                self._workers, media.jpeg_of, loop, index
            )
        return self._jpegs[id(loop), index]

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _load(self, name: StreamName, variant: Variant) -> WireLoop:
        return await asyncio.get_running_loop().run_in_executor(self._workers, self._make, name, variant)

    def _make(self, name: StreamName, variant: Variant) -> WireLoop:
        return pack_loop(self._encoded(name, variant))

    def _encoded(self, name: StreamName, variant: Variant) -> EncodedLoop:
        config = self._config
        sub = name.role is Role.SUB
        if self._clips and variant is Variant.NORMAL:
            clip = self._clips[config.inputs.index(name.channel) % len(self._clips)]
            return footage.load(config.cache, clip, config.sub if sub else None)
        return media.load(config.cache, media.LoopKey(name.channel, sub, config.shape(name), variant))
