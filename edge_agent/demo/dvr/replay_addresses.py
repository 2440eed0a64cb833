"""A recorded device's addresses made those of its replay where they were its own; lies stay. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_agent.capture.bundle import Manifest
from edge_agent.capture.bundle_names import REACHED

_NAMED = "recorder.example"  # the pseudonym of the name under which the device was reached
_DEFAULT_PORT = {"http": 80, "rtsp": 554}
_URL = re.compile(
    r"(?P<scheme>https?|rtsp)://(?P<user>[^/\s@<>\"]{1,200}@)?"
    r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[\w.-]{1,100}\.example)(?P<ports>(?::\d{1,5}){0,2})"
)
_BARE = re.compile(rf"(?<![\w.]){re.escape(REACHED)}(?![\w]|\.\d)")
_PORT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Rewriter:
    """`local` is the address that the client reached; the ports are the replay's own."""

    local: str
    http_port: int
    rtsp_port: int
    recorded_http: frozenset[int]
    recorded_rtsp: frozenset[int]

    def text(self, text: str) -> str:
        """Hosts that were the device's own, and ports at which it answered, whatever host stood before them.

        A port that did not answer then stays, and does not answer now.
        """
        return _BARE.sub(self.local, _URL.sub(self._url, text))

    def bytes(self, content: bytes) -> bytes:
        return self.text(content.decode("latin-1")).encode("latin-1")

    def _url(self, found: re.Match[str]) -> str:
        scheme, ports = found["scheme"], found["ports"]
        own = found["host"] in (REACHED, _NAMED)
        host = self.local if own else found["host"]
        if ports:
            ports = _PORT.sub(lambda port: str(self._port(scheme, int(port[0]))), ports)
        else:
            usual = _DEFAULT_PORT.get(scheme, 0)
            ours = self._port(scheme, usual)
            ports = f":{ours}" if ours != usual else ""
        return f"{scheme}://{found['user'] or ''}{host}{ports}"

    def _port(self, scheme: str, port: int) -> int:
        if scheme == "rtsp":
            return self.rtsp_port if port in self.recorded_rtsp else port
        return self.http_port if port in self.recorded_http else port


def rewriter(manifest: Manifest, local: str, http_port: int, rtsp_port: int) -> Rewriter:
    web = {manifest.http_port, *(each.port for each in manifest.web if each.status)}
    return Rewriter(local, http_port, rtsp_port, frozenset(web), frozenset({manifest.rtsp_port}))
