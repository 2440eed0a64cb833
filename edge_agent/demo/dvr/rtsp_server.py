"""The RTSP server: sockets and timers around the pure parts. asyncio, one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

from edge_agent.demo.dvr import rtsp
from edge_agent.demo.dvr.auth import Verdict
from edge_agent.demo.dvr.brand import Brand, StreamName, account_in
from edge_agent.demo.dvr.faults import ChannelFaults, Mode, RtspManners, SessionRefusal
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.rtsp import Request, Response
from edge_agent.demo.dvr.streamer import Streamer, Track, new_track
from edge_agent.demo.dvr.tunnel import Tunnels
from edge_agent.errors import FormatError

_BACKLOG_OCTETS = 1 << 20  # what a slow client may leave unread before pictures are left out
_READ = 16 * 1024
_SILENT = {Mode.OFF, Mode.MUTE}
_MUTE = {RtspManners.SILENT, RtspManners.DEAD}


class RtspConnection:
    """One TCP connection with at most one session. Lives in `serve`, ends when that returns."""

    def __init__(
        self, recorder: Recorder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.name: StreamName | None = None
        self.playing = False
        self._described: StreamName | None = None  # some name a track by the host alone
        self._recorder = recorder
        self._reader = reader
        self._writer = writer
        self._requests = rtsp.RequestReader()
        self._session = ""
        self._tracks: dict[int, Track] = {}
        self._streamer: Streamer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = False
        self._heard = time.monotonic()

    async def serve(self) -> None:
        try:
            while received := await self._reader.read(_READ):
                self._heard = time.monotonic()
                for request in self._requests.feed(received):
                    await self._respond(request)
        except (FormatError, ConnectionError):
            self._recorder.counts["rtsp_broken"] += 1
        finally:
            self._end()

    def cut(self) -> None:
        """FIN, or RST to a client that left bytes unread."""
        self._end()

    def stall(self) -> None:
        self._stalled = True

    def reset_timestamps(self) -> None:
        if self._streamer is not None:
            self._streamer.reset_timestamps()

    async def _respond(self, request: Request) -> None:
        manners = self._recorder.faults.device.rtsp
        if manners in _MUTE or (manners is RtspManners.NEVER_PLAYS and request.method == "PLAY"):
            return
        self._recorder.counts[f"rtsp_{request.method.lower()}"] += 1
        if request.method == "DESCRIBE" and request.headers.get("authorization"):
            await asyncio.sleep(self._recorder.faults.device.login_s)
        honest = self._refusal(request) or await self._answer(request)
        response = self._recorder.skin.dress(self._stream(request) or self.name, request, honest)
        if response is None:
            return
        self._recorder.counts[f"rtsp_status_{response.status}"] += 1
        plays = request.method == "PLAY" and response.status == 200
        if plays and manners is RtspManners.EARLY:
            self._play()
        self._writer.write(rtsp.format_response(response, request.cseq))
        if plays:
            self._play()
        if (
            request.method == "TEARDOWN" and response.status == 200
        ) or response.status >= 400 > honest.status:
            self._forget_session()

    def _refusal(self, request: Request) -> Response | None:
        """What a recorder checks before it looks at the request: the password."""
        if not self._recorder.skin.guarded(request):
            return None
        accounts, device = self._recorder.accounts, self._recorder.faults.device
        now = time.monotonic()
        if device.paths_open and request.method == "DESCRIBE" and self._stream(request) is None:
            return Response(404)
        if (told := account_in(self._recorder.config.brand, request.url)) is not None:
            return None if accounts.verify_told(*told, now, device) is Verdict.GOOD else Response(401)
        verdict = accounts.verify_digest(
            request.method, request.headers.get("authorization", ""), now, device
        )
        if verdict is Verdict.GOOD:
            return None
        if verdict is Verdict.LOCKED:
            return Response(403)
        challenges = accounts.challenges(now, device, stale=verdict is Verdict.STALE)
        return Response(401, tuple(("WWW-Authenticate", challenge) for challenge in challenges))

    async def _answer(self, request: Request) -> Response:
        match request.method:
            case "OPTIONS":
                return Response(200, (("Public", rtsp.METHODS),))
            case "DESCRIBE":
                return await self._describe(request)
            case "SETUP":
                return await self._setup(request)
            case "PLAY":
                return self._play_response(request)
            case "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN":
                known = request.headers.get("session", "").partition(";")[0] == self._session
                return (
                    Response(200, (("Session", self._session),) if self._session else ())
                    if known
                    else Response(454)
                )
        return Response(501, (("Public", rtsp.METHODS),))

    async def _describe(self, request: Request) -> Response:
        name = self._stream(request)
        if name is None:
            return Response(404)
        wire = await self._recorder.wire(name)
        faults = self._recorder.faults.channel(name.channel)
        self._described = name
        return self._recorder.skin.describe(name, request, wire, faults)

    async def _setup(self, request: Request) -> Response:
        name = self._stream(request)
        channel = rtsp.interleaved_channel(request.headers.get("transport", ""))
        if name is None:
            return Response(404)
        if channel is None or self._recorder.faults.device.rtsp is RtspManners.NO_TRANSPORT:
            return Response(461)
        limit = self._recorder.faults.device.session_limit
        if not self._session and limit and sum(1 for each in self._recorder.sessions if each.name) >= limit:
            refusal = self._recorder.faults.device.session_refusal
            if refusal is not SessionRefusal.SILENT:
                return Response(int(refusal.value))
            self._stalled = True
        await self._recorder.wire(name)
        kind = self._recorder.skin.track(request.url)
        track = new_track(channel if channel >= 0 else 2 * kind)
        self._tracks[kind] = track
        self._session = self._session or str(secrets.randbelow(9 * 10**11) + 10**11)
        self.name = name
        space = " " if self._recorder.config.brand is Brand.HIKVISION else ""  # as Hikvision writes it
        channels = f"interleaved={track.channel}-{track.channel + 1}"
        transport = f"RTP/AVP/TCP;unicast;{channels};ssrc={space}{track.ssrc:08X}"
        timeout = int(self._recorder.faults.device.session_timeout_s)
        return Response(200, (("Session", f"{self._session};timeout={timeout}"), ("Transport", transport)))

    def _play_response(self, request: Request) -> Response:
        wire = self._recorder.wire_now(self.name) if self.name else None
        if wire is None or rtsp.VIDEO_TRACK not in self._tracks:
            return Response(455)
        video, audio = self._tracks[rtsp.VIDEO_TRACK], self._tracks.get(rtsp.AUDIO_TRACK)
        now = asyncio.get_running_loop().time()
        pace = self._recorder.skin.pace(self.name) if self.name else None
        self._streamer = self._streamer or Streamer(wire, video, audio, now, pace)
        info = (
            f"url=trackID={rtsp.VIDEO_TRACK};seq={video.sequence & 0xFFFF};rtptime={self._streamer.rtp_time}"
        )
        return Response(200, (("Session", self._session), ("Range", "npt=0.000000-"), ("RTP-Info", info)))

    def _stream(self, request: Request) -> StreamName | None:
        name = self._recorder.skin.stream(request.url)
        if name is None and request.method != "DESCRIBE":
            name = self._described
        return name if name is not None and self._recorder.has(name) else None

    def _play(self) -> None:
        if not self.playing:
            self.playing = True
            self._tick()

    def _tick(self) -> None:
        """One picture is due. Runs on the event loop's timer until the session ends."""
        if self.name is None or self._streamer is None or self._writer.is_closing():
            return
        running = asyncio.get_running_loop()
        if time.monotonic() - self._heard > self._recorder.faults.device.session_timeout_s:
            self._recorder.counts["rtsp_timed_out"] += 1
            self._end()
            return
        self._send(self._streamer, self.name, running.time())
        self._timer = running.call_at(self._streamer.due, self._tick)

    def _send(self, streamer: Streamer, name: StreamName, now: float) -> None:
        faults = self._recorder.faults.channel(name.channel)
        if (wire := self._recorder.wire_now(name)) is not None:
            streamer.switch(wire)
        if self._stalled or faults.mode in _SILENT:
            streamer.pause(now, faults)
        else:
            self._send_picture(streamer, name, now, faults)

    def _send_picture(self, streamer: Streamer, name: StreamName, now: float, faults: ChannelFaults) -> None:
        transport = self._writer.transport
        if transport.get_write_buffer_size() > _BACKLOG_OCTETS:
            self._recorder.counts["pictures_left_out"] += 1
            streamer.pause(now, faults)
            return
        out = streamer.frame(now, time.time_ns() // 1000, faults)
        transport.write(out)
        self._recorder.note_sent(name, streamer.loop.source, streamer.sent_at)

    def _forget_session(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.playing, self.name, self._session = False, None, ""
        self._streamer = None
        self._tracks.clear()

    def _end(self) -> None:
        self._forget_session()
        self._recorder.sessions.discard(self)
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()  # a client that does not read must not hold the socket open
        else:
            self._writer.close()


class RtspServer:
    """Listens on the configured port; the port stays the same when the recorder goes off and on again."""

    def __init__(self, recorder: Recorder) -> None:
        self.port = recorder.config.rtsp_port
        self._recorder = recorder
        self._tunnels = Tunnels(self._serve)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, self._recorder.config.host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """The listening socket goes and every connection with it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in tuple(self._recorder.sessions):
            session.cut()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels = self._recorder.faults.device.rtsp is RtspManners.TUNNEL
        task = asyncio.create_task((self._tunnels.take if tunnels else self._serve)(reader, writer))
        self._tasks.add(task)  # the event loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RtspConnection(self._recorder, reader, writer)
        self._recorder.sessions.add(connection)
        await connection.serve()
        with contextlib.suppress(ConnectionError):  # or asyncio may complain of a reset that nobody asked for
            await writer.wait_closed()
