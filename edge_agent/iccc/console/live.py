"""Live view for pages and players: a WebSocket for the page, `live.mp4` for everything else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.console.wire import (
    TOO_MANY,
    Known,
    accepted,
    pack_item,
    role_of,
    until_gone,
)
from edge_agent.iccc.fmp4_view import InitView
from edge_agent.iccc.gateway import Gateway, Notice, Viewer
from edge_agent.iccc.live import LiveInit
from edge_agent.model import Role


class LivePages:
    """The handlers. `known` tells whether a site has a camera."""

    def __init__(self, gateway: Gateway, known: Known) -> None:
        self._gateway, self._known = gateway, known

    async def live_mp4(self, request: Request) -> Response:
        """Init segment and fragments without end, for any player; ends when a new init would be needed."""
        site, camera = request.path_params["site"], request.path_params["camera"]
        role = role_of(request.query_params.get("role", "main"))
        if role is None or not self._known(site, camera):
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
        if asked := await accepted(socket, self._known):
            await self._serve_live(socket, *asked)

    async def _serve_live(self, socket: WebSocket, site: str, camera: str, role: Role) -> None:
        try:
            async with self._gateway.watch(site, camera, role) as viewer:
                await until_gone(socket, _send_live(socket, viewer))
        except EdgeAgentError as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(TOO_MANY, str(error)[:120])


async def _send_live(socket: WebSocket, viewer: Viewer) -> None:
    view: InitView | None = None
    while True:
        item = await viewer.items.get()
        if isinstance(item, LiveInit):
            view = item.view
        await socket.send_bytes(pack_item(item, view))
        if isinstance(item, Notice) and item.final:
            return
