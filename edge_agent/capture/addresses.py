"""What a device says about addresses, made usable (pure). Only the host that was reached is connected to.

XAddrs and stream URIs name another site's private address, `0.0.0.0`, `127.0.1.1`, a doubled port
`:8106:8106`, or no port; so the path is taken, the port is a hint, and the host is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

RTSP_PORT = 554

_URL = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)$", re.DOTALL)
_PORT = re.compile(r":(?P<port>\d{1,5})(?::\d+)?$")


@dataclass(frozen=True, slots=True)
class Claim:
    """The useful parts of a URL that a device gave. `rest` is path and query; `port` only if it named one."""

    scheme: str
    rest: str
    port: int | None
    host: str


def claim(url: str) -> Claim | None:
    """None when it is not a URL, or holds characters that could split a request line."""
    url = url.strip()
    found = _URL.match(url)
    if not found or len(url) > 1000 or any(c.isspace() or not c.isprintable() for c in url):
        return None
    authority = found["authority"].rpartition("@")[2]  # credentials in it are ours already, or wrong
    port = _PORT.search(authority)
    number = int(port["port"]) if port else None
    host = authority[: port.start()] if port else authority
    in_range = number is not None and 0 < number < 65_536
    return Claim(found["scheme"].lower(), found["rest"] or "/", number if in_range else None, host)


def service(xaddr: str) -> Claim | None:
    """An ONVIF service's address; None when it is none.

    Of an HTTPS address the path is taken: the device was reached over plain HTTP, and serves it there too or
    says so. Some give the path alone.
    """
    found = claim(f"http://{xaddr.strip()}" if xaddr.strip().startswith("/") else xaddr)
    if found is None or found.scheme not in ("http", "https"):
        return None
    return found if found.scheme == "http" else replace(found, scheme="http", port=None)


def stream(uri: str) -> Claim | None:
    """A stream URI; None when it is not RTSP. A multicast answer to a unicast question is put right."""
    found = claim(uri)
    if found is None or found.scheme != "rtsp":
        return None
    rest = found.rest.replace("transportmode=mcast", "transportmode=unicast")  # Hikvision OEM ENP1A14
    return Claim("rtsp", rest, found.port, found.host)


def url(scheme: str, host: str, port: int, rest: str) -> str:
    return f"{scheme}://[{host}]:{port}{rest}" if ":" in host else f"{scheme}://{host}:{port}{rest}"
