"""Finding recorders in networks as shops have them, built of namespaces: two cards, dead VPNs, no router."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from onvif_world import SMALL

from edge_agent.capture import wsd
from edge_agent.demo.dvr.media import default_cache

pytestmark = [
    pytest.mark.needs("ip"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@dataclass(frozen=True)
class Recorder:
    """A virtual recorder in a namespace of its own."""

    namespace: str
    address: str
    control_port: int

    def order(self, **faults: object) -> None:
        code = (
            "from edge_agent.demo.dvr.client import DvrControl\n"
            f"DvrControl({self.control_port}).set_device(**{faults!r})"
        )
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", code]
        subprocess.run(command, check=True, timeout=60)


class Shop:
    """The box's namespace, and a cable to each recorder. No default route anywhere."""

    def __init__(self) -> None:
        self.name = f"box-{os.getpid()}-{time.monotonic_ns() % 100_000}"
        self._namespaces: list[str] = []
        self._children: list[subprocess.Popen[bytes]] = []
        self._namespace(self.name)

    def plug(self, number: int, *, ours: str = "", serial: str = "") -> Recorder:
        """Cable `number`: network 10.77.`number`.0/24, the box at .1, the recorder at .20."""
        there, address = f"{self.name}-r{number}", f"10.77.{number}.20"
        self._namespace(there)
        pair = (f"eb{number}x{os.getpid() % 10_000}", f"er{number}x{os.getpid() % 10_000}")
        ip(
            "link",
            "add",
            pair[0],
            "netns",
            self.name,
            "type",
            "veth",
            "peer",
            "name",
            pair[1],
            "netns",
            there,
        )
        for where, device, at in (
            (self.name, pair[0], ours or f"10.77.{number}.1/24"),
            (there, pair[1], f"{address}/24"),
        ):
            ip("-n", where, "addr", "add", at, "dev", device)
            ip("-n", where, "link", "set", device, "up")
        return Recorder(
            there, address, self._serve(there, address, pair[1], serial or f"4E01B7NETNS{number:04d}")
        )

    def add_dead_vpn(self) -> None:
        ip("-n", self.name, "tuntap", "add", "dev", "wg0", "mode", "tun")
        ip("-n", self.name, "addr", "add", "10.99.0.1/32", "dev", "wg0")
        ip("-n", self.name, "link", "set", "wg0", "up")

    def discover(self, *options: str) -> tuple[list[dict[str, Any]], float]:
        """What `edge-agent discover` finds from the box, and the seconds that it took."""
        command = [
            "ip",
            "netns",
            "exec",
            self.name,
            sys.executable,
            "-m",
            "edge_agent.cli",
            "discover",
            "--json",
        ]
        began = time.monotonic()
        done = subprocess.run([*command, *options], capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout), time.monotonic() - began

    def ask(self, recorder: Recorder, datagram: bytes) -> bytes:
        """What the recorder answers to one datagram from the box within a second; nothing if it does not."""
        code = (
            "import socket, sys\n"
            "asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "asker.settimeout(1)\n"
            f"asker.sendto({datagram!r}, ({recorder.address!r}, 3702))\n"
            "try: sys.stdout.buffer.write(asker.recv(65535))\n"
            "except TimeoutError: pass"
        )
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", code]
        return subprocess.run(command, check=True, capture_output=True, timeout=20).stdout

    def close(self) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait(10)
            assert child.stdout is not None
            child.stdout.close()
        for name in self._namespaces:
            ip("netns", "delete", name)

    def _namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._namespaces.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def _serve(self, namespace: str, address: str, interface: str, serial: str) -> int:
        options = {**SMALL, "interface": interface, "serial": serial, "host": address, "channels": "1"}
        options |= {"rtsp-port": "554", "http-port": "80", "cache": str(default_cache())}
        child = subprocess.Popen(
            [
                *("ip", "netns", "exec", namespace, sys.executable, "-m", "edge_agent.demo.dvr"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            stdout=subprocess.PIPE,
        )
        self._children.append(child)
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        return int(ready["control_port"])


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


def test_case_19_two_networks_a_dead_vpn_and_no_route(shop: Shop) -> None:
    """Both recorders are found once each, though one leaves out Types and the other the Header."""
    first, second = shop.plug(1), shop.plug(2)
    shop.add_dead_vpn()
    first.order(probe_types=False)
    second.order(probe_header=False)

    found, seconds = shop.discover("--timeout", "1")

    assert sorted(f["address"] for f in found) == [first.address, second.address]
    assert all(f["port"] == 80 and f["note"] == "" and f["epr"] for f in found)
    assert len({f["interface"] for f in found}) == 2
    assert seconds < 12


def test_case_19_a_recorder_that_hears_no_line_ends_is_found(shop: Shop) -> None:
    """Hikvision firmware was seen to answer only a probe on one line (EdgeX 134)."""
    averse = shop.plug(6)
    averse.order(probe_one_line=True)
    with_line_end = shop.ask(averse, wsd.probe(wsd.Probed.DEVICE, str(uuid4())) + b"\n")
    on_one_line = shop.ask(averse, wsd.probe(wsd.Probed.DEVICE, str(uuid4())))

    found, _ = shop.discover("--timeout", "1")

    assert (with_line_end, b"ProbeMatches" in on_one_line) == (b"", True)
    assert [(f["address"], f["port"]) for f in found] == [(averse.address, 80)]


def test_case_19_a_recorder_of_another_subnet_is_reported_as_such(shop: Shop) -> None:
    """It hears the multicast and answers; its answer arrives only if it knows a way, so give it one."""
    stranger = shop.plug(3, ours="192.168.9.1/24")
    ip("-n", stranger.namespace, "route", "add", "192.168.9.0/24", "dev", _cable(stranger))

    found, _ = shop.discover("--timeout", "1")

    assert [f["address"] for f in found] == [stranger.address]
    assert "cannot be reached" in found[0]["note"]


def test_a_recorder_without_onvif_is_found_by_knocking_within_twelve_seconds(shop: Shop) -> None:
    quiet = shop.plug(4)
    quiet.order(onvif_off=True, probe_silent=True)

    found, seconds = shop.discover()

    (only,) = found
    assert (only["address"], only["port"], only["maker"]) == (quiet.address, 0, "dahua")
    assert 554 in only["ports"]
    assert len(only["mac"]) == 17
    assert "ONVIF is off" in only["note"]
    assert seconds < 12


def test_a_recorder_that_multicast_does_not_reach_is_asked_alone(shop: Shop) -> None:
    deaf = shop.plug(5)
    deaf.order(probe_deaf=True)

    found, _ = shop.discover("--timeout", "1")

    (only,) = found
    assert (only["address"], only["port"], only["maker"]) == (deaf.address, 80, "dahua")
    assert only["epr"].startswith("urn:uuid:")


def _cable(recorder: Recorder) -> str:
    listed = subprocess.run(
        ["ip", "-n", recorder.namespace, "-j", "link"], check=True, capture_output=True, timeout=20
    )
    return next(str(link["ifname"]) for link in json.loads(listed.stdout) if link["ifname"] != "lo")
