"""What ONVIF adds to the memory of the daemon: at most 40 MB, whatever the number of recorders.

A child process that has loaded what the daemon loads asks four recorders, which are processes of their own,
and listens to the events of each, as the daemon does. `make bench ARGS=onvif` measures the daemon itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from edge_agent.demo.dvr.client import VirtualDvr

BAR_BYTES = 40_000_000
FLAT_BYTES = 1_000_000

CHILD = """
import json, os, sys, time
from pathlib import Path
from threading import Event, Thread

import edge_agent.app
from edge_agent.capture import device
from edge_agent.capture.device_events import DeviceEvent, EventSource
from edge_agent.capture.event_pool import EventPool
from edge_agent.capture.lockout import Lockouts
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.model import Credentials

def rss():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024

def ask(host, port):
    name = f"{host}:{port}"
    report = device.probe(host, port, credentials, clock=clock, gate=gate)
    tokens = tuple((c.source_token, c.number) for c in report.channels)
    path, events_port = report.events
    pool.watch(EventSource(name, host, events_port, path, credentials, tokens))
    until = time.monotonic() + 20
    while not (isinstance(fact := inbox.take(1), DeviceEvent) and fact.recorder == name):
        assert time.monotonic() < until, fact

clock, gate, inbox, stop = SystemClock(), Lockouts(), BoundedInbox(), Event()
credentials = Credentials("admin", "admin123")
pool = EventPool(clock, inbox, gate)
Thread(target=pool.run, args=(stop, lambda: None)).start()
seen = [rss()]
heavy = [name for name in ("lxml", "zeep", "requests") if name in sys.modules]
for host, port in json.loads(sys.argv[1]):
    asked = Thread(target=ask, args=(host, port))  # the finder has a thread of its own
    asked.start()
    asked.join()
    seen.append(rss())
print(json.dumps({"seen": seen, "heavy": heavy}), flush=True)
os._exit(0)
"""


@pytest.fixture
def recorders() -> Iterator[list[VirtualDvr]]:
    shapes: dict[str, Any] = {"main": "160x90@12", "sub": "160x90@12", "h265": "none", "interface": "none"}
    found = [VirtualDvr(8, host=f"127.0.0.{80 + n}", serial=f"4E01B7EMEM{n:04d}", **shapes) for n in range(4)]
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        for dvr in found:
            stack.callback(dvr.stop)
        list(pool.map(VirtualDvr.start, found))
        yield found


def test_onvif_adds_at_most_forty_megabytes_and_no_more_for_further_recorders(
    recorders: list[VirtualDvr],
) -> None:
    addresses = json.dumps([(dvr.host, dvr.http_port) for dvr in recorders])

    said = subprocess.run(
        [sys.executable, "-c", CHILD, addresses], capture_output=True, check=True, timeout=90, text=True
    )

    told = json.loads(said.stdout)
    base, _, second, _, fourth = told["seen"]
    assert told["heavy"] == []
    assert fourth - base <= BAR_BYTES, told
    assert fourth - second <= FLAT_BYTES, told
