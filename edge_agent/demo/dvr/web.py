"""The little HTTP/1.1 that a recorder and its control endpoint need. asyncio; sizes and times are bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edge_agent.errors import FormatError

_MAX_HEAD = 16 * 1024
_MAX_BODY = 256 * 1024
_IDLE_S = 30.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Error",
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes
    local_address: str = ""  # the address the client reached


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`pace_s`: seconds between single bytes of the body, for the slow device."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    pace_s: float = 0.0


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(slots=True)
class HttpServer:
    """Keeps its port over `close` and `open`; `close` also ends the open connections."""

    host: str
    port: int
    handler: Handler
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=_MAX_HEAD)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)  # the event loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await asyncio.wait_for(_read(reader, writer), _IDLE_S)) is not None:
                await _write(writer, await self.handler(request))
        except (
            FormatError,
            ConnectionError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass  # a broken client costs its own connection only
        finally:
            self._writers.discard(writer)
            writer.close()
        with contextlib.suppress(ConnectionError):  # or asyncio may complain of a reset that nobody asked for
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest | None:
    """None at a clean end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise FormatError("not an HTTP request")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _MAX_BODY:
        raise FormatError("an HTTP request without a usable Content-Length")
    body = await reader.readexactly(int(length))
    return HttpRequest(words[0], words[1], headers, body, str(writer.get_extra_info("sockname")[0]))


async def _write(writer: asyncio.StreamWriter, response: HttpResponse) -> None:
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Error')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    if not response.pace_s:
        writer.write(response.body)
    else:
        for at in range(len(response.body)):
            writer.write(response.body[at : at + 1])
            await writer.drain()
            await asyncio.sleep(response.pace_s)
    await writer.drain()
