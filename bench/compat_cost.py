"""`compat`: what one conversion costs: a virtual recorder's stream through a real compatibility process.

CPU time and memory are those of the process alone, as /proc tells them, from its first picture on.
"""

from __future__ import annotations

import os
import subprocess
import time

import psutil

from bench.table import Row, table
from edge_agent.capture import compat_wire as wire
from edge_agent.capture.compat_pool import COMMAND
from edge_agent.capture.decode_child import bare_environment
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Endpoint

CODECS = ("mjpeg", "mpeg4")
SHAPES = ("640x360@10", "1280x720@10")


def run(seconds: float) -> str:
    rows = [_row(codec, shape, seconds) for codec in CODECS for shape in SHAPES]
    head = ("codec", "stream", "of a core", "a picture", "memory", "pictures/s", "out")
    return table("Compatibility process, one stream", head, rows)


def _row(codec: str, main: str, seconds: float) -> Row:
    with VirtualDvr(
        1, host="127.0.0.78", serial="4E01B7EPCOST", main=main, sub="160x90@12", h265="none", interface="none"
    ) as recorder:
        recorder.control.set_channel(1, **{codec: True})
        return (codec, main, *measure(recorder.endpoint(1), seconds))


def measure(endpoint: Endpoint, seconds: float) -> tuple[str, ...]:
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/", env=bare_environment()
    )
    try:
        return _figures(process, endpoint, seconds)
    finally:
        process.terminate()
        process.wait()


def _figures(process: subprocess.Popen[bytes], endpoint: Endpoint, seconds: float) -> tuple[str, ...]:
    assert process.stdin is not None
    assert process.stdout is not None
    watched, inflow = psutil.Process(process.pid), wire.Inflow()
    pictures = size = 0
    began_s = cpu_s = 0.0
    while not pictures or time.monotonic() - began_s < seconds:
        received = os.read(process.stdout.fileno(), 1 << 16)
        if not received:
            raise EdgeAgentError("the compatibility process ended")
        for message in inflow.feed(received):
            if isinstance(message, wire.Ready):
                process.stdin.write(wire.encode_order(_order(endpoint)))
            elif isinstance(message, wire.Unit):
                if not pictures:
                    began_s, cpu_s = time.monotonic(), _cpu_s(watched)
                pictures += 1
                size += sum(map(len, message.nals))
            elif isinstance(message, wire.Failed):
                raise EdgeAgentError(message.sentence)
    took_s = time.monotonic() - began_s
    used_s, memory = _cpu_s(watched) - cpu_s, watched.memory_info().rss / 2**20
    return (
        f"{used_s / took_s:.1%}", f"{used_s / pictures * 1000:.1f} ms", f"{memory:.0f} MB",
        f"{pictures / took_s:.1f}", f"{size * 0.008 / took_s:.0f} kbit/s",
    )  # fmt: skip


def _order(endpoint: Endpoint) -> wire.Order:
    login = endpoint.credentials
    assert login is not None
    return wire.Order(
        endpoint.url, endpoint.host, endpoint.port, wire.Way.RTSP, login.username, login.password
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
