"""A bad line between two network namespaces: two TAP devices, joined by a process that mistreats the frames.

A TCP proxy would be no substitute: it acknowledges what has not arrived yet. Run as a process of its own:

    python emulator.py BOX_NAMESPACE CITY_NAMESPACE

Line by line it reads orders from standard input and answers each with one line of JSON:

    {"shape": {"up": {"rate_bps": 2e6, "delay_s": 0.02}, "down": {...}, "nat_timeout_s": null}}
    {"cut": true}      {"counters": true}

Ends when its standard input does.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import struct
import sys
import time
from dataclasses import asdict
from pathlib import Path

from shaper import Nat, Shape, Shaper

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
FRAME = 2048


def tap(namespace: str, name: str) -> int:
    """A TAP device inside a namespace; its descriptor works from outside, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as home, Path(f"/run/netns/{namespace}").open() as there:
        _enter(libc, there.fileno())
        try:
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        finally:
            _enter(libc, home.fileno())
    return descriptor


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Line:
    """Both directions between two descriptors. One thread."""

    def __init__(self, box: int, city: int) -> None:
        self.up, self.down = Shaper(Shape(), seed=1), Shaper(Shape(), seed=2)
        self.nat = Nat()
        self._ways = {box: (self.up, city), city: (self.down, box)}

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        for descriptor in self._ways:
            selector.register(descriptor, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        os.set_blocking(0, False)
        orders = b""
        while True:
            for key, _ in selector.select(self._patience()):
                if key.fd != 0:
                    self._take(key.fd)
                    continue
                piece = os.read(0, 65536)
                if not piece:
                    return
                *lines, orders = (orders + piece).split(b"\n")
                for line in lines:
                    print(json.dumps(self.obey(json.loads(line))), flush=True)
            self._deliver()

    def obey(self, order: dict[str, object]) -> dict[str, object]:
        if "shape" in order:
            shape = order["shape"]
            assert isinstance(shape, dict)
            self.up.shape, self.down.shape = Shape(**shape["up"]), Shape(**shape["down"])
            self.nat.timeout_s = shape.get("nat_timeout_s")
        if order.get("cut"):
            self.up.cut()
            self.down.cut()
        return {"up": asdict(self.up.counters), "down": asdict(self.down.counters)}

    def _take(self, descriptor: int) -> None:
        way, _ = self._ways[descriptor]
        now = time.monotonic()
        while True:
            try:
                frame = os.read(descriptor, FRAME)
            except (BlockingIOError, OSError):
                return
            if self.nat.passes(frame, now):
                way.offer(frame, now)

    def _deliver(self) -> None:
        now = time.monotonic()
        for way, target in self._ways.values():
            for frame in way.due(now):
                try:
                    os.write(target, frame)
                except OSError:  # the far device is down: so is the line
                    way.counters.dropped += 1

    def _patience(self) -> float | None:
        dues = [due for way in (self.up, self.down) if (due := way.next_due()) is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None


def main() -> None:
    box, city = sys.argv[1:3]
    line = Line(tap(box, "line"), tap(city, "line"))
    print("{}", flush=True)  # the devices exist
    line.run()


if __name__ == "__main__":
    main()
