"""Does a host answer at all? One TCP connection attempt each, many at once, over within seconds."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

MAX_AT_ONCE = 128

Target = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """`refuses` is an answer: the machine is on, and nothing listens at that port. `ms`: how long it took."""

    answers: bool
    refuses: bool
    detail: str
    ms: int


def knock(targets: Iterable[Target], timeout_s: float) -> dict[Target, Answer]:
    """Connect to each (address, port) and hang up. Addresses only: names would wait for DNS."""
    began = time.monotonic()
    found: dict[Target, Answer] = {}
    with selectors.DefaultSelector() as selector:
        for target in list(dict.fromkeys(targets))[:MAX_AT_ONCE]:
            sock, code = _begin(target)
            if sock is not None and code == errno.EINPROGRESS:
                selector.register(sock, selectors.EVENT_WRITE, target)
                continue
            if sock is not None:
                sock.close()
            found[target] = _answer(code, began)
        while selector.get_map() and (left_s := began + timeout_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                found[key.data] = _answer(_take(selector, key), began)
        for key in tuple(selector.get_map().values()):
            _take(selector, key)
            found[key.data] = _answer(errno.ETIMEDOUT, began)
    return found


def _begin(target: Target) -> tuple[socket.socket | None, int]:
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        return sock, sock.connect_ex(target)
    except (OSError, OverflowError) as error:
        sock.close()
        return None, getattr(error, "errno", None) or errno.EADDRNOTAVAIL


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> int:
    sock = key.fileobj
    assert isinstance(sock, socket.socket)
    selector.unregister(sock)
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sock.close()
    return code


def _answer(code: int, began: float) -> Answer:
    ms = int((time.monotonic() - began) * 1000)
    if code == 0:
        return Answer(True, False, "accepts connections", ms)
    if code == errno.ECONNREFUSED:
        return Answer(True, True, "is on, but refuses connections", ms)
    reason = "timed out" if code == errno.ETIMEDOUT else os.strerror(code)
    return Answer(False, False, f"does not answer ({reason})", ms)
