"""What one conversion costs: a virtual recorder's stream through a real compatibility process.

    python bench/compat_cost.py [--codec mjpeg|mpeg4] [--main 1280x720@10] [--seconds 30]

CPU time and memory are those of the process alone, as /proc tells them, from its first picture on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time

import psutil

from edge_agent.capture import compat_wire as wire
from edge_agent.capture.compat_pool import COMMAND
from edge_agent.capture.decode_child import bare_environment
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Endpoint


def main() -> None:
    options = _parser().parse_args()
    shape = {"main": options.main, "sub": "160x90@12", "h265": "none", "interface": "none"}
    with VirtualDvr(1, host="127.0.0.78", serial="4E01B7EPCOST", **shape) as recorder:
        recorder.control.set_channel(1, **{options.codec: True})
        print(f"{options.codec} {options.main}: {measure(recorder.endpoint(1), options.seconds)}")


def measure(endpoint: Endpoint, seconds: float) -> str:
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/", env=bare_environment()
    )
    try:
        return _figures(process, endpoint, seconds)
    finally:
        process.terminate()
        process.wait()


def _figures(process: subprocess.Popen[bytes], endpoint: Endpoint, seconds: float) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    watched, inflow = psutil.Process(process.pid), wire.Inflow()
    pictures = size = 0
    began_s = cpu_s = 0.0
    while not pictures or time.monotonic() - began_s < seconds:
        received = os.read(process.stdout.fileno(), 1 << 16)
        if not received:
            raise SystemExit("the process ended")
        for message in inflow.feed(received):
            if isinstance(message, wire.Ready):
                process.stdin.write(wire.encode_order(_order(endpoint)))
            elif isinstance(message, wire.Unit):
                if not pictures:
                    began_s, cpu_s = time.monotonic(), _cpu_s(watched)
                pictures += 1
                size += sum(map(len, message.nals))
            elif isinstance(message, wire.Failed):
                raise SystemExit(message.sentence)
    took_s = time.monotonic() - began_s
    used_s, memory = _cpu_s(watched) - cpu_s, watched.memory_info().rss / 2**20
    cost = f"{used_s / took_s:.1%} of a core, {used_s / pictures * 1000:.1f} ms a picture, {memory:.0f} MB"
    return f"{cost}; {pictures / took_s:.1f} pictures/s, {size * 0.008 / took_s:.0f} kbit/s"


def _order(endpoint: Endpoint) -> wire.Order:
    login = endpoint.credentials
    assert login is not None
    return wire.Order(
        endpoint.url, endpoint.host, endpoint.port, wire.Way.RTSP, login.username, login.password
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--codec", choices=("mjpeg", "mpeg4"), default="mjpeg")
    parser.add_argument("--main", default="1280x720@10", metavar="WxH@FPS")
    parser.add_argument("--seconds", type=float, default=30.0)
    return parser


if __name__ == "__main__":
    main()
