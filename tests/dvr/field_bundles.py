"""Bundles made by hand of recorded replies: a folder of XML files becomes a device, RTSP replies a stream."""

from __future__ import annotations

import re
from pathlib import Path

from lxml import etree

from edge_agent.capture.bundle import Bundle, Manifest, RtspExchange, StreamTape, WebExchange

SELF = "192.0.2.1"
_SOAP = ("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")
_NAMED = {"Create": "CreatePullPointSubscription", "CreatePullPoint": "CreatePullPointSubscription"}


def onvif_bundle(folder: Path) -> Bundle:
    """Every reply answers anybody: the recordings tell nothing of logins."""
    files = {f"onvif/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    probes = tuple(name for name in files if "ProbeMatches" in name)
    exchanges = tuple(_exchange(name, files[name]) for name in files if name not in probes)
    manifest = Manifest("by hand", "2026-01-01T00:00Z", SELF, 80, 554, discovery=probes, web=exchanges)
    return Bundle(manifest, files)


def _exchange(member: str, content: bytes) -> WebExchange:
    stem = Path(member).stem
    parts = [part for part in stem.split("-") if part not in ("Media2", "Fault")]
    operation = _NAMED.get(parts[0], parts[0])
    told = _body(content)
    if told is None:
        headers = (("Content-Type", "text/html"),)
        return WebExchange(operation, "", headers=headers, body=member)
    name = etree.QName(told)
    if name.localname == "Fault":
        return WebExchange(operation, "", status=400, body=member)
    return WebExchange(name.localname.removesuffix("Response"), name.namespace or "", body=member)


def _body(content: bytes) -> etree._Element | None:
    parser = etree.XMLParser(recover=True, resolve_entities=False, encoding="utf-8")
    root = etree.fromstring(re.sub(rb"^\s*<\?xml[^>]*\?>", b"", content), parser)
    bodies = [root.find(f"{{{soap}}}Body") for soap in _SOAP] if root is not None else []
    return next((child for body in bodies if body is not None for child in body), None)


def rtsp_bundle(folder: Path, devices: dict[str, dict[str, str]]) -> Bundle:
    """`devices`: name to method to file. Each becomes a channel of one recorder."""
    files: dict[str, bytes] = {}
    tapes = []
    for number, (name, replies) in enumerate(devices.items(), 1):
        url = f"rtsp://{SELF}:554/{name}"
        dialogue = [
            _reply(method, url, (folder / file).read_bytes(), files) for method, file in replies.items()
        ]
        tapes.append(StreamTape(url, number, dialogue=tuple(dialogue)))
    manifest = Manifest("by hand", "2026-01-01T00:00Z", SELF, 80, 554, streams=tuple(tapes))
    return Bundle(manifest, files)


def _reply(method: str, url: str, content: bytes, files: dict[str, bytes]) -> RtspExchange:
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    pairs = ((line.partition(":")[0], line.partition(":")[2].strip()) for line in lines)
    headers = tuple((n, v) for n, v in pairs if n.lower() not in ("cseq", "content-length"))
    member = f"rtsp/{len(files)}.sdp" if body else ""
    files |= {member: body.replace(b"\n", b"\r\n")} if body else {}
    return RtspExchange(method, url, status=int(first.split()[1]), headers=headers, body=member)
