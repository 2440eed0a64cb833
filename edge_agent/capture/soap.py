"""SOAP replies read with suspicion: size, depth, no DTD, no entities; tolerant only where real devices err.

Importing this module loads lxml (about 8 MB); it is imported late, by whoever has a reply in hand.
Elements are found by local name alone: devices disagree on namespaces more often than on names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from edge_agent.capture.web import MAX_BODY
from edge_agent.errors import EdgeAgentError, FormatError

MAX_DEPTH = 64
MAX_ELEMENTS = 50_000

_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")
_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,100}encoding=[\"']([A-Za-z0-9._-]{1,40})[\"']")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF16_UNMARKED = (b"<\x00", b"\x00<")
_BEGIN = re.compile(r"<(?:[\w.-]{1,40}:)?Envelope[\s>]")
_END = re.compile(r"</(?:[\w.-]{1,40}:)?Envelope\s*>")
_IMPOSSIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));",
    re.IGNORECASE,
)
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});)")

# ONVIF's ter:NotAuthorized, the fault codes of WS-Security 1.1 section 12, and what firmware writes instead
_REFUSALS = (
    *(
        "notauthorized",
        "notauthorised",
        "unauthorized",
        "unauthorised",
        "authorityfailure",
        "authorizationfail",
    ),
    *("failedauthentication", "authenticationfail", "authenticationerror", "authfail"),
    *("invalidsecurity", "failedcheck", "securitytokenunavailable", "wsse"),
    *("usernameorpassword", "passworderror", "wrongpassword", "invalidpassword", "invaliduser"),
)

Element = etree._Element


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP 1.2 or 1.1 fault. `subcodes` from the outside in, without prefixes; `reason` is often empty."""

    subcodes: tuple[str, ...]
    reason: str

    @property
    def not_authorized(self) -> bool:
        words = re.sub(r"[^a-z]", "", " ".join((*self.subcodes, self.reason)).lower())
        return any(refusal in words for refusal in _REFUSALS)

    def __str__(self) -> str:
        return ": ".join(t for t in ("/".join(self.subcodes), self.reason) if t) or "unexplained fault"


class SoapFault(EdgeAgentError):
    """The device answered with a fault instead of a reply."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def reply(body: bytes) -> Element:
    """The one element inside the SOAP body. Raises SoapFault, or FormatError when it is not SOAP."""
    envelope = parse(body)
    if local(envelope) != "Envelope":
        raise FormatError(f"not a SOAP reply, but <{local(envelope)[:40]}>")
    soap_body = find(envelope, "Body")
    if soap_body is None:
        raise FormatError("a SOAP envelope without a body")
    first = next(iter(elements(soap_body)), None)
    if first is None:
        raise FormatError("a SOAP envelope with an empty body")
    if local(first) == "Fault":
        raise SoapFault(_fault(first))
    return first


def parse(body: bytes) -> Element:
    """The root of a small, DTD-free document. Raises FormatError for anything else."""
    if len(body) > MAX_BODY:
        raise FormatError(f"{len(body)} bytes of XML; at most {MAX_BODY} are read")
    text = _decode(body)
    if "<!doctype" in text.lower() or "<!entity" in text.lower():
        raise FormatError("a document type declaration, which SOAP forbids (SOAP 1.2 part 1, section 5)")
    root = _parse_text(_mended(text))
    _measure(root)
    return root


def find(node: Element, *path: str) -> Element | None:
    """The first descendant along `path`, one local name a level."""
    for name in path:
        found = next((e for e in elements(node) if local(e) == name), None)
        if found is None:
            return None
        node = found
    return node


def text(node: Element, *path: str) -> str:
    """The stripped text at `path`; empty when there is none."""
    found = find(node, *path)
    return (found.text or "").strip() if found is not None else ""


def each(node: Element, name: str) -> Iterator[Element]:
    """Children of that local name."""
    return (e for e in elements(node) if local(e) == name)


def elements(node: Element) -> Iterator[Element]:
    return (e for e in node if isinstance(e.tag, str))


def local(node: Element) -> str:
    """The tag without namespace, and without the prefix that a device forgot to bind (Reolink `tad:`)."""
    return str(node.tag).rpartition("}")[2].rpartition(":")[2]


def attribute(node: Element, name: str) -> str:
    return next((str(v) for k, v in node.attrib.items() if str(k).rpartition("}")[2] == name), "")


def _decode(body: bytes) -> str:
    """Believe a byte order mark; an encoding in the prolog only if the bytes can be that encoding.

    A multi-channel encoder declares utf-16 over plain UTF-8 bytes; Chinese recorders send GB2312 names.
    """
    if body[:2] in _UTF16_MARKS:
        return body.decode("utf-16", "replace")
    if body[:2] in _UTF16_UNMARKED:
        return body.decode("utf-16-le" if body[0] else "utf-16-be", "replace")
    declared = _ENCODING.match(body[:200].removeprefix(b"\xef\xbb\xbf"))
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name.startswith(("utf", "ucs")):
        name = "utf-8-sig"
    try:
        return body.decode(name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8-sig", "replace")


def _mended(text: str) -> str:
    """The envelope alone, and in it what XML forbids and devices send all the same.

    Chunk sizes, MIME parts (Axis) or blanks stand before it, page ends and NUL bytes behind it; URLs have a
    bare `&` (XM), names a control character.
    """
    begin, ends = _BEGIN.search(text), [*_END.finditer(text)]
    if begin and ends and ends[-1].end() > begin.start():
        text = text[begin.start() : ends[-1].end()]
    text = _IMPOSSIBLE.sub("", _DECLARATION.sub("", text)).strip()
    return text if "<![CDATA[" in text else _BARE_AMPERSAND.sub("&amp;", text)


def _parse_text(text: str) -> Element:
    data = text.encode("utf-8", "replace")
    strict = _parser(recover=False)
    try:
        return etree.fromstring(data, strict)
    except etree.XMLSyntaxError as error:
        if not _only_namespaces(strict):
            raise FormatError(f"not well-formed XML: {error}") from error
    except ValueError as error:
        raise FormatError(f"not XML: {error}") from error
    # Reolink uses `tad:` without binding it. Only that is forgiven: a reply that was cut off must not pass
    # as a shorter list of cameras.
    root = etree.fromstring(data, _parser(recover=True))
    if root is None:
        raise FormatError("not XML")
    return root


def _parser(*, recover: bool) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=recover,
    )


def _only_namespaces(parser: etree.XMLParser) -> bool:
    kinds = {entry.domain_name for entry in parser.error_log}
    return kinds == {"NAMESPACE"}


def _measure(root: Element) -> None:
    depth = count = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > MAX_DEPTH or count > MAX_ELEMENTS:
            raise FormatError(f"XML deeper than {MAX_DEPTH} levels or larger than {MAX_ELEMENTS} elements")


def _fault(node: Element) -> Fault:
    subcodes: list[str] = []
    code = find(node, "Code")
    while code is not None and (code := find(code, "Subcode")) is not None:
        subcodes.append(text(code, "Value").rpartition(":")[2])
    if not subcodes:  # SOAP 1.1
        subcodes = [
            text(node, "faultcode").rpartition(":")[2] or text(node, "Code", "Value").rpartition(":")[2]
        ]
    reason = text(node, "Reason", "Text") or text(node, "faultstring")
    return Fault(tuple(s[:80] for s in subcodes if s), reason[:300])
