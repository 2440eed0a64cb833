"""SOAP 1.2 envelopes as ONVIF uses them: requests in, replies and faults out. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from edge_agent.demo.dvr.auth import UsernameToken
from edge_agent.errors import FormatError

CONTENT_TYPE = "application/soap+xml; charset=utf-8"
_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_NAMESPACES = {
    "s": _SOAP,
    "tt": "http://www.onvif.org/ver10/schema",
    "tds": "http://www.onvif.org/ver10/device/wsdl",
    "trt": "http://www.onvif.org/ver10/media/wsdl",
    "tr2": "http://www.onvif.org/ver20/media/wsdl",
    "tev": "http://www.onvif.org/ver10/events/wsdl",
    "ter": "http://www.onvif.org/ver10/error",
    "tns1": "http://www.onvif.org/ver10/topics",
    "wsa": "http://www.w3.org/2005/08/addressing",
    "wsnt": "http://docs.oasis-open.org/wsn/b-2",
    "wstop": "http://docs.oasis-open.org/wsn/t-1",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "xs": "http://www.w3.org/2001/XMLSchema",
}
_DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """`operation` is the body's first element; `reference` the WS-Addressing To or SubscriptionId, if any."""

    operation: str
    namespace: str
    body: etree._Element
    token: UsernameToken | None
    message_id: str = ""

    def text(self, name: str) -> str:
        """Text of the first element of that local name in the body, else empty."""
        found = self.body.xpath(f".//*[local-name()='{name}']")
        element = found[0] if isinstance(found, list) and found else None
        return (element.text or "").strip() if isinstance(element, etree._Element) else ""


class SoapFault(Exception):
    """Becomes a SOAP fault: `code` is Sender or Receiver, `subcodes` go from outer to inner."""

    def __init__(self, code: str, subcodes: tuple[str, ...], reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.code = code
        self.subcodes = subcodes
        self.reason = reason
        self.status = status


def safe_parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def parse(envelope: bytes) -> SoapRequest:
    """Raises FormatError on anything but one SOAP envelope with a body."""
    try:
        root = etree.fromstring(envelope, safe_parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FormatError(f"not XML: {error}") from error
    body = root.find(f"{{{_SOAP}}}Body")
    operations = [] if body is None else [child for child in body if isinstance(child.tag, str)]
    if not operations or b"<!DOCTYPE" in envelope:
        raise FormatError("not a SOAP 1.2 envelope")
    name = etree.QName(operations[0])
    return SoapRequest(
        name.localname, name.namespace or "", operations[0], _token(root), _first_text(root, "MessageID")
    )


def reply(body: str, header: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {_DECLARED}>'
        f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault(error: SoapFault) -> bytes:
    subcodes = ""
    for name in reversed(error.subcodes):
        subcodes = f"<s:Subcode><s:Value>{name}</s:Value>{subcodes}</s:Subcode>"
    return reply(
        f"<s:Fault><s:Code><s:Value>s:{error.code}</s:Value>{subcodes}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{escape(error.reason)}</s:Text></s:Reason></s:Fault>'
    )


def _token(root: etree._Element) -> UsernameToken | None:
    token = root.find(f".//{{{_WSSE}}}UsernameToken")
    if token is None:
        return None
    password = token.find(f"{{{_WSSE}}}Password")
    kind = "" if password is None else str(password.get("Type", ""))
    return UsernameToken(
        username=token.findtext(f"{{{_WSSE}}}Username", "").strip(),
        password="" if password is None else (password.text or "").strip(),
        nonce=token.findtext(f"{{{_WSSE}}}Nonce", "").strip(),
        created=token.findtext(f"{{{_WSU}}}Created", "").strip(),
        digest=kind.endswith("#PasswordDigest"),
    )


def _first_text(root: etree._Element, name: str) -> str:
    found = root.xpath(f".//*[local-name()='{name}']")
    element = found[0] if isinstance(found, list) and found else None
    return (element.text or "").strip() if isinstance(element, etree._Element) else ""
