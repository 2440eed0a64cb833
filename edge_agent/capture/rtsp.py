"""RTSP 1.0 on the wire (RFC 2326): requests, replies, and the interleaved frames between them.

Pure and bounded. `Demultiplexer` cuts a TCP stream into interleaved frames and messages, whatever the
order: DVRs put replies in the middle of video and send video before the reply to PLAY.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.errors import FormatError

MESSAGE = -1  # the channel number that stands for an RTSP message
LARGEST_HEAD = 16 * 1024
LARGEST_BODY = 64 * 1024
_MOST_GARBAGE = 256 * 1024  # bytes skipped since the last good frame
_DOLLAR = 0x24
_BLANK = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"RTSP/\d\.\d\s+(\d{3})\s*(.*)")
_START = re.compile(rb"\$[\x00-\x0f]|RTSP/1")


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Header names are lower case; a repeated header keeps every value."""

    status: int
    reason: str
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        return self.headers.get(name, ("",))[0]

    def cseq(self) -> int | None:
        text = self.header("cseq").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def request(method: str, url: str, cseq: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {url} RTSP/1.0", f"CSeq: {cseq}", "User-Agent: edge-agent"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


class Demultiplexer:
    """Cuts the byte stream of one connection; keeps at most one unfinished frame or message."""

    def __init__(self) -> None:
        self.garbage = 0  # bytes that were neither a frame nor a message
        self._rest = b""
        self._skipped = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Returns (channel, payload) in order; MESSAGE marks an RTSP message. Raises FormatError."""
        if self._rest:
            data = self._rest + data
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while at + 4 <= end:
            if data[at] == _DOLLAR:
                stop = at + 4 + (data[at + 2] << 8 | data[at + 3])
                if stop > end:
                    break
                frames.append((data[at + 1], data[at + 4 : stop]))
                self._skipped = 0
            else:
                stop = self._message(data, at, frames)
                if stop == at:
                    break
            at = stop
        self._rest = data[at:]
        return frames

    def _message(self, data: bytes, at: int, frames: list[tuple[int, bytes]]) -> int:
        """Where to go on; `at` itself when the message is not complete yet."""
        if not data.startswith(b"RTSP/", at):
            return self._resynchronise(data, at)
        blank = _BLANK.search(data, at, at + LARGEST_HEAD)
        if blank is None:
            if len(data) - at >= LARGEST_HEAD:
                raise FormatError("RTSP header is too long")
            return at
        stop = blank.end() + _content_length(data[at : blank.start()])
        if stop > len(data):
            return at
        frames.append((MESSAGE, data[at:stop]))
        self._skipped = 0
        return stop

    def _resynchronise(self, data: bytes, at: int) -> int:
        """Skip to what may be a frame or a reply; line ends between messages are no garbage."""
        if data[at] in b"\r\n":
            return at + 1
        found = _START.search(data, at + 1)
        stop = found.start() if found else len(data) - 5
        if stop <= at:
            return at
        self.garbage += stop - at
        self._skipped += stop - at
        if self._skipped > _MOST_GARBAGE:
            raise FormatError("the device sends neither RTSP nor interleaved frames")
        return stop


def parse_reply(message: bytes) -> Reply:
    """Read a complete response message. Raises FormatError."""
    blank = _BLANK.search(message)
    if blank is None:
        raise FormatError("RTSP message without an end")
    lines = message[: blank.start()].decode("utf-8", "replace").splitlines()
    status = _STATUS.match(lines[0]) if lines else None
    if status is None:
        raise FormatError("not an RTSP reply")
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines[1:200]:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            headers[key] = (*headers.get(key, ()), value.strip())
    return Reply(int(status[1]), status[2].strip()[:200], headers, message[blank.end() :])


def _content_length(head: bytes) -> int:
    found = re.search(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", head)
    length = int(found[1]) if found else 0
    if length > LARGEST_BODY:
        raise FormatError(f"RTSP body of {length} bytes is too large")
    return length
