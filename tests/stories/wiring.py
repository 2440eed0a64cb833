"""A shop's wiring in network namespaces: box, recorder and router on a switch, the city behind the router.

    box 10.98.0.1 --+
    dvr 10.98.0.2 --+-- switch -- router 10.98.0.254 / 10.97.0.1 -- city 10.97.0.2 (broker, name service)

Every plug can be pulled: then the other end of the cable loses its link, and ARP its answers. Root only.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from far_city import inside

BOX, DVR, ROUTER = "10.98.0.1", "10.98.0.2", "10.98.0.254"
WAN, CITY = "10.97.0.1", "10.97.0.2"
NAME = "iccc.test"
PLACES = ("box", "dvr", "router", "switch", "city")


class Wiring:
    """A context manager; `namespace(place)` is the name of one."""

    def __init__(self) -> None:
        self._name = f"st{os.getpid()}{uuid.uuid4().hex[:3]}"
        self.names = NameService()

    def namespace(self, place: str) -> str:
        return f"{self._name}{place}"

    def __enter__(self) -> Wiring:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.names.stop()
        self._remove()

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """This thread, and what it starts, live there meanwhile."""
        with inside(self.namespace(place)):
            yield

    def plug(self, place: str, *, in_: bool) -> None:
        """The cable of box, dvr or router at the switch."""
        _ip("-n", self.namespace("switch"), "link", "set", f"p-{place}", "up" if in_ else "down")

    def internet(self, *, on: bool) -> None:
        """Off: what the router sends to the city vanishes without a word."""
        _ip("-n", self.namespace("router"), "route", "del" if on else "add", "blackhole", CITY)

    def _build(self) -> None:
        for place in PLACES:
            _ip("netns", "add", self.namespace(place))
            self._set(place, "lo", "up")
        hub = self.namespace("switch")
        _ip("-n", hub, "link", "add", "name", "hub", "type", "bridge")
        self._set("switch", "hub", "up")
        for place, address in (("box", BOX), ("dvr", DVR), ("router", ROUTER)):
            self._cable(place, "lan", "switch", f"p-{place}")
            _ip("-n", hub, "link", "set", "dev", f"p-{place}", "master", "hub")
            _ip("-n", self.namespace(place), "address", "add", f"{address}/24", "dev", "lan")
        self._cable("router", "wan", "city", "wan")
        for place, address in (("router", WAN), ("city", CITY)):
            _ip("-n", self.namespace(place), "address", "add", f"{address}/24", "dev", "wan")
        _ip("-n", self.namespace("box"), "route", "add", "default", "via", ROUTER)
        _ip("-n", self.namespace("city"), "route", "add", "default", "via", WAN)
        _ip("netns", "exec", self.namespace("router"), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        etc = self._etc()
        etc.mkdir(parents=True)
        (etc / "resolv.conf").write_text(f"nameserver {CITY}\noptions timeout:1 attempts:2\n")
        (etc / "nsswitch.conf").write_text("hosts: files dns\n")
        with self.at("city"):
            self.names.start()

    def _cable(self, place: str, port: str, other: str, other_port: str) -> None:
        peer = ("peer", "name", other_port, "netns", self.namespace(other))
        _ip("link", "add", "name", port, "netns", self.namespace(place), "type", "veth", *peer)
        self._set(place, port, "up")
        self._set(other, other_port, "up")

    def _set(self, place: str, port: str, state: str) -> None:
        _ip("-n", self.namespace(place), "link", "set", "dev", port, state)

    def _etc(self) -> Path:
        """What `ip netns exec` lays over /etc."""
        return Path("/etc/netns") / self.namespace("box")

    def _remove(self) -> None:
        shutil.rmtree(self._etc(), ignore_errors=True)
        for place in PLACES:
            subprocess.run(
                ["ip", "netns", "delete", self.namespace(place)], check=False, capture_output=True, timeout=10
            )


class NameService:
    """Knows one name (RFC 1035): every question of type A is answered with the city's address."""

    def __init__(self) -> None:
        self.dead = False
        self._sock: socket.socket | None = None

    def start(self) -> None:
        """In the caller's namespace."""
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((CITY, 53))
        Thread(target=self._serve, args=(self._sock,), daemon=True).start()

    def stop(self) -> None:
        if self._sock is not None:
            self._sock.close()

    def _serve(self, sock: socket.socket) -> None:
        while True:
            try:
                question, asker = sock.recvfrom(512)
                if not self.dead:
                    sock.sendto(_answer(question), asker)
            except OSError:
                return


def _answer(question: bytes) -> bytes:
    end = question.index(b"\0", 12) + 5
    (kind,) = struct.unpack_from("!H", question, end - 4)
    known = kind == 1
    head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, int(known), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(CITY)
    return head + question[12:end] + (record if known else b"")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
