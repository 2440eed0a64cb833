"""RTSP inside HTTP, as QuickTime began it: a GET brings what the device says, a POST what the client says.

Both carry one `x-sessioncookie`; the client's words are base64. asyncio, one event loop.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable

_GOOD = b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\nCache-Control: no-cache\r\n\r\n"
_BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_COOKIE = re.compile(rb"(?im)^x-sessioncookie:\s*(\S{1,64})\s*$")
_READ = 16 * 1024

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Tunnels:
    """Pairs the two connections of each client; `serve` then talks RTSP over them."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._waiting: dict[bytes, asyncio.StreamWriter] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends. Plain RTSP gets what a web server answers."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _COOKIE.search(head)
            if found and head.startswith(b"GET "):
                await self._hold(found[1], reader, writer)
            elif found and head.startswith(b"POST ") and found[1] in self._waiting:
                await self._join(self._waiting.pop(found[1]), reader)
            else:
                writer.write(_BAD)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return
        finally:
            writer.close()

    async def _hold(self, cookie: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The way back to the client stays open as long as it wants."""
        writer.write(_GOOD)
        self._waiting[cookie] = writer
        while await reader.read(_READ):
            continue
        self._waiting.pop(cookie, None)

    async def _join(self, back: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        spoken = asyncio.StreamReader()
        talking = asyncio.ensure_future(self._serve(spoken, back))
        try:
            await _unpack(reader, spoken)
        finally:
            spoken.feed_eof()
            await talking


async def _unpack(reader: asyncio.StreamReader, spoken: asyncio.StreamReader) -> None:
    """Each message is encoded by itself, so padding may stand in the middle: four letters at a time."""
    rest = b""
    while received := await reader.read(_READ):
        rest += received
        whole = len(rest) // 4 * 4
        try:
            spoken.feed_data(b"".join(base64.b64decode(rest[at : at + 4]) for at in range(0, whole, 4)))
        except binascii.Error:
            return
        rest = rest[whole:]
