"""A tape around the sender of SOAP requests: each question's name and the answer's bytes, good or bad.

Requests are not kept: they carry our password's digest. Their operation and the arguments that matter are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.capture import soap, web
from edge_agent.capture.bundle import Pairs, WebExchange
from edge_agent.capture.bundle_tape import Collected
from edge_agent.capture.web import Trouble, WebError, WebReply

ARGUMENTS = ("ProfileToken", "Category")  # what makes two questions of one name different


@dataclass(slots=True)
class WebTape:
    """`post` stands in for `web.post`. One thread."""

    collected: Collected
    exchanges: list[WebExchange] = field(default_factory=list)

    def post(
        self,
        host: str,
        port: int,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_s: float = web.TIMEOUT_S,
    ) -> WebReply:
        """Raises WebError as `web.post` does; what had come until then is kept."""
        began = time.monotonic()
        if self.collected.left_s <= 0:
            raise WebError(Trouble.SILENT, "not asked: the time for this device was up")
        reply: WebReply | None = None
        note = ""
        try:
            reply = web.post(host, port, path, body, headers, timeout_s=min(timeout_s, self.collected.left_s))
        except WebError as error:
            reply, note = error.so_far, f"{error.trouble.value}: {error}"
            raise
        finally:
            took_ms = round((time.monotonic() - began) * 1000)
            self._keep(port, path, body, headers, reply, took_ms, note)
        return reply

    def _keep(
        self,
        port: int,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        reply: WebReply | None,
        took_ms: int,
        note: str,
    ) -> None:
        operation, namespace, arguments = asked(body)
        self.exchanges.append(
            WebExchange(
                operation=operation,
                namespace=namespace,
                arguments=arguments,
                port=port,
                path=path,
                login=_login(body, headers),
                status=reply.status if reply else 0,
                headers=_headers(reply) if reply else (),
                body=self.collected.keep(
                    "onvif", f"{operation}{_suffix(reply)}", reply.body if reply else b""
                ),
                took_ms=took_ms,
                note=f"truncated; {note}" if reply and note else note,
            )
        )


def asked(request: bytes) -> tuple[str, str, Pairs]:
    """Operation, namespace and telling arguments of one of our own requests."""
    body = soap.find(soap.parse(request), "Body")
    first = next(iter(soap.elements(body)), None) if body is not None else None
    if first is None:
        return "", "", ()
    arguments = ((name, soap.text(first, name)) for name in ARGUMENTS)
    namespace = str(first.tag).partition("}")[0].lstrip("{")
    return soap.local(first), namespace, tuple((name, value) for name, value in arguments if value)


def _login(body: bytes, headers: Mapping[str, str]) -> str:
    if "Authorization" in headers:
        return "digest"
    return "token" if b"UsernameToken" in body else "none"


def _headers(reply: WebReply) -> Pairs:
    told = (("Content-Type", reply.content_type), ("Server", reply.server), ("Date", reply.date))
    challenges = (("WWW-Authenticate", challenge[:2000]) for challenge in reply.challenges[:8])
    return (*((name, value) for name, value in told if value), *challenges)


def _suffix(reply: WebReply | None) -> str:
    return ".html" if reply and "html" in reply.content_type.lower() else ".xml"
