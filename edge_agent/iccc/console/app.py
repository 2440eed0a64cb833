"""The console's web application: the page, its JSON, its two WebSockets, and `live.mp4` for any player."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import CommandRefused, Fact, IcccClient
from edge_agent.iccc.console.desk import Desk
from edge_agent.iccc.console.faults import FaultError, Faults
from edge_agent.iccc.console.guard import Guard
from edge_agent.iccc.console.pictures import FirstPictures
from edge_agent.iccc.fmp4_view import InitView
from edge_agent.iccc.gateway import Gateway, Notice, Viewer
from edge_agent.iccc.live import LiveFragment, LiveInit, LiveItem
from edge_agent.iccc.measure import side_record
from edge_agent.model import Role

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_ORDER = 4096
UNKNOWN_CAMERA = 4404
BAD_REQUEST = 4400
TOO_MANY = 4429


@dataclass(frozen=True, slots=True)
class Access:
    """`operator` stands in every command. Without `password` the console answers to loopback names only."""

    operator: str
    user: str = "operator"
    password: str = ""


def create_app(
    client: IcccClient, access: Access, faults: Faults | None = None, mirror: Path | None = None
) -> Starlette:
    """The application; it starts and stops `client` with itself. `mirror` is the registrars' store."""
    console = _Console(client, access, faults, mirror)
    base = "/api/sites/{site}/cameras/{camera}"
    return Starlette(
        routes=[
            Route("/", console.page),
            Route("/api/state", console.state),
            Route("/api/stats", console.stats),
            Route("/api/faults", console.faults, methods=["GET", "POST"]),
            Route(f"{base}/picture.jpg", console.picture),
            Route(f"{base}/snapshot", console.snapshot, methods=["POST"]),
            Route("/sites/{site}/cameras/{camera}/live.mp4", console.live_mp4),
            WebSocketRoute("/ws/events", console.events),
            WebSocketRoute("/ws/live/{site}/{camera}/{role}", console.live),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, user=access.user, password=access.password)],
        lifespan=console.lifespan,
    )


