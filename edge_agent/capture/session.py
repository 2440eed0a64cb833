"""One device's SOAP conversation: whose clock, which authentication, and how many wrong answers so far.

The order that works in the field: ask the clock without credentials, ask anything without credentials to
learn which authentication the device wants, and only then send a password, once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from threading import Lock

from lxml import etree

from edge_agent.capture import digest, soap, web
from edge_agent.capture.device_clock import read_clock
from edge_agent.capture.lockout import CLAIM_S
from edge_agent.capture.ports import CredentialGate, Door, Leave
from edge_agent.capture.soap_request import envelope, headers, serialise, username_token
from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.model import Credentials

DEVICE_PATH = "/onvif/device_service"
TURN_S = 0.02  # how often we ask whether it is our turn to log in
LONGEST_TURN_S = 15.0
CLOCK_MOVED_S = 4.0
PULL_CLAIM_S = 1.5
LATELY_S = 2.0


class AuthRefused(EdgeAgentError):
    """The device refuses our credentials, or we refuse to try them once more."""


class Scheme(Enum):
    UNKNOWN = "none yet"
    TOKEN = "WS-UsernameToken"  # noqa: S105
    DIGEST = "HTTP Digest"


@dataclass(frozen=True, slots=True)
class _Signed:
    headers: dict[str, str]
    body: bytes
    scheme: Scheme
    fresh: bool  # the nonce was not used before


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, and how long the device may think over its answer."""

    port: int
    path: str
    envelope: etree._Element
    timeout_s: float
    claim_s: float  # a device judges the password at once, even when it answers a pull much later

    @property
    def operation(self) -> str:
        body = soap.find(self.envelope, "Body")
        first = next(iter(soap.elements(body)), None) if body is not None else None
        return str(first.tag) if first is not None else ""


