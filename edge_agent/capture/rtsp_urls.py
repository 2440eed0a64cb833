"""What a device's URLs and SETUP headers mean: never another host than the one that was reached."""

from __future__ import annotations

from urllib.parse import urlsplit

from edge_agent.errors import SourceRefused

DEFAULT_TIMEOUT_S = 60.0
_LONGEST = 2048


def here(url: str, reached: str) -> str:
    """`url` at the host of `reached`: devices name private, foreign and zero addresses, and doubled ports."""
    ours = urlsplit(reached)
    _, absolute, rest = url.partition("://")
    location = rest[rest.find("/") :] if "/" in rest else ""
    if not absolute:
        location = url
    clean = "".join(c for c in location[:_LONGEST] if c.isprintable() and c != " ")
    return f"{ours.scheme}://{ours.netloc}{clean or '/'}"


def resolve(control: str, base: str) -> str:
    """A control attribute against Content-Base, by plain joining as DVRs mean it (RFC 2326 C.1.1).

    Dahua's base ends `?channel=1&subtype=0/`, so that RFC 3986 resolution would lose the channel.
    """
    if control in ("", "*"):
        return base
    if "://" in control or control.startswith("/"):
        return here(control, base)
    joined = base + ("" if base.endswith("/") else "/") + control
    return here(joined, base)


def interleaved_channel(transport: str) -> int:
    """The RTP channel that the device chose. Raises SourceRefused when it chose UDP though asked for TCP."""
    fields = [part.strip().lower() for part in transport.split(";")]
    for part in fields:
        name, _, value = part.partition("=")
        if name.strip() == "interleaved":
            first = value.partition("-")[0].strip()
            return int(first) if first.isascii() and first.isdigit() and int(first) < 255 else 0
    if any(part.startswith(("client_port", "server_port")) for part in fields):
        raise SourceRefused(
            "the device streams over UDP although TCP was asked for; allow RTSP over TCP in its network menu"
        )
    return 0


def rtcp_port(transport: str) -> int:
    """Where the device wants our reports over UDP: the second of its `server_port`; 0 when it names none."""
    for part in transport.split(";"):
        name, _, value = part.strip().lower().partition("=")
        if name == "server_port":
            second = value.partition("-")[2].strip()
            return int(second) if second.isascii() and second.isdigit() and 0 < int(second) < 65536 else 0
    return 0


def session_timeout_s(parameters: str) -> float:
    """`timeout=60` behind the session's id; nothing shorter than 5 s is believed."""
    name, _, value = parameters.strip().lower().partition("=")
    value = value.strip()
    if name.strip() == "timeout" and value.isascii() and value.isdigit() and len(value) < 6:
        return max(float(value), 5.0)
    return DEFAULT_TIMEOUT_S
