"""A recorded device's ONVIF answers, found again by question, with addresses and times of today."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from edge_agent.capture import soap as reading
from edge_agent.capture.bundle import Bundle, WebExchange
from edge_agent.demo.dvr import replay_times, soap
from edge_agent.demo.dvr.auth import Verdict
from edge_agent.demo.dvr.onvif_device import Addresses
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.replay_addresses import Rewriter, rewriter
from edge_agent.demo.dvr.soap import SoapFault, SoapRequest
from edge_agent.demo.dvr.web import HttpRequest, HttpResponse
from edge_agent.errors import EdgeAgentError, FormatError

_LONGEST_THOUGHT_S = 2.0  # of what the device took to answer
_HANG_S = 3600.0
_PULL_S = 5.0
_NONCE = re.compile(r'nonce="[^"]*"')
_RELATES = re.compile(rb"(<(?:\w+:)?RelatesTo[^>]*>)[^<]*(<)")
_NEWS = re.compile(rb"(?s)<((?:\w+:)?NotificationMessage)\b.*?</\1>")


class Script:
    """What was asked and answered. Pure, but for counting what was played already."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._played: Counter[tuple[str, str]] = Counter()
        self._by_operation: dict[str, list[WebExchange]] = {}
        for exchange in bundle.manifest.web:
            self._by_operation.setdefault(exchange.operation, []).append(exchange)

    def open(self, asked: SoapRequest) -> WebExchange | None:
        """The answer that anybody gets."""
        return self._next(
            asked, [e for e in self._matching(asked) if e.login == "none" and not self.refuses(e)]
        )

    def refusal(self, asked: SoapRequest) -> WebExchange | None:
        """How a question without the right password is answered: this one, or any other."""
        every = [e for exchanges in self._by_operation.values() for e in exchanges]
        ordered = [*self._matching(asked), *every]
        return next((e for e in ordered if e.login == "none" and self.refuses(e)), None)

    def answer(self, asked: SoapRequest) -> WebExchange | None:
        """The answer to the right password; a bundle made by hand knows only what was said to anybody."""
        told = [e for e in self._matching(asked) if e.login != "none"] or [*self._matching(asked)]
        return self._next(asked, [e for e in told if not self.refuses(e)] or told)

    def exhausted(self, asked: SoapRequest) -> bool:
        """All that was recorded has been played."""
        told = [e for e in self._matching(asked) if not self.refuses(e)]
        return self._played[asked.operation, asked.text("ProfileToken")] > len(told)

    def restart(self, operation: str) -> None:
        self._played[operation, ""] = 0

    def _next(self, asked: SoapRequest, told: list[WebExchange]) -> WebExchange | None:
        """In the recorded order, the last one again and again."""
        if not told:
            return None
        key = asked.operation, asked.text("ProfileToken")
        turn = self._played[key]
        self._played[key] += 1
        return told[min(turn, len(told) - 1)]

    def refuses(self, exchange: WebExchange) -> bool:
        """A 401, or a fault that says NotAuthorized."""
        if exchange.status == 401:
            return True
        try:
            reading.reply(self._bundle.body(exchange.body))
        except reading.SoapFault as error:
            return error.fault.not_authorized
        except EdgeAgentError:
            return False
        return False

    def unknown(self) -> WebExchange | None:
        """How the device answers a question that it does not know, if that was heard once."""
        every = (e for exchanges in self._by_operation.values() for e in exchanges)
        return next((e for e in every if b"ActionNotSupported" in self._bundle.body(e.body)), None)

    def _matching(self, asked: SoapRequest) -> Sequence[WebExchange]:
        token = asked.text("ProfileToken")

        def fits(exchange: WebExchange) -> bool:
            recorded = dict(exchange.arguments).get("ProfileToken")
            return exchange.namespace in ("", asked.namespace) and recorded in (None, token)

        return [e for e in self._by_operation.get(asked.operation, ()) if fits(e)]


