"""What the console says to a page: media in messages of one head and its bytes, errors, and good-bye."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable, Coroutine

from pydantic import JsonValue
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge_agent.iccc.fmp4_view import InitView
from edge_agent.iccc.gateway import Notice
from edge_agent.iccc.live import LiveFragment, LiveInit, LiveItem
from edge_agent.iccc.measure import side_record
from edge_agent.iccc.playback import PlaybackEnd, PlaybackGap
from edge_agent.model import Role

UNKNOWN_CAMERA = 4404
BAD_REQUEST = 4400
TOO_MANY = 4429

Known = Callable[[str, str], bool]  # has a site this camera?


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


def pack_recorded(item: PlaybackGap | PlaybackEnd) -> bytes:
    """What playback has beside media."""
    if isinstance(item, PlaybackGap):
        from_ms, to_ms = item.from_us // 1000, item.to_us // 1000
        return pack({"t": "gap", "cause": item.cause, "from_ms": from_ms, "to_ms": to_ms})
    return pack({"t": "end", "reason": item.reason, "complete": item.complete})


def _pack_fragment(item: LiveFragment, view: InitView | None) -> bytes:
    sent, measured = side_record(item, view) if view else ((), False)
    times: list[JsonValue] = [[pts, ms] for pts, ms in sent]
    head: dict[str, JsonValue] = {
        "t": "fragment", "tfdt": item.header.tfdt, "key": item.header.keyframe,
        "wall_ms": item.header.wall_us / 1000, "sent": times, "measured": measured,
    }  # fmt: skip
    return pack(head, item.data)


async def until_gone(
    socket: WebSocket, sending: Coroutine[None, None, None], hear: Callable[[str], None] = lambda _text: None
) -> None:
    """Run `sending` until it ends or the page leaves; `hear` gets what the page says, and may not wait."""
    tasks = [asyncio.ensure_future(sending), asyncio.ensure_future(_listen(socket, hear))]
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


async def _listen(socket: WebSocket, hear: Callable[[str], None]) -> None:
    while True:
        hear(await socket.receive_text())


async def accepted(socket: WebSocket, known: Known) -> tuple[str, str, Role] | None:
    """Site, camera and role of the path; None where there is no such thing, and the page was told."""
    site, camera = socket.path_params["site"], socket.path_params["camera"]
    role = role_of(socket.path_params["role"])
    await socket.accept()
    if role is None:
        await socket.close(BAD_REQUEST, "No such stream")
        return None
    if not known(site, camera):
        await socket.close(UNKNOWN_CAMERA, "No such camera")
        return None
    return site, camera, role


def role_of(text: str) -> Role | None:
    try:
        return Role(text)
    except ValueError:
        return None


def failure(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)