class _Console:
    """The handlers. Everything here runs in the event loop; commands wait in a thread."""

    def __init__(
        self, client: IcccClient, access: Access, faults: Faults | None, mirror: Path | None
    ) -> None:
        self._client = client
        self._operator = access.operator
        self._faults = faults
        self._desk = Desk(faults=faults is not None, mirror=mirror)
        self._gateway = Gateway(client, access.operator)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        self._client.listen(lambda fact: _hand_over(loop, self._desk, fact))
        self._client.start()
        pictures = FirstPictures(self._client, self._desk, self._operator)
        tasks = [asyncio.create_task(each) for each in (self._desk.keep_time(), pictures.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            self._gateway.close()
            await asyncio.to_thread(self._client.stop)

    # --- pages and JSON --------------------------------------------------------------------------

    async def page(self, _request: Request) -> Response:
        html = await asyncio.to_thread((STATIC / "index.html").read_bytes)
        return Response(html, media_type="text/html; charset=utf-8")

    async def state(self, _request: Request) -> Response:
        return JSONResponse(self._desk.everything())

    async def stats(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "watching": self._gateway.watching(),
                "dropped": self._client.dropped,
                "disbelieved": self._desk.disbelieved,
            }
        )

    async def picture(self, request: Request) -> Response:
        still = self._desk.still(request.path_params["site"], request.path_params["camera"])
        if still is None:
            return PlainTextResponse("No picture yet.", 404)
        return Response(still.jpeg, media_type="image/jpeg")

    async def snapshot(self, request: Request) -> Response:
        site, camera = request.path_params["site"], request.path_params["camera"]
        if self._unknown(site, camera):
            return _error("No such camera", 404)
        reason = "picture asked for in the console"
        try:
            still = await asyncio.to_thread(
                self._client.snapshot, site, camera, operator=self._operator, reason=reason
            )
        except CommandRefused as refusal:
            return _error(str(refusal), 409)
        except EdgeAgentError as error:
            return _error(str(error), 502)
        return JSONResponse({"taken_ms": still.taken_us // 1000})

    async def faults(self, request: Request) -> Response:
        if self._faults is None:
            return _error("There is no virtual recorder here", 404)
        try:
            if request.method == "POST":
                await self._order(self._faults, await _small_json(request))
            return JSONResponse(await asyncio.to_thread(self._faults.state))
        except FaultError as error:
            return _error(str(error), 502)
        except (ValueError, KeyError, TypeError):
            return _error("Not an order", 400)

    async def _order(self, faults: Faults, order: dict[str, JsonValue]) -> None:
        if "device" in order:
            await asyncio.to_thread(faults.set_device, str(order["device"]))
        else:
            await asyncio.to_thread(faults.set_channel, int(str(order["channel"])), str(order["mode"]))

    # --- live ------------------------------------------------------------------------------------

    async def live_mp4(self, request: Request) -> Response:
        """Init segment and fragments without end, for any player; ends when a new init would be needed."""
        site, camera = request.path_params["site"], request.path_params["camera"]
        role = _role(request.query_params.get("role", "main"))
        if role is None or self._unknown(site, camera):
            return PlainTextResponse("No such camera or stream.", 404)
        return StreamingResponse(self._mp4(site, camera, role), media_type="video/mp4")

    async def _mp4(self, site: str, camera: str, role: Role) -> AsyncIterator[bytes]:
        begun = False
        async with self._gateway.watch(site, camera, role) as viewer:
            while True:
                item = await viewer.items.get()
                if isinstance(item, Notice):
                    if item.final:
                        return
                    continue
                if isinstance(item, LiveInit):
                    if begun:
                        return
                    begun = True
                if begun:
                    yield item.data

    async def live(self, socket: WebSocket) -> None:
        site, camera = socket.path_params["site"], socket.path_params["camera"]
        role = _role(socket.path_params["role"])
        await socket.accept()
        if role is None:
            await socket.close(BAD_REQUEST, "No such stream")
        elif self._unknown(site, camera):
            await socket.close(UNKNOWN_CAMERA, "No such camera")
        else:
            await self._serve_live(socket, site, camera, role)

    async def _serve_live(self, socket: WebSocket, site: str, camera: str, role: Role) -> None:
        try:
            async with self._gateway.watch(site, camera, role) as viewer:
                await _until_gone(socket, _send_live(socket, viewer))
        except EdgeAgentError as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(TOO_MANY, str(error)[:120])

    async def events(self, socket: WebSocket) -> None:
        await socket.accept()
        queue = self._desk.watch()
        try:
            await _until_gone(socket, _send_texts(socket, queue))
        finally:
            self._desk.leave(queue)

    def _unknown(self, site_id: str, camera_id: str) -> bool:
        site = self._desk.site(site_id)
        return site is None or site.camera(camera_id) is None


def pack(head: dict[str, JsonValue], body: bytes = b"") -> bytes:
    """One message to the page: u16 length of the JSON head, the head, the media bytes."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return struct.pack(">H", len(text)) + text + body


def pack_item(item: LiveItem | Notice, view: InitView | None) -> bytes:
    """`view` is that of the init segment which a fragment belongs to."""
    if isinstance(item, Notice):
        return pack({"t": "notice", "text": item.text, "final": item.final})
    if isinstance(item, LiveInit):
        told = item.view
        head: dict[str, JsonValue] = {
            "t": "init", "mime": told.mime, "codec": told.codec, "timescale": told.timescale,
            "width": told.width, "height": told.height, "role": item.role.value, "epoch": item.epoch.hex(),
        }  # fmt: skip
        return pack(head, item.data)
    return _pack_fragment(item, view)


def _pack_fragment(item: LiveFragment, view: InitView | None) -> bytes:
    sent, measured = side_record(item, view) if view else ((), False)
    times: list[JsonValue] = [[pts, ms] for pts, ms in sent]
    head: dict[str, JsonValue] = {
        "t": "fragment", "tfdt": item.header.tfdt, "key": item.header.keyframe,
        "wall_ms": item.header.wall_us / 1000, "sent": times, "measured": measured,
    }  # fmt: skip
    return pack(head, item.data)


async def _send_live(socket: WebSocket, viewer: Viewer) -> None:
    view: InitView | None = None
    while True:
        item = await viewer.items.get()
        if isinstance(item, LiveInit):
            view = item.view
        await socket.send_bytes(pack_item(item, view))
        if isinstance(item, Notice) and item.final:
            return


async def _send_texts(socket: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await socket.send_text(await queue.get())


async def _until_gone(socket: WebSocket, sending: Coroutine[None, None, None]) -> None:
    """Run `sending` until it ends or the page leaves; what a page says is not listened to."""
    tasks = [asyncio.ensure_future(sending), asyncio.ensure_future(_listen(socket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | RuntimeError):
                raise result
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close()


async def _listen(socket: WebSocket) -> None:
    while True:
        await socket.receive_text()


def _role(text: str) -> Role | None:
    try:
        return Role(text)
    except ValueError:
        return None


async def _small_json(request: Request) -> dict[str, JsonValue]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ORDER:
            raise ValueError("too long")
    parsed = json.loads(body)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _error(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)


def _hand_over(loop: asyncio.AbstractEventLoop, desk: Desk, fact: Fact) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended while the link still talks
        loop.call_soon_threadsafe(desk.take, fact)
