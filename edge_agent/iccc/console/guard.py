"""Who may talk to the console: ASGI middleware in front of every page, call and WebSocket.

On loopback no password is asked, so the Host header must be a loopback name (a page that rebinds its DNS
name to 127.0.0.1 still sends its own) and the Origin, where a browser sends one, must be ours (a foreign
page may open a WebSocket to us, but cannot lie about where it comes from). Elsewhere HTTP Basic comes first.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_agent.iccc.console.settings import LOOPBACK

REFUSAL_PAUSE_S = 0.5  # slows down whoever guesses
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
}


class Guard:
    """Wraps the application. With a password any host name will do: the browser keeps it per origin."""

    def __init__(self, app: ASGIApp, *, user: str, password: str) -> None:
        self._app = app
        self._expected = f"{user}:{password}".encode() if password else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
            return
        await asyncio.sleep(REFUSAL_PAUSE_S if refusal == 401 else 0)
        await _refuse(refusal, scope, receive, send)

    def _refusal(self, headers: Headers) -> int | None:
        host = headers.get("host", "")
        if not self._expected and _name(host) not in LOOPBACK:
            return 421
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403
        if headers.get("sec-fetch-site") == "cross-site":
            return 403
        if self._expected and not self._knows_password(headers.get("authorization", "")):
            return 401
        return None

    def _knows_password(self, authorization: str) -> bool:
        kind, _, encoded = authorization.partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            given = b64decode(encoded.strip(), validate=True)
        except ValueError:
            return False
        return hmac.compare_digest(given, self._expected)


def _name(host: str) -> str:
    """Host header without port: `127.0.0.1:8000`, `[::1]:8000`, `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


async def _refuse(status: int, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    texts = {
        401: "A password is needed.",
        403: "Requests from other sites are refused.",
        421: "This console answers to its loopback name only.",
    }
    headers = {"www-authenticate": 'Basic realm="Command centre", charset="UTF-8"'} if status == 401 else {}
    await PlainTextResponse(texts[status], status, headers)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            extra = [(n, v) for n, v in _HEADERS.items() if n not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with_headers
