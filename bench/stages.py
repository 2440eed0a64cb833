"""`profile`: where the agent's time goes, room by room."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.parties import START_S, Agent, recorder, settle
from bench.steady import Plan
from bench.stopwatch import SELF
from bench.table import Row, table
from edge_agent.errors import EdgeAgentError

LEAST_SHARE = 0.005


def run(directory: Path, cameras: int, plan: Plan) -> str:
    """Stopwatches slow what they time: read the shares, and take the whole from `record`."""
    report, after_s = directory / "rooms.json", 2 * plan.settle_s + 4
    watched = (sys.executable, "-m", "bench.stopwatch", str(report), str(after_s), str(plan.window_s))
    with recorder(cameras) as dvr, Agent(dvr, directory / "agent", cameras, command=watched) as agent:
        settle(agent)
        spent = _await(report, agent, after_s + plan.window_s + START_S)
    whole = spent.pop("all")
    rest = spent.pop(SELF)
    ranked = sorted(spent.items(), key=lambda item: -item[1])
    rows: list[Row] = [(room, f"{s / whole:.1%}") for room, s in ranked if s / whole >= LEAST_SHARE]
    rows.append((f"({SELF}, included above)", f"{rest / whole:.1%}"))
    return table(f"Where the time goes, {cameras} cameras", ("room", "share of the agent's CPU"), rows)


def _await(report: Path, agent: Agent, patience_s: float) -> dict[str, float]:
    deadline = time.monotonic() + patience_s
    while not report.exists():
        agent.check()
        if time.monotonic() > deadline:
            raise EdgeAgentError("the agent under the stopwatch wrote no report")
        time.sleep(0.25)
    found: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
    return found
