"""Recorded footage for the page: what there is as JSON, and playback over a WebSocket.

The page orders with `{"do": "play", "take": 3, "at_ms": ..., "speed": 1}` and `{"do": "pause"}`. Each `play`
is answered by `begin` with its `take`; what comes after belongs to it, up to the next `begin`.
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import CommandRefused, IcccClient
from edge_agent.iccc.console.projector import Begun, Play, Projector, Shown
from edge_agent.iccc.console.wire import (
    TOO_MANY,
    Known,
    accepted,
    failure,
    pack,
    pack_item,
    pack_recorded,
    role_of,
    until_gone,
)
from edge_agent.iccc.coverage import Coverage
from edge_agent.iccc.fmp4_view import InitView
from edge_agent.iccc.live import LiveInit
from edge_agent.iccc.playback import PlaybackEnd, PlaybackGap
from edge_agent.iccc.screening import PlaybackStream
from edge_agent.model import Role

MAX_PAGES = 16
LONGEST_MS = 31 * 86_400_000
COVERAGE_REASON = "time line in the console"
PLAYBACK_REASON = "playback in the console"


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    do: str
    take: int = Field(0, ge=0)
    at_ms: int = Field(0, ge=0, lt=2**43)
    speed: float = Field(1.0, ge=0.25, le=16)


class RecordedPages:
    """The handlers. `known` tells whether a site has a camera. Everything here runs in the event loop."""

    def __init__(self, client: IcccClient, operator: str, known: Known) -> None:
        self._client, self._operator, self._known = client, operator, known
        self._pages = 0

    async def coverage(self, request: Request) -> Response:
        site, camera = request.path_params["site"], request.path_params["camera"]
        asked = request.query_params
        role = role_of(asked.get("role", "main"))
        if role is None or not self._known(site, camera):
            return failure("No such camera or stream", 404)
        try:
            from_ms, to_ms = int(asked["from"]), int(asked["to"])
        except (KeyError, ValueError):
            return failure("from and to are milliseconds since 1970", 400)
        if not 0 <= from_ms < to_ms < 2**43 or to_ms - from_ms > LONGEST_MS:
            return failure("not a time of at most 31 days", 400)
        return await self._ask(site, camera, role, from_ms, to_ms)

    async def _ask(self, site: str, camera: str, role: Role, from_ms: int, to_ms: int) -> Response:
        try:
            found = await asyncio.to_thread(
                self._client.coverage, site, camera, role, from_ms * 1000, to_ms * 1000,
                operator=self._operator, reason=COVERAGE_REASON,
            )  # fmt: skip
        except CommandRefused as refusal:
            return failure(str(refusal), 409)
        except EdgeAgentError as error:
            return failure(str(error), 502)
        return JSONResponse(coverage_json(found, role))

    async def playback(self, socket: WebSocket) -> None:
        asked = await accepted(socket, self._known)
        if asked is None:
            return
        if self._pages >= MAX_PAGES:
            await socket.close(TOO_MANY, "Too many playbacks; close one first")
        else:
            await self._serve(socket, *asked)

    async def _serve(self, socket: WebSocket, site: str, camera: str, role: Role) -> None:
        def begin(from_us: int, to_us: int, speed: float) -> PlaybackStream:
            return self._client.playback(
                site, camera, role, from_us, to_us,
                speed=speed, operator=self._operator, reason=PLAYBACK_REASON,
            )  # fmt: skip

        projector = Projector(begin, asyncio.get_running_loop())
        self._pages += 1
        try:
            await until_gone(socket, _send(socket, projector), lambda text: _obey(projector, text))
        finally:
            self._pages -= 1
            projector.close()


def coverage_json(found: Coverage, role: Role) -> dict[str, JsonValue]:
    """Times in milliseconds since 1970."""
    spans: list[JsonValue] = [[s.from_us // 1000, s.to_us // 1000] for s in found.spans]
    gaps: list[JsonValue] = [
        {"from_ms": g.from_us // 1000, "to_ms": g.to_us // 1000, "kind": g.kind, "cause": g.cause}
        for g in found.gaps
    ]
    told: dict[str, JsonValue] = {"role": role.value, "spans": spans, "gaps": gaps}
    return told | {"from_ms": found.from_us // 1000, "to_ms": found.to_us // 1000}


def _obey(projector: Projector, text: str) -> None:
    """What is no order is not listened to."""
    try:
        order = _Order.model_validate_json(text)
    except ValidationError:
        return
    if order.do == "play":
        projector.play(Play(order.take, order.at_ms * 1000, order.speed))
    elif order.do == "pause":
        projector.pause()


async def _send(socket: WebSocket, projector: Projector) -> None:
    view: InitView | None = None
    while True:
        item = await projector.items.get()
        if isinstance(item, LiveInit):
            view = item.view
        await socket.send_bytes(_pack(item, view))


def _pack(item: Shown, view: InitView | None) -> bytes:
    if isinstance(item, Begun):
        return pack({"t": "begin", "take": item.take})
    if isinstance(item, PlaybackGap | PlaybackEnd):
        return pack_recorded(item)
    return pack_item(item, view)
