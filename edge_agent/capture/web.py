"""One HTTP POST to a device that may be hostile, broken or silent: an absolute deadline over connecting,
sending and every received byte, 1 MB of body at most, no redirect, no proxy, no cookie, no reuse.
"""

from __future__ import annotations

import http.client
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from edge_agent.errors import EdgeAgentError

MAX_BODY = 1 << 20
TIMEOUT_S = 6.0


class Trouble(StrEnum):
    REFUSED = "refused"  # nothing listens on the port
    UNREACHABLE = "unreachable"  # no route, no ARP answer, connect timed out
    SILENT = "silent"  # connected, then no complete answer in time
    BROKEN = "broken"  # an answer that is not HTTP, or cut off
    TOO_BIG = "too big"
    REDIRECT = "redirect"


class WebError(EdgeAgentError):
    """No usable HTTP answer; `trouble` says in which way."""

    def __init__(self, trouble: Trouble, text: str, so_far: WebReply | None = None) -> None:
        """`so_far`: what had come of an answer that was not read to its end."""
        super().__init__(text)
        self.trouble = trouble
        self.so_far = so_far


@dataclass(frozen=True, slots=True)
class WebReply:
    status: int
    body: bytes
    challenges: tuple[str, ...]  # each WWW-Authenticate header by itself
    date: str
    server: str
    content_type: str = ""


def post(
    host: str,
    port: int,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float = TIMEOUT_S,
) -> WebReply:
    """POST and read the whole answer within `timeout_s`, whatever the pace of the device. Raises WebError."""
    deadline = time.monotonic() + timeout_s
    where = f"{host}:{port}"
    with _connect(host, port, deadline) as sock:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
        try:
            connection.request("POST", path, body, {**headers, "Connection": "close"})
            with connection.getresponse() as response:  # holds the socket open until it is closed itself
                return _read(response, where)
        except TimeoutError as error:
            raise WebError(Trouble.SILENT, f"{where} gave no complete answer in {timeout_s:g} s") from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise WebError(Trouble.BROKEN, f"{where} broke off or does not speak HTTP: {error!r}") from error
        finally:
            connection.close()


def knock(host: str, port: int, *, timeout_s: float = 3.0) -> None:
    """Connect and hang up. Raises WebError when nothing accepts connections there."""
    _connect(host, port, time.monotonic() + timeout_s).close()


def answers(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        knock(host, port, timeout_s=1.5)
    except WebError:
        return False
    return True


def _connect(host: str, port: int, deadline: float) -> _PacedSocket:
    try:
        plain = socket.create_connection((host, port), timeout=max(deadline - time.monotonic(), 0.01))
    except ConnectionRefusedError as error:
        raise WebError(Trouble.REFUSED, f"{host} refuses connections on port {port}") from error
    except OSError as error:
        raise WebError(Trouble.UNREACHABLE, f"{host}:{port} cannot be reached: {error}") from error
    return _PacedSocket(plain, deadline)


def _read(response: http.client.HTTPResponse, where: str) -> WebReply:
    if 300 <= response.status < 400:
        so_far = _reply(response, b"")
        raise WebError(Trouble.REDIRECT, f"{where} redirects elsewhere, which is not followed", so_far)
    body = _plain(response.read(MAX_BODY + 1), where)
    if len(body) > MAX_BODY:
        so_far = _reply(response, body[:MAX_BODY])
        raise WebError(Trouble.TOO_BIG, f"{where} answers with more than {MAX_BODY} bytes", so_far)
    return _reply(response, body)


def _reply(response: http.client.HTTPResponse, body: bytes) -> WebReply:
    return WebReply(
        response.status,
        body,
        tuple(response.headers.get_all("WWW-Authenticate") or ()),
        response.headers.get("Date", ""),
        response.headers.get("Server", "")[:200],
        response.headers.get("Content-Type", "")[:200],
    )


def _plain(body: bytes, where: str) -> bytes:
    """Unpacked, at most one byte more than is read: some servers send gzip unasked."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return zlib.decompressobj(wbits=31).decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise WebError(Trouble.BROKEN, f"{where} sends a damaged gzip body: {error}") from error


class _PacedSocket(socket.socket):
    """A socket whose deadline is absolute: a device that drips one byte a second gains nothing by it."""

    def __init__(self, plain: socket.socket, deadline: float) -> None:
        family, kind, protocol = plain.family, plain.type, plain.proto
        super().__init__(family, kind, protocol, fileno=plain.detach())
        self._deadline = deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._hurry()
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._hurry()
        super().sendall(*args, **kwargs)

    def _hurry(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)
