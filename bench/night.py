"""`night`: a month of sixteen healthy cameras, condensed, logged and replayed by the night watch."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

from bench.table import Row, table
from edge_agent.health.decisions import CameraTurned, Sight
from edge_agent.health.replay import Replay, line

HEALTH_TESTS = Path(__file__).parents[1] / "tests" / "health"
DAY_S = 86_400


def run(days: int) -> str:
    """Makes the month by the model of a shop that the stories use; a minute of CPU for thirty days."""
    sys.path.insert(0, str(HEALTH_TESTS))
    month = importlib.import_module("month")
    began = time.process_time()
    log: list[bytes] = month.record(days)
    made_s = time.process_time() - began
    runs = [_replayed(log) for _ in range(2)]
    told = runs[0][1]
    rows: list[Row] = [
        ("signals in the log", f"{len(log):,}, {sum(map(len, log)) / 1e6:.1f} MB", ""),
        ("replay, CPU", f"{min(seconds for seconds, _ in runs):.1f} s", "10 s a month"),
        ("the same decisions twice", "yes" if runs[0][1] == runs[1][1] else "NO", "yes"),
        ("decisions", f"{len(told)}", ""),
        ("cameras called dark outside a restart", f"{_dark(log)}", "0"),
        ("shop model, condenser, log and watch, CPU", f"{made_s:.0f} s", ""),
        ("share of a core a camera, the model included", f"{made_s / days / DAY_S / 16:.5%}", "0.3 %"),
    ]
    return table(f"Night watch: {days} days of 16 healthy cameras", ("what", "measured", "bar"), rows)


def _replayed(log: list[bytes]) -> tuple[float, list[bytes]]:
    began = time.process_time()
    told = [line(decision) for decision in Replay(log)]
    return time.process_time() - began, told


def _dark(log: list[bytes]) -> int:
    decisions = list(Replay(log))
    verdicts = {d.incident.id: d.incident.cause.verdict for d in decisions if not isinstance(d, CameraTurned)}
    down = [d for d in decisions if isinstance(d, CameraTurned) and d.state is not Sight.UP]
    return sum(verdicts[turn.incident].value != "dvr_reboot" for turn in down)
