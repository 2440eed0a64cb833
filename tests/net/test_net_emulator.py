"""The emulated line keeps its word: rate, delay, queue, loss, silence and a forgetful NAT."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import CITY_ADDRESS, Lab
from shaper import Nat, Shape, Shaper

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces")
ECHO = f"""
import socket
server = socket.create_server(("{CITY_ADDRESS}", 7000))
print("ready", flush=True)
peer, _ = server.accept()
while piece := peer.recv(65536):
    if piece.endswith(b"."):
        peer.sendall(b".")
"""
ASK = f"""
import socket, sys, time
peer = socket.create_connection(("{CITY_ADDRESS}", 7000), 5)
peer.settimeout(2.0)
for line in sys.stdin:
    pause, size = line.split()
    time.sleep(float(pause))
    began = time.monotonic()
    peer.sendall(b".".rjust(int(size), b"x"))
    try:
        peer.recv(1)
        print(time.monotonic() - began, flush=True)
    except TimeoutError:
        print(-1, flush=True)
"""


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=60), st.floats(1e5, 1e7), st.floats(0, 0.2))
def test_frames_keep_their_order_and_leave_no_faster_than_the_line(
    sizes: list[int], rate: float, delay: float
) -> None:
    shaper = Shaper(Shape(rate_bps=rate, delay_s=delay, queue_bytes=10**6))
    for number, size in enumerate(sizes):
        shaper.offer(struct.pack(">I", number).ljust(size, b"\0"), now=5.0)
    last = 5.0 + delay + sum(sizes) * 8 / rate

    early = shaper.due(last - sizes[-1] * 8 / rate / 2)
    assert len(early) == len(sizes) - 1
    numbers = [struct.unpack(">I", f[:4])[0] for f in early + shaper.due(last + 1e-6)]
    assert numbers == list(range(len(sizes)))
    assert shaper.next_due() is None
    assert shaper.counters.frames == len(sizes)


def test_what_does_not_fit_into_the_queue_is_dropped() -> None:
    shaper = Shaper(Shape(rate_bps=80_000, queue_bytes=5000))
    for _ in range(100):
        shaper.offer(bytes(1000), now=0.0)

    assert len(shaper.due(10.0)) == 6  # five waiting and the one on the line
    assert shaper.counters.dropped == 94


def test_only_packets_of_ip_are_counted_as_bytes() -> None:
    shaper = Shaper(Shape())
    for kind in (0x0800, 0x86DD, 0x0806):  # the last is ARP
        shaper.offer(bytes(12) + struct.pack(">H", kind) + bytes(46), now=0.0)
    shaper.due(0.0)
    assert (shaper.counters.frames, shaper.counters.bytes) == (3, 2 * 46)


def test_a_flow_that_was_idle_too_long_is_forgotten_until_it_begins_anew() -> None:
    nat = Nat(timeout_s=30)
    begin, more = _segment(syn=True), _segment(syn=False)

    assert nat.passes(begin, 0)
    assert nat.passes(more, 29)
    assert nat.passes(more, 58)
    assert not nat.passes(more, 89)
    assert not nat.passes(more, 90)
    assert nat.passes(begin, 91)
    assert nat.passes(more, 92)
    assert nat.forgotten == 2


@root
@pytest.mark.needs("ip")
def test_a_real_connection_sees_the_round_trip_the_rate_and_the_silence(line: Lab) -> None:
    with _conversation(line) as client:
        assert 0 <= _ask(client, 0.3, 1) < 0.1
        line.mobile(rate_bps=1e6, round_trip_s=0.1)
        assert _ask(client, 0, 1) >= 0.1
        before = line.counters()["up"]["bytes"]
        assert _ask(client, 0, 60_000) > 60_000 * 8 / 1e6
        assert 60_000 < line.counters()["up"]["bytes"] - before < 70_000
        line.silence()
        assert _ask(client, 0, 1) == -1


@root
@pytest.mark.needs("ip")
def test_a_nat_forgets_a_real_connection(line: Lab) -> None:
    line.shape(Shape(), nat_timeout_s=1.0)
    with _conversation(line) as client:
        assert _ask(client, 0, 1) >= 0
        assert _ask(client, 0.5, 1) >= 0
        assert _ask(client, 1.5, 1) == -1


@contextmanager
def _conversation(line: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody in the box who asks, and somebody in the city who answers with one byte."""
    asking, pipes = [sys.executable, "-c", ASK], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with line.in_city(sys.executable, "-c", ECHO, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it listens
            with line.in_box(*asking, **pipes) as client:
                try:
                    yield client
                finally:
                    client.kill()
        finally:
            server.kill()


def _ask(client: subprocess.Popen[bytes], pause_s: float, size: int) -> float:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{pause_s} {size}\n".encode())
    client.stdin.flush()
    return float(client.stdout.readline())


def _segment(*, syn: bool) -> bytes:
    ip = bytes([0x45, 0, 0, 40]) + bytes(5) + bytes([6]) + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    tcp = struct.pack(">HHIIBBHHH", 40_000, 8883, 0, 0, 0x50, 0x02 if syn else 0x10, 0, 0, 0)
    return bytes(12) + struct.pack(">H", 0x0800) + ip + tcp
