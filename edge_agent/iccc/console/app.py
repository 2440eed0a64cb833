"""The console's web application: the page, its JSON and its events; media in `live.py` and `recorded.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import CommandRefused, IcccClient
from edge_agent.iccc.console.desk import Desk
from edge_agent.iccc.console.faults import FaultError, Faults
from edge_agent.iccc.console.guard import Guard
from edge_agent.iccc.console.live import LivePages
from edge_agent.iccc.console.nights_pages import NightPages
from edge_agent.iccc.console.pictures import FirstPictures
from edge_agent.iccc.console.recorded import RecordedPages
from edge_agent.iccc.console.states import FirstStates
from edge_agent.iccc.console.wire import failure, until_gone
from edge_agent.iccc.gateway import Gateway
from edge_agent.iccc.hearing import Fact

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_ORDER = 4096


@dataclass(frozen=True, slots=True)
class Access:
    """`operator` stands in every command. Without `password` the console answers to loopback names only."""

    operator: str
    user: str = "operator"
    password: str = ""


def create_app(
    client: IcccClient,
    access: Access,
    faults: Faults | None = None,
    mirror: Path | None = None,
    departments: Mapping[str, str] | None = None,
) -> Starlette:
    """The application; it starts and stops `client` with itself. `mirror` is the registrars' store."""
    console = _Console(client, access, faults, mirror, departments or {})
    live, recorded = console.live_pages, console.recorded_pages
    base = "/api/sites/{site}/cameras/{camera}"
    return Starlette(
        routes=[
            Route("/", console.page),
            Route("/api/state", console.state),
            Route("/api/stats", console.stats),
            Route("/api/faults", console.faults, methods=["GET", "POST"]),
            Route(f"{base}/picture.jpg", console.picture),
            Route(f"{base}/snapshot", console.snapshot, methods=["POST"]),
            Route(f"{base}/coverage", recorded.coverage),
            Route("/sites/{site}/cameras/{camera}/live.mp4", live.live_mp4),
            WebSocketRoute("/ws/events", console.events),
            WebSocketRoute("/ws/live/{site}/{camera}/{role}", live.live),
            WebSocketRoute("/ws/playback/{site}/{camera}/{role}", recorded.playback),
            *console.night_pages.routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, user=access.user, password=access.password)],
        lifespan=console.lifespan,
    )


class _Console:
    """The handlers. Everything here runs in the event loop; commands wait in a thread."""

    def __init__(
        self,
        client: IcccClient,
        access: Access,
        faults: Faults | None,
        mirror: Path | None,
        departments: Mapping[str, str],
    ) -> None:
        self._client = client
        self._operator = access.operator
        self._faults = faults
        self._desk = Desk(faults=faults is not None, mirror=mirror)
        self._gateway = Gateway(client, access.operator)
        self.night_pages = NightPages(self._desk, mirror, departments)
        self.live_pages = LivePages(self._gateway, self._knows)
        self.recorded_pages = RecordedPages(client, access.operator, self._knows)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        self._client.listen(lambda fact: _hand_over(loop, self._desk, fact))
        self._client.start()
        pictures = FirstPictures(self._client, self._desk, self._operator)
        states = FirstStates(self._client, self._desk, self._operator)
        jobs = (self._desk.keep_time(), pictures.run(), states.run())
        tasks = [asyncio.create_task(each) for each in jobs]
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
        if not self._knows(site, camera):
            return failure("No such camera", 404)
        reason = "picture asked for in the console"
        try:
            still = await asyncio.to_thread(
                self._client.snapshot, site, camera, operator=self._operator, reason=reason
            )
        except CommandRefused as refusal:
            return failure(str(refusal), 409)
        except EdgeAgentError as error:
            return failure(str(error), 502)
        return JSONResponse({"taken_ms": still.taken_us // 1000})

    async def faults(self, request: Request) -> Response:
        if self._faults is None:
            return failure("There is no virtual recorder here", 404)
        try:
            if request.method == "POST":
                await self._order(self._faults, await _small_json(request))
            return JSONResponse(await asyncio.to_thread(self._faults.state))
        except FaultError as error:
            return failure(str(error), 502)
        except (ValueError, KeyError, TypeError):
            return failure("Not an order", 400)

    async def _order(self, faults: Faults, order: dict[str, JsonValue]) -> None:
        if "device" in order:
            await asyncio.to_thread(faults.set_device, str(order["device"]))
        else:
            await asyncio.to_thread(faults.set_channel, int(str(order["channel"])), str(order["mode"]))

    async def events(self, socket: WebSocket) -> None:
        await socket.accept()
        queue = self._desk.watch()
        try:
            await until_gone(socket, _send_texts(socket, queue))
        finally:
            self._desk.leave(queue)

    def _knows(self, site_id: str, camera_id: str) -> bool:
        site = self._desk.site(site_id)
        return site is not None and site.camera(camera_id) is not None


async def _send_texts(socket: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await socket.send_text(await queue.get())


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


def _hand_over(loop: asyncio.AbstractEventLoop, desk: Desk, fact: Fact) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended while the link still talks
        loop.call_soon_threadsafe(desk.take, fact)
