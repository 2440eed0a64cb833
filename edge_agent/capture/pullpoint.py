"""One ONVIF pull point (Core specification, section 9): created, pulled, renewed in time, given back.

Only one per device, on one thread: recorders allow few, and some (Dahua) answer `BlockedThreadUpperLimit`
until the ones that were left behind have run out. So ours live for two minutes and are renewed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4
from xml.sax.saxutils import escape

from lxml import etree

from edge_agent.capture import addresses, soap, topics, web
from edge_agent.capture.moments import parse_moment
from edge_agent.capture.session import Session
from edge_agent.capture.soap_request import envelope
from edge_agent.capture.topics import Notice
from edge_agent.errors import EdgeAgentError, FormatError

ASKED_S = 120.0  # what a crash leaves behind is gone by then
RENEW_AT = 0.8
PULL_S = 10.0
MESSAGE_LIMIT = 50
_LONGEST_REFERENCE = 4096

_EVENTS = "http://www.onvif.org/ver10/events/wsdl"
_NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"
_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_PULL_ACTION = f"{_EVENTS}/PullPointSubscription/PullMessagesRequest"
_CREATE_ACTION = f"{_EVENTS}/EventPortType/CreatePullPointSubscriptionRequest"
_RENEW_ACTION = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/RenewRequest"
_UNSUBSCRIBE_ACTION = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/UnsubscribeRequest"


@dataclass(frozen=True, slots=True)
class _Reference:
    """Where a subscription is addressed; `parameters` must come back with every request (Axis)."""

    to: str
    path: str
    port: int
    parameters: str


class PullPoint:
    """Lives from `create` to `unsubscribe`. Its own thread; `unsubscribe` from any."""

    def __init__(self, session: Session, reference: _Reference, granted_s: float, now: float) -> None:
        self._session = session
        self._reference = reference
        self._absolute = False
        self.renew_at = now + granted_s * RENEW_AT

    @classmethod
    def create(cls, session: Session, path: str, port: int, now: float) -> PullPoint:
        """Raises what Session.call raises. `now` is monotonic, in seconds."""
        body = (
            f'<CreatePullPointSubscription xmlns="{_EVENTS}">'
            f"<InitialTerminationTime>PT{ASKED_S:.0f}S</InitialTerminationTime></CreatePullPointSubscription>"
        )
        to = addresses.url("http", session.host, port, path)
        answer = session.call(path, envelope(body, _header(_CREATE_ACTION, to)), port=port)
        point = cls(session, _reference(answer, session, path, port), granted_s(answer), now)
        if granted_s(answer) < ASKED_S / 2:  # it read our two minutes as less: name the moment instead
            point._absolute = True
            point.renew_at = now
        return point

    def pull(self, wait_s: float = PULL_S) -> list[Notice]:
        """Wait up to `wait_s` (whole seconds) for news. Raises what Session.call raises."""
        body = (
            f'<PullMessages xmlns="{_EVENTS}"><Timeout>PT{wait_s:.0f}S</Timeout>'
            f"<MessageLimit>{MESSAGE_LIMIT}</MessageLimit></PullMessages>"
        )
        return topics.notices(self._ask(_PULL_ACTION, body, patience_s=wait_s))

    def renew(self, now: float) -> None:
        """Two more minutes. A device that will not renew is pulled on, and subscribed to anew when it stops.

        Raises WebError, FormatError, AuthRefused.
        """
        until = f"PT{ASKED_S:.0f}S"
        if self._absolute:
            until = (self._session.device_now() + timedelta(seconds=ASKED_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = f'<Renew xmlns="{_NOTIFICATION}"><TerminationTime>{until}</TerminationTime></Renew>'
        try:
            granted = granted_s(self._ask(_RENEW_ACTION, body))
        except soap.SoapFault:
            granted = ASKED_S
        self.renew_at = now + max(granted, ASKED_S / 4) * RENEW_AT

    def unsubscribe(self, session: Session | None = None) -> None:
        """Give it back, in another conversation than its own if `session` is given; a device that does not
        take it lets it run out.
        """
        self._session = session or self._session
        try:
            self._ask(_UNSUBSCRIBE_ACTION, f'<Unsubscribe xmlns="{_NOTIFICATION}"/>')
        except EdgeAgentError:
            return

    def _ask(self, action: str, body: str, patience_s: float = 0.0) -> soap.Element:
        reference = self._reference
        header = _header(action, reference.to) + reference.parameters
        request = envelope(body, header)
        return self._session.call(reference.path, request, port=reference.port, patience_s=patience_s)


def granted_s(answer: soap.Element) -> float:
    """How long the device keeps it, by its own two clocks; what makes no sense is taken as what we asked."""
    current = parse_moment(soap.text(answer, "CurrentTime"))
    ends = parse_moment(soap.text(answer, "TerminationTime"))
    if current is None or ends is None:
        return ASKED_S
    granted = (ends - current).total_seconds()
    return granted if 0 < granted <= 24 * 3600 else ASKED_S


def _reference(answer: soap.Element, session: Session, path: str, port: int) -> _Reference:
    node = soap.find(answer, "SubscriptionReference")
    if node is None:
        raise FormatError("a pull point without an address")
    address = soap.text(node, "Address")
    claim = addresses.service(address)
    parameters = _echoed(soap.find(node, "ReferenceParameters"))
    if claim is None:
        return _Reference(addresses.url("http", session.host, port, path), path, port, parameters)
    claimed = claim.port or 80
    usable = claimed if claimed == port or web.answers(session.host, claimed) else port
    return _Reference(address, claim.rest, usable, parameters)


def _echoed(parameters: soap.Element | None) -> str:
    """The children as they came, without the forty namespaces that gSOAP declares around them."""
    kept = ""
    for element in soap.elements(parameters) if parameters is not None else ():
        alone = deepcopy(element)
        etree.cleanup_namespaces(alone)
        alone.tail = None
        kept += etree.tostring(alone, encoding="unicode")
    if len(kept) > _LONGEST_REFERENCE:
        raise FormatError("a pull point with an endless address")
    return kept


def _header(action: str, to: str) -> str:
    return (
        f'<Action xmlns="{_ADDRESSING}">{action}</Action><To xmlns="{_ADDRESSING}">{escape(to)}</To>'
        f'<MessageID xmlns="{_ADDRESSING}">urn:uuid:{uuid4()}</MessageID>'
    )
