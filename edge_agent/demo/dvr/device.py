"""The recorder switched on: its servers, and the changes that reach their sockets. One event loop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace

from edge_agent.demo.dvr import onvif_device, replay_addresses
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.discovery import Announcement, DiscoveryResponder
from edge_agent.demo.dvr.faults import Act, Mode, RtspManners, patch
from edge_agent.demo.dvr.library import shown
from edge_agent.demo.dvr.onvif import OnvifService
from edge_agent.demo.dvr.onvif_events import EventDesk
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.replay_onvif import ReplayOnvif
from edge_agent.demo.dvr.replay_rtsp import ReplaySkin
from edge_agent.demo.dvr.rtsp_server import RtspServer
from edge_agent.demo.dvr.web import HttpServer

LONGEST_REBOOT_S = 600.0
_NAMESPACE = uuid.UUID("6f3d0c52-52a1-4f0e-9d5e-0c6a6f4f2f10")


class Device:
    def __init__(self, config: DvrConfig) -> None:
        self.recorder = Recorder(config)
        self.events = EventDesk(self.recorder)
        self.rtsp = RtspServer(self.recorder)
        self._replay = config.replay
        self._onvif = self._service()
        self.http = HttpServer(config.host, config.http_port, self._onvif.answer)
        self._discovery = DiscoveryResponder(self._announcement, config.host, config.interfaces)
        self.endpoint = f"urn:uuid:{uuid.uuid5(_NAMESPACE, config.serial)}"
        self._changing = asyncio.Lock()
        self._rebooting: asyncio.Task[None] | None = None

    async def switch_on(self) -> None:
        self.recorder.started = self.recorder.device_time()
        await self.rtsp.open()
        if not self.recorder.faults.device.onvif_off:
            await self.http.open()
        self._onvif.rtsp_port, self._onvif.http_port = self.rtsp.port, self.http.port
        await self._discovery.open()

    def switch_off(self) -> None:
        """Listening sockets closed, sessions cut, subscriptions forgotten."""
        self._discovery.close()
        self.http.close()
        self.rtsp.close()
        self.events.drop_all()

    async def change_channel(self, channel: int, changes: Mapping[str, object]) -> None:
        """Returns when the change shows. ValueError or KeyError for what does not exist."""
        recorder = self.recorder
        async with self._changing:
            state = patch(recorder.faults.channel(channel), changes)
            streams = [name for name in recorder.config.streams() if name.channel == channel]
            await asyncio.gather(*(recorder.library.wire(name, shown(state)) for name in streams))
            recorder.faults = recorder.faults.with_channel(channel, state)
            if changes.get("mode") == Mode.STALL:
                for session in recorder.sessions_of(channel):
                    session.stall()
            self.events.observe()

    async def change_channels(self, changes: Mapping[str, object]) -> None:
        """The same to every channel, as when the supply of all cameras is switched off."""
        for channel in self.recorder.config.inputs:
            await self.change_channel(channel, changes)

    async def change_device(self, changes: Mapping[str, object]) -> None:
        recorder = self.recorder
        async with self._changing:
            before, after = recorder.faults.device, patch(recorder.faults.device, changes)
            recorder.faults = replace(recorder.faults, device=after)
            if after.rtsp is RtspManners.DEAD:
                for session in recorder.sessions_of(None):
                    session.stall()
            if after.off and not before.off:
                self.switch_off()
            elif before.off and not after.off:
                await self.switch_on()
            elif after.onvif_off and not before.onvif_off:
                self.http.close()
                self.events.drop_all()
            elif before.onvif_off and not after.onvif_off:
                await self.http.open()
                self._onvif.http_port = self.http.port

    async def act(self, act: Act, channel: int | None = None, seconds: float = 0.0) -> None:
        """`seconds` is how long a reboot takes; when this returns the recorder is off, or back for none."""
        match act:
            case Act.CUT:
                for session in self.recorder.sessions_of(channel):
                    session.cut()
            case Act.RESET_TIMESTAMPS:
                for session in self.recorder.sessions_of(channel):
                    session.reset_timestamps()
            case Act.DROP_SUBSCRIPTIONS:
                self.events.drop_all()
            case Act.REBOOT:
                off = asyncio.Event()
                self._rebooting = asyncio.create_task(self._reboot(min(seconds, LONGEST_REBOOT_S), off))
                await (off.wait() if seconds else self._rebooting)

    async def _reboot(self, seconds: float, off: asyncio.Event) -> None:
        async with self._changing:
            if self.recorder.faults.device.off:
                off.set()
                return
            self.recorder.accounts.forget_nonces()
            self.switch_off()
            off.set()
            await asyncio.sleep(seconds)
            await self.switch_on()

    def _announcement(self, local_address: str) -> Announcement:
        faults = self.recorder.faults.device
        xaddr = f"http://{self._onvif.addresses(local_address).http}{onvif_device.DEVICE_PATH}"
        scopes = onvif_device.scopes(self.recorder)
        return Announcement(
            self.endpoint,
            scopes,
            xaddr,
            faults.probe_types,
            faults.probe_header,
            faults.probe_deaf,
            faults.probe_silent,
            self._recorded_match(local_address),
            faults.probe_one_line,
        )

    def _recorded_match(self, local_address: str) -> bytes:
        """What a recorded device says to a probe."""
        if self._replay is None or not self._replay.bundle.manifest.discovery:
            return b""
        manifest = self._replay.bundle.manifest
        own = replay_addresses.rewriter(manifest, local_address, self.http.port, self.rtsp.port)
        return own.bytes(self._replay.bundle.body(manifest.discovery[0]))

    def _service(self) -> OnvifService | ReplayOnvif:
        """The ONVIF of a maker, or of a recorded device, which also words what RTSP says."""
        if self._replay is None:
            return OnvifService(self.recorder, self.events)
        service = ReplayOnvif(self.recorder, self._replay.bundle)

        def rewrite(text: str) -> str:
            return service.rewriter(self.recorder.config.host).text(text)

        self.recorder.skin = ReplaySkin(self._replay.bundle, self._replay.streams, rewrite)
        return service
