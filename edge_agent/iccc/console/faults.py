"""Orders to the virtual recorder of the demo, through its control endpoint on loopback."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import JsonValue

from edge_agent.errors import EdgeAgentError

TIMEOUT_S = 60.0  # the slate may have to be encoded first
MAX_ANSWER = 256 * 1024
CHANNEL_MODES = frozenset({"on", "off", "slate", "stall"})


class FaultError(EdgeAgentError):
    """The virtual recorder does not answer, or refuses the order."""


class Faults(Protocol):
    """What the page's fault panel needs. Blocking; called in a thread."""

    def state(self) -> dict[str, JsonValue]:
        """`{"device": "on"|"off", "channels": [{"number", "name", "mode"}, ...]}`"""
        ...

    def set_channel(self, channel: int, mode: str) -> None: ...

    def set_device(self, mode: str) -> None: ...


class DvrFaultPanel:
    """Speaks to `http://127.0.0.1:port` of `edge_agent.demo.dvr`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise FaultError(f"{url!r} is not http://host:port")
        self._address = (parts.hostname, parts.port)

    def state(self) -> dict[str, JsonValue]:
        told = self._ask("GET", "/state")
        device, channels = told.get("device"), told.get("channels")
        if not isinstance(device, dict) or not isinstance(channels, dict):
            raise FaultError("the virtual recorder's state cannot be read")
        rows: list[JsonValue] = [
            {
                "number": int(number),
                "name": f"Channel {number}",
                "mode": c.get("mode", "on"),
            }
            for number, c in sorted(channels.items(), key=lambda item: int(item[0]))
            if isinstance(c, dict)
        ]
        return {"device": "off" if device.get("off") else "on", "channels": rows}

    def set_channel(self, channel: int, mode: str) -> None:
        if mode not in CHANNEL_MODES:
            raise ValueError(mode)
        self._ask("POST", f"/channel/{channel}", {"mode": mode})

    def set_device(self, mode: str) -> None:
        if mode not in ("on", "off"):
            raise ValueError(mode)
        self._ask("POST", "/device", {"off": mode == "off"})

    def _ask(self, method: str, path: str, body: dict[str, JsonValue] | None = None) -> dict[str, JsonValue]:
        connection = HTTPConnection(*self._address, timeout=TIMEOUT_S)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"})
            reply = connection.getresponse()
            answer = reply.read(MAX_ANSWER)
            if reply.status >= 300:
                raise FaultError(f"the virtual recorder refused: {reply.status}")
            parsed = json.loads(answer or b"{}")
        except (OSError, HTTPException, ValueError) as error:
            raise FaultError("the virtual recorder does not answer") from error
        finally:
            connection.close()
        return parsed if isinstance(parsed, dict) else {}
