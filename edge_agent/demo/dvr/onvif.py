"""The ONVIF endpoint: one HTTP server that authenticates, dispatches, and misbehaves on order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from xml.sax.saxutils import escape

from edge_agent.demo.dvr import onvif_device, onvif_media, onvif_media2, soap
from edge_agent.demo.dvr.auth import Verdict
from edge_agent.demo.dvr.faults import DateTimeManners, HttpManners, OnvifAuth, ServiceManners
from edge_agent.demo.dvr.onvif_device import (
    DEVICE_PATH,
    EVENTS_PATH,
    MEDIA2_PATH,
    MEDIA_PATH,
    Addresses,
    Operation,
)
from edge_agent.demo.dvr.onvif_events import EventDesk
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.soap import SoapFault, SoapRequest
from edge_agent.demo.dvr.web import HttpRequest, HttpResponse
from edge_agent.errors import FormatError

_HANG_S = 3600.0
_FLOOD_OCTETS = 100 * 1024 * 1024
_WEB_PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body><h1>Not Found</h1></body></html>"
_OPEN = {
    "GetSystemDateAndTime",
    "GetWsdlUrl",
    "GetHostname",
}  # access class PRE_AUTH, ONVIF Core section 5.9.4.3


_OPERATIONS = {
    DEVICE_PATH: onvif_device.OPERATIONS,
    MEDIA_PATH: onvif_media.OPERATIONS,
    MEDIA2_PATH: onvif_media2.OPERATIONS,
}


class OnvifService:
    """`rtsp_port` and `http_port` are what the recorder says of itself; the servers know them once open."""

    def __init__(self, recorder: Recorder, events: EventDesk) -> None:
        self.rtsp_port = 0
        self.http_port = 0
        self._recorder = recorder
        self._events = events

    def addresses(self, local_address: str) -> Addresses:
        """Addresses on the host that the client reached, unless a foreign one is ordered."""
        if foreign := self._recorder.faults.device.xaddr:
            return Addresses(foreign, f"{foreign.partition(':')[0]}:{self.rtsp_port}")
        return Addresses(f"{local_address}:{self.http_port}", f"{local_address}:{self.rtsp_port}")

    async def answer(self, request: HttpRequest) -> HttpResponse:
        manners = self._recorder.faults.device.http
        if manners is HttpManners.HANG:
            await asyncio.sleep(_HANG_S)
        if manners is HttpManners.HTML:
            return HttpResponse(200, _WEB_PAGE, "text/html")
        if manners is HttpManners.FLOOD:
            return HttpResponse(200, b" " * _FLOOD_OCTETS, soap.CONTENT_TYPE)
        response = await self._honest(request)
        if manners is HttpManners.DRIP:
            return HttpResponse(
                response.status, response.body, response.content_type, response.headers, pace_s=1.0
            )
        return response

    async def _honest(self, request: HttpRequest) -> HttpResponse:
        path = request.path.partition("?")[0]
        if request.method == "GET" and path.startswith(onvif_media.SNAPSHOT_PATH):
            return await self._snapshot(request, path)
        if request.method != "POST" or not path.startswith("/onvif/"):
            return HttpResponse(404, _WEB_PAGE, "text/html")
        try:
            return await self._soap(request, path)
        except FormatError as error:
            return _fault(SoapFault("Sender", ("ter:WellFormed",), str(error)))
        except SoapFault as error:
            self._recorder.counts["onvif_faults"] += 1
            return _fault(error)

    async def _soap(self, request: HttpRequest, path: str) -> HttpResponse:
        asked = soap.parse(request.body)
        self._recorder.counts[f"onvif_{asked.operation}"] += 1
        if (refusal := self._refusal(request, asked)) is not None:
            return refusal
        at = self.addresses(request.local_address)
        if path.startswith(EVENTS_PATH):
            body = await self._events.answer(asked, path, at)
        else:
            body = self._simple(asked, path, at)
        return HttpResponse(200, soap.reply(body, _header(asked)), soap.CONTENT_TYPE)

    def _simple(self, asked: SoapRequest, path: str, at: Addresses) -> str:
        operation = self._operations(path).get(asked.operation)
        if operation is None:
            raise SoapFault("Receiver", ("ter:ActionNotSupported",), "Optional Action Not Implemented", 500)
        return operation(self._recorder, asked, at)

    def _operations(self, path: str) -> Mapping[str, Operation]:
        faults = self._recorder.faults.device
        manners = {MEDIA_PATH: faults.media, MEDIA2_PATH: faults.media2}.get(path, ServiceManners.GOOD)
        return _OPERATIONS.get(path, {}) if manners is ServiceManners.GOOD else {}

    def _refusal(self, request: HttpRequest, asked: SoapRequest) -> HttpResponse | None:
        """None lets the request pass."""
        faults = self._recorder.faults.device
        needs_auth = faults.date_time is DateTimeManners.NEEDS_AUTH
        if asked.operation in _OPEN and not (asked.operation == "GetSystemDateAndTime" and needs_auth):
            return None
        verdict = self._judge(request, asked)
        if verdict is Verdict.GOOD and faults.onvif_users_apart:
            self._recorder.accounts.wrong += 1
            verdict = Verdict.WRONG
        if verdict is Verdict.GOOD:
            return None
        self._recorder.counts[f"onvif_refused_{verdict.value}"] += 1
        if faults.onvif_auth is OnvifAuth.DIGEST or (
            asked.token is None and faults.onvif_auth is OnvifAuth.EITHER
        ):
            return self._challenge(verdict)
        raise SoapFault("Sender", ("ter:NotAuthorized",), self._reason(verdict))

    def _judge(self, request: HttpRequest, asked: SoapRequest) -> Verdict:
        accounts, faults = self._recorder.accounts, self._recorder.faults.device
        now = time.monotonic()
        if asked.token is not None and faults.onvif_auth is not OnvifAuth.DIGEST:
            return accounts.verify_token(asked.token, now, self._recorder.device_time(), faults)
        if faults.onvif_auth is OnvifAuth.TOKEN:
            return Verdict.MISSING
        return accounts.verify_digest(request.method, request.headers.get("authorization", ""), now, faults)

    def _reason(self, verdict: Verdict) -> str:
        """The countdown is worded as Dahua and IMOU devices word it."""
        left = self._recorder.accounts.attempts_left(self._recorder.faults.device)
        if verdict is Verdict.LOCKED:
            return "The account is locked"
        if verdict is Verdict.WRONG and left is not None:
            return f"Sender not authorized. You still have {left} attempt(s)"
        return "Wsse authorized time check failed" if verdict is Verdict.LATE else "Sender not authorized"

    def _challenge(self, verdict: Verdict) -> HttpResponse:
        if verdict is Verdict.LOCKED:
            return HttpResponse(403)
        accounts, faults = self._recorder.accounts, self._recorder.faults.device
        challenges = accounts.challenges(time.monotonic(), faults, stale=verdict is Verdict.STALE)
        fault = soap.fault(SoapFault("Sender", ("ter:NotAuthorized",), self._reason(verdict)))
        headers = tuple(("WWW-Authenticate", challenge) for challenge in challenges)
        return HttpResponse(401, fault, soap.CONTENT_TYPE, headers)

    async def _snapshot(self, request: HttpRequest, path: str) -> HttpResponse:
        accounts, faults = self._recorder.accounts, self._recorder.faults.device
        authorization = request.headers.get("authorization", "")
        verdict = accounts.verify_digest(request.method, authorization, time.monotonic(), faults)
        if verdict is not Verdict.GOOD:
            return self._challenge(verdict)
        token = path.removeprefix(onvif_media.SNAPSHOT_PATH).removesuffix(".jpg")
        name = onvif_media.profile_of(self._recorder, token)
        if name is None or not self._recorder.pictures(name.channel):
            return HttpResponse(404)
        return HttpResponse(200, await self._recorder.snapshot(name), "image/jpeg")


def _header(asked: SoapRequest) -> str:
    if not asked.message_id:
        return ""
    action = f"{asked.namespace}/{asked.operation}Response"
    return (
        f"<wsa:RelatesTo>{escape(asked.message_id)}</wsa:RelatesTo><wsa:Action>{escape(action)}</wsa:Action>"
    )


def _fault(error: SoapFault) -> HttpResponse:
    return HttpResponse(error.status, soap.fault(error), soap.CONTENT_TYPE)
