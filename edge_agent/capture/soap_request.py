"""SOAP 1.2 requests written: envelopes of our own, and the UsernameToken that is put into any of them."""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime
from xml.sax.saxutils import escape

from lxml import etree

from edge_agent.model import Credentials

_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST_TYPE = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
)
_BASE64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"


def envelope(body: str, header: str = "") -> etree._Element:
    """An envelope around XML of our own making."""
    headed = f"<s:Header>{header}</s:Header>" if header else ""
    return etree.fromstring(
        f'<s:Envelope xmlns:s="{_SOAP}">{headed}<s:Body>{body}</s:Body></s:Envelope>'.encode(),
        etree.XMLParser(resolve_entities=False, no_network=True),
    )


def serialise(request: etree._Element, security: str = "") -> bytes:
    """The envelope's bytes; the token is put into the text, so that a shared tree is never changed."""
    data: bytes = etree.tostring(request, encoding="utf-8")
    if security and b"<s:Header>" in data:
        data = data.replace(b"<s:Header>", b"<s:Header>" + security.encode(), 1)
    elif security:
        head, mark, tail = (
            data.partition(b"<s:Body") if b"<s:Body" in data else data.partition(b"<soap-env:Body")
        )
        prefix = mark[1:-5]
        header = b"<" + prefix + b":Header>" + security.encode() + b"</" + prefix + b":Header>"
        data = head + header + mark + tail
    return b'<?xml version="1.0" encoding="utf-8"?>' + data


def headers() -> dict[str, str]:
    return {"Content-Type": "application/soap+xml; charset=utf-8", "User-Agent": "edge-agent"}


def username_token(credentials: Credentials, device_now: datetime) -> str:
    """A fresh UsernameToken (WSS Username Token Profile 1.0), one Created, in Zulu time to the second."""
    nonce = secrets.token_bytes(16)
    created = device_now.strftime("%Y-%m-%dT%H:%M:%SZ")
    material = nonce + created.encode() + credentials.password.encode()
    password = base64.b64encode(hashlib.sha1(material, usedforsecurity=False).digest()).decode()
    return (
        f'<Security xmlns="{_WSSE}"><UsernameToken><Username>{escape(credentials.username)}</Username>'
        f'<Password Type="{_DIGEST_TYPE}">{password}</Password>'
        f'<Nonce EncodingType="{_BASE64}">{base64.b64encode(nonce).decode()}</Nonce>'
        f'<Created xmlns="{_WSU}">{created}</Created></UsernameToken></Security>'
    )
