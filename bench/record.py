"""`record`: the agent against as many ffmpeg, CPU as a ratio, memory as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.parties import START_S, Agent, Ffmpegs, recorder, settle
from bench.process import MIB, Memory, children, memory, total_memory
from bench.steady import Plan, ratios, shown, take_turns
from bench.table import Row, table
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import EdgeAgentError

SNAPSHOT_ROUNDS = 3


def run(directory: Path, counts: Sequence[int], plan: Plan) -> str:
    rows: list[Row] = []
    for cameras in counts:
        with recorder(cameras) as dvr:
            rows.append(_cpu(dvr, directory, cameras, plan))
            rows += _memory(dvr, directory, cameras, plan.settle_s)
    return table("Recording 1080p25 at 4 Mbit/s", ("cameras", "what", "measured", "bar"), rows)


def _cpu(dvr: VirtualDvr, directory: Path, cameras: int, plan: Plan) -> Row:
    makers = (
        lambda: Agent(dvr, directory / "agent", cameras),
        lambda: Ffmpegs(dvr, directory / "ffmpeg", cameras),
    )
    shares = take_turns(makers, plan)
    ratio = ratios(shares["agent"], shares["ffmpeg"])
    return (cameras, f"CPU, agent over {cameras} ffmpeg", shown(ratio), "2.0, goal 1.2")


def _memory(dvr: VirtualDvr, directory: Path, cameras: int, settle_s: float) -> list[Row]:
    """With sub streams warm and a decode process that has made a picture of every camera, several times."""
    with Agent(dvr, directory / "agent", cameras, sub="warm") as agent:
        settle(agent)
        _all_streams(agent, 2 * cameras)
        for _ in range(SNAPSHOT_ROUNDS):
            for camera in range(1, cameras + 1):
                agent.ask("snapshot", camera=f"cam-{camera:02d}")
            time.sleep(settle_s / SNAPSHOT_ROUNDS)
        (daemon,) = agent.pids
        (decoder,) = children(daemon)
        rows: list[Row] = [
            (cameras, "memory, daemon", _shown(memory(daemon)), "150 MB"),
            (cameras, "memory, decode process", _shown(memory(decoder)), "120 MB"),
        ]
    with Ffmpegs(dvr, directory / "ffmpeg", cameras) as ffmpegs:
        settle(ffmpegs)
        time.sleep(settle_s)
        rows.append((cameras, f"memory, {cameras} ffmpeg", _shown(total_memory(ffmpegs.pids)), ""))
    return rows


def _all_streams(agent: Agent, count: int) -> None:
    deadline = time.monotonic() + START_S
    while len(agent.streams()) < count:
        if time.monotonic() > deadline:
            raise EdgeAgentError(f"only {len(agent.streams())} of {count} streams play")
        time.sleep(0.5)


def _shown(used: Memory) -> str:
    return f"{used.pss / MIB:.0f} MiB PSS, {used.rss / MIB:.0f} MiB RSS"
