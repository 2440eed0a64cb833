"""`onvif`: what asking recorders in ONVIF adds to the memory of the running agent.

The same eight recorders with the same streams, more and more of them found by ONVIF, the others by their
maker's stream URLs: what differs is the library, its documents, a conversation and a pull point a recorder.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tomlkit

from bench.parties import AGENT
from bench.process import MIB, Memory, memory
from bench.table import Row, table
from edge_agent.demo.child import Child
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.settings import base64_text
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control_wire import ControlError, call
from edge_agent.seal.keys import generate_recipient

RECORDERS = 8
BY_ONVIF = (0, 1, 2, 4, 8)
BAR_MB = 40
START_S = 90.0
CLOSED_PORT = 9  # discard: nothing listens there


def run(directory: Path, rounds: int, settle_s: float) -> str:
    """Raises EdgeAgentError when an agent does not come up with all of its cameras."""
    seen: dict[int, list[Memory]] = {count: [] for count in BY_ONVIF}
    with ExitStack() as stack:
        recorders = [stack.enter_context(_recorder(number)) for number in range(RECORDERS)]
        for _ in range(rounds):
            for count in BY_ONVIF:
                seen[count].append(_measure(recorders, directory / "agent", count, settle_s))
    return table(
        f"ONVIF, memory of the daemon with {RECORDERS} recorders",
        ("found by ONVIF", "PSS", "RSS", "added PSS", "added RSS", "bar"),
        _rows(seen),
    )


def _rows(seen: dict[int, list[Memory]]) -> list[Row]:
    base = seen[0]
    rows: list[Row] = []
    for count, found in seen.items():
        added = [(m.pss - b.pss, m.rss - b.rss) for m, b in zip(found, base, strict=True)]
        rows.append(
            (
                count,
                _shown([m.pss for m in found]),
                _shown([m.rss for m in found]),
                _shown([pss for pss, _ in added]) if count else "",
                _shown([rss for _, rss in added]) if count else "",
                f"{BAR_MB} MB" if count else "",
            )
        )
    return rows


def _shown(octets: Sequence[int]) -> str:
    """Median and range in MB, as the bar is in MB."""
    values = [each / 1e6 for each in octets]
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def _recorder(number: int) -> VirtualDvr:
    """Eight inputs each, in small pictures: what ONVIF has to list, not what is recorded, is of interest."""
    return VirtualDvr(
        8,
        host=f"127.0.0.{110 + number}",
        serial=f"4E01B7EBENCH{number:04d}",
        main="160x90@12",
        sub="160x90@12",
        h265="none",
        interface="none",
    )


def _measure(recorders: Sequence[VirtualDvr], directory: Path, by_onvif: int, settle_s: float) -> Memory:
    directory.mkdir(parents=True)
    config = directory / "edge-agent.toml"
    config.write_text(tomlkit.dumps(_configuration(recorders, directory, by_onvif)), encoding="utf-8")
    agent = Child("agent", [*AGENT, str(config)], directory / "agent.log")
    agent.start()
    try:
        _await(agent, lambda: _playing(directory) == len(recorders), "pictures of every recorder")
        _await(agent, lambda: _pull_points(recorders) == by_onvif, f"{by_onvif} pull points")
        time.sleep(settle_s)
        assert agent.pid is not None
        return memory(agent.pid)
    finally:
        agent.stop()
        shutil.rmtree(directory)


def _playing(directory: Path) -> int:
    try:
        cameras = call(directory / "control.sock", "status", {})["cameras"]
    except ControlError:
        return 0
    return sum(any(s["kbps"] > 0 for s in camera["streams"].values()) for camera in cameras)


def _pull_points(recorders: Sequence[VirtualDvr]) -> int:
    return sum(int(str(recorder.control.state()["pull_points"])) for recorder in recorders)


def _await(agent: Child, true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        if not agent.running or time.monotonic() > deadline:
            raise EdgeAgentError(f"the agent does not get {what}: {agent.last_words()}")
        time.sleep(0.5)


def _configuration(recorders: Sequence[VirtualDvr], directory: Path, by_onvif: int) -> dict[str, Any]:
    entries = [
        {
            "name": f"dvr-{number}",
            "address": recorder.host,
            "onvif_port": recorder.http_port if number < by_onvif else CLOSED_PORT,
            "rtsp_port": recorder.rtsp_port,
            "username": recorder.credentials.username,
            "password": recorder.credentials.password,
            "brand": "dahua",
            "channels": [1],
        }
        for number, recorder in enumerate(recorders)
    ]
    return {
        "site": {"id": "bench", "name": "Bench"},
        "state": {"directory": str(directory)},
        "discovery": {"enabled": False},
        "recorders": entries,
        "capture": {"sub": "off"},
        "ring": {"directory": str(directory / "ring"), "min_free_bytes": 256 * MIB},
        "keys": {"recipients": [{"id": "iccc", "public_key": base64_text(generate_recipient()[1])}]},
        "uplink": {"enabled": False},
        "snapshots": {"enabled": False},
        "log_level": "WARNING",
    }