class Session:
    """Talks to `host:port` only. Any thread; no more answers are on their way than may still be wrong."""

    def __init__(
        self,
        host: str,
        port: int,
        credentials: Credentials | None,
        clock: Clock,
        gate: CredentialGate,
        *,
        timeout_s: float = web.TIMEOUT_S,
        post: Callable[..., web.WebReply] = web.post,
    ) -> None:
        """`post` is what sends each request: `web.post`, or a tape recorder around it."""
        self.host = host
        self.port = port
        self.clock_offset_s: float | None = None
        self.scheme = Scheme.UNKNOWN
        self.credentials = credentials
        self._clock = clock
        self._gate = gate
        self._timeout_s = timeout_s
        self._send = post
        self._lock = Lock()
        self._challenge: digest.Challenge | None = None
        self._uses = 0
        self._answered: set[str] = set()  # operations that were answered with our password
        self._answered_at = float("-inf")
        self._allowed: _Question | None = None  # the last question that was answered with our password
        self._device_zero: datetime | None = None  # the device's UTC when our boot clock stood at zero

    def ask_clock(self) -> bool:
        """Unauthenticated GetSystemDateAndTime; every token is stamped with the device's time from here on.

        Kept against our boot clock, so that a step of our own wall clock changes nothing. Returns whether the
        device told a usable time; if not, its HTTP Date, else our own time is taken.
        """
        body = envelope('<GetSystemDateAndTime xmlns="http://www.onvif.org/ver10/device/wsdl"/>')
        question = _Question(self.port, DEVICE_PATH, body, self._timeout_s, 0.0)
        answer = self._post(question, _Signed(headers(), serialise(body), Scheme.UNKNOWN, True))
        now = self._clock.now()
        ours = datetime.fromtimestamp(now.wall_us / 1e6, UTC)
        device_now = read_clock(answer.body, answer.date, ours)
        self._device_zero = (device_now or ours) - timedelta(microseconds=now.boot_ns / 1000)
        self.clock_offset_s = (device_now - ours).total_seconds() if device_now else None
        return device_now is not None

    def understands(self, path: str, port: int) -> bool:
        """Whether what answers at another port of the device speaks SOAP; asked without credentials.

        A recorder behind a router names port 80, where the router's own page is.
        """
        body = envelope('<GetServiceCapabilities xmlns="http://www.onvif.org/ver10/media/wsdl"/>')
        question = _Question(port, path, body, self._timeout_s, 0.0)
        try:
            answer = self._post(question, _Signed(headers(), serialise(body), Scheme.UNKNOWN, True))
            asks_login = answer.status == 401 and digest.choose(answer.challenges) is not None
            return asks_login or soap.local(soap.parse(answer.body)) == "Envelope"
        except (web.WebError, FormatError):
            return False

    def prove(self) -> None:
        """Ask the clock, then a question that every user may ask: what is refused later is forbidden, and
        the password is not to blame. Raises what `call` raises.
        """
        self.ask_clock()
        body = '<GetDeviceInformation xmlns="http://www.onvif.org/ver10/device/wsdl"/>'
        self.call(DEVICE_PATH, envelope(body))

    def call(
        self, path: str, request: etree._Element, *, port: int | None = None, patience_s: float = 0.0
    ) -> soap.Element:
        """Send one envelope, authenticated as the device wants it; returns the reply's element.

        `patience_s` is added to the timeout for a question that the device may answer late, as a pull.
        Raises WebError, FormatError, SoapFault (another fault than wrong credentials), AuthRefused.
        """
        claim_s = PULL_CLAIM_S if patience_s else CLAIM_S
        question = _Question(port or self.port, path, request, self._timeout_s + patience_s, claim_s)
        if self.scheme is Scheme.UNKNOWN:
            answer = self._post(question, _Signed(headers(), serialise(request), Scheme.UNKNOWN, True))
            if not _refused(answer):
                return _understood(answer)
            self._learn_scheme(answer)
        answer = self._ask_signed(question)
        if not _refused(answer):
            self._allowed, self._answered_at = question, self._clock.monotonic()
            self._answered.add(question.operation)
            return _understood(answer)
        if self._allowed is None or _refused(self._ask_signed(self._allowed)):
            raise self._refusal()
        return _understood(answer)  # raises the fault: the password is right, this one call is forbidden

    def _ask_signed(self, question: _Question) -> web.WebReply:
        """At most three sendings: a stale nonce or a moved clock costs one more, a second refusal ends it."""
        asker = object()
        clock_asked = False
        answer: web.WebReply | None = None
        for _ in range(3):
            credentials = self._await_turn(asker, question)
            signed = self._sign(question, credentials)
            try:
                answer = self._post(question, signed)
            except web.WebError:
                self._gate.give_back(asker)
                raise
            if not _refused(answer):
                self._gate.right(self.host, credentials, asker, Door.ONVIF)
                return answer
            if self._stale(answer, signed):
                self._gate.give_back(asker)
                continue
            if self._may_be_forbidden(question):
                self._gate.give_back(asker)
                return answer
            self._gate.wrong(self.host, credentials, _words(answer), asker, Door.ONVIF)
            self._renew(answer, signed)
            if self._switch_to_digest(answer, signed):
                continue
            if clock_asked or not self._clock_moved():
                break
            clock_asked = True
        assert answer is not None
        return answer

    def _may_be_forbidden(self, question: _Question) -> bool:
        """A new kind of question, a moment after another was answered: the password is hardly to blame."""
        lately = self._clock.monotonic() - self._answered_at < LATELY_S
        return lately and question.operation not in self._answered

    def _await_turn(self, asker: object, question: _Question) -> Credentials:
        """Returns with a claim to send the credentials. Raises AuthRefused when they must not be sent."""
        credentials = self.credentials
        if credentials is None:
            raise AuthRefused(
                f"{self.host} asks for a user name and password; enter them in the configuration"
            )
        until = self._clock.monotonic() + LONGEST_TURN_S
        while True:
            leave = self._gate.ask(self.host, credentials, asker, door=Door.ONVIF, holds_s=question.claim_s)
            if leave is Leave.GO:
                return credentials
            if leave is Leave.STOP:
                raise self._refusal()
            if self._clock.monotonic() > until:
                raise web.WebError(
                    web.Trouble.SILENT, f"{self.host} has not judged the same password of other streams yet"
                )
            time.sleep(TURN_S)

    def _sign(self, question: _Question, credentials: Credentials) -> _Signed:
        request, path = question.envelope, question.path
        if self.scheme is Scheme.DIGEST:
            with self._lock:
                challenge, self._uses = self._challenge, self._uses + 1
                uses = self._uses
            assert challenge is not None
            header = digest.authorization(
                challenge, credentials, "POST", path, count=uses, cnonce=secrets.token_hex(8)
            )
            signed = {**headers(), "Authorization": header}
            return _Signed(signed, serialise(request), Scheme.DIGEST, uses == 1)
        return _Signed(
            headers(), serialise(request, username_token(credentials, self.device_now())), Scheme.TOKEN, True
        )

    def device_now(self) -> datetime:
        """The device's UTC, as far as it told."""
        now = self._clock.now()
        zero = self._device_zero
        if zero is None:
            return datetime.fromtimestamp(now.wall_us / 1e6, UTC)
        return zero + timedelta(microseconds=now.boot_ns / 1000)

    def _post(self, question: _Question, signed: _Signed) -> web.WebReply:
        return self._send(
            self.host,
            question.port,
            question.path,
            signed.body,
            signed.headers,
            timeout_s=question.timeout_s,
        )

    def _learn_scheme(self, answer: web.WebReply) -> None:
        challenge = digest.choose(answer.challenges)
        with self._lock:
            if self.scheme is not Scheme.UNKNOWN:
                return
            self._challenge, self._uses = challenge, 0
            self.scheme = Scheme.DIGEST if challenge else Scheme.TOKEN

    def _stale(self, answer: web.WebReply, signed: _Signed) -> bool:
        """A used nonce has expired: not a wrong password. Takes the new one."""
        challenge = digest.choose(answer.challenges)
        if signed.scheme is not Scheme.DIGEST or challenge is None or (signed.fresh and not challenge.stale):
            return False
        with self._lock:
            self._challenge, self._uses = challenge, 0
        return True

    def _renew(self, answer: web.WebReply, signed: _Signed) -> None:
        """A refused nonce is not used again: refused twice it would pass for stale, and cost an attempt."""
        challenge = digest.choose(answer.challenges)
        if signed.scheme is Scheme.DIGEST and challenge is not None:
            with self._lock:
                self._challenge, self._uses = challenge, 0

    def _switch_to_digest(self, answer: web.WebReply, signed: _Signed) -> bool:
        challenge = digest.choose(answer.challenges)
        if signed.scheme is Scheme.DIGEST or challenge is None:
            return False
        with self._lock:
            self.scheme, self._challenge, self._uses = Scheme.DIGEST, challenge, 0
        return True

    def _clock_moved(self) -> bool:
        """Ask the clock again; a token refused for its age is worth one more attempt."""
        before = self.device_now()
        if self.scheme is not Scheme.TOKEN or not self.ask_clock():
            return False
        return abs((self.device_now() - before).total_seconds()) > CLOCK_MOVED_S

    def _refusal(self) -> AuthRefused:
        assert self.credentials is not None
        return AuthRefused(self._gate.sentence(self.host, self.credentials))


def _refused(answer: web.WebReply) -> bool:
    if answer.status == 401:
        return True
    try:
        soap.reply(answer.body)
    except soap.SoapFault as error:
        return error.fault.not_authorized
    except FormatError:
        return False
    return False


def _understood(answer: web.WebReply) -> soap.Element:
    if answer.status >= 400 and b"nvelope" not in answer.body:
        raise FormatError(f"the web server answers {answer.status} where ONVIF should be")
    return soap.reply(answer.body)


def _words(answer: web.WebReply) -> str:
    try:
        soap.reply(answer.body)
    except soap.SoapFault as error:
        return str(error.fault)
    except FormatError:
        return answer.body[:500].decode("utf-8", "replace")
    return ""