class ReplayOnvif:
    """`rtsp_port` and `http_port` are what the replay says of itself; the servers know them once open."""

    def __init__(self, recorder: Recorder, bundle: Bundle) -> None:
        self.rtsp_port = 0
        self.http_port = 0
        self._recorder = recorder
        self._bundle = bundle
        self._script = Script(bundle)
        self._taken = _taken(bundle.manifest.taken)

    def addresses(self, local_address: str) -> Addresses:
        return Addresses(f"{local_address}:{self.http_port}", f"{local_address}:{self.rtsp_port}")

    def rewriter(self, local_address: str) -> Rewriter:
        return rewriter(self._bundle.manifest, local_address, self.http_port, self.rtsp_port)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(404)
        try:
            asked = soap.parse(request.body)
        except FormatError as error:
            return HttpResponse(400, soap.fault(SoapFault("Sender", ("ter:WellFormed",), str(error))))
        self._recorder.counts[f"onvif_{asked.operation}"] += 1
        told = self._script.open(asked)
        if told is None:
            verdict = self._judge(request, asked)
            if verdict is not Verdict.GOOD:
                return self._refused(asked, verdict)
            told = self._script.answer(asked) or self._script.unknown()
        if told is None:
            fault = SoapFault("Receiver", ("ter:ActionNotSupported",), "Not in the recorded bundle", 500)
            return HttpResponse(500, soap.fault(fault), soap.CONTENT_TYPE)
        return await self._spoken(told, request, asked)

    async def _spoken(self, told: WebExchange, request: HttpRequest, asked: SoapRequest) -> HttpResponse:
        if not told.status:
            await asyncio.sleep(_HANG_S)
        body = self._bundle.body(told.body)
        if asked.operation == "CreatePullPointSubscription":
            self._script.restart("PullMessages")
        if asked.operation == "PullMessages" and self._script.exhausted(asked):
            await asyncio.sleep(_PULL_S)
            body = _NEWS.sub(b"", body)
        elif asked.operation != "PullMessages":
            await asyncio.sleep(min(told.took_ms / 1000, _LONGEST_THOUGHT_S))
        return HttpResponse(
            told.status,
            self._today(body, request, asked),
            next((value for name, value in told.headers if name == "Content-Type"), soap.CONTENT_TYPE),
            tuple((name, value) for name, value in told.headers if name == "Server"),
        )

    def _today(self, body: bytes, request: HttpRequest, asked: SoapRequest) -> bytes:
        text = self.rewriter(request.local_address).text(body.decode("latin-1"))
        now = self._recorder.device_time()
        if asked.operation == "GetSystemDateAndTime":
            text = replay_times.set_clock(text, now, self._taken)
        else:
            text = replay_times.shift(text, now)
        identity = asked.message_id.encode("ascii", "replace").replace(b"\\", b"")
        return _RELATES.sub(rb"\g<1>" + identity + rb"\g<2>", text.encode("latin-1"))

    def _judge(self, request: HttpRequest, asked: SoapRequest) -> Verdict:
        accounts, faults = self._recorder.accounts, self._recorder.faults.device
        now = time.monotonic()
        if asked.token is not None:
            return accounts.verify_token(asked.token, now, self._recorder.device_time(), faults)
        return accounts.verify_digest(request.method, request.headers.get("authorization", ""), now, faults)

    def _refused(self, asked: SoapRequest, verdict: Verdict) -> HttpResponse:
        self._recorder.counts[f"onvif_refused_{verdict.value}"] += 1
        told = self._script.refusal(asked)
        if told is None:
            fault = SoapFault("Sender", ("ter:NotAuthorized",), "Sender not authorized")
            return HttpResponse(400, soap.fault(fault), soap.CONTENT_TYPE)
        accounts, faults = self._recorder.accounts, self._recorder.faults.device
        fresh = accounts.challenges(time.monotonic(), faults, stale=verdict is Verdict.STALE)
        nonce = _NONCE.search(fresh[0])
        headers = tuple(
            (name, _NONCE.sub(nonce[0] if nonce else "", value))
            for name, value in told.headers
            if name in ("WWW-Authenticate", "Server")
        )
        return HttpResponse(told.status, self._bundle.body(told.body), soap.CONTENT_TYPE, headers)


def _taken(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
