"""`watch`: what the night watch adds to the CPU of the running agent, all of its processes counted.

One daemon records throughout. Its watch is blindfolded and let see again, in turns: whatever else it and the
machine do is in both.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.parties import Agent, recorder, settle
from bench.process import cpu_s
from bench.steady import Plan, measure, ratios, shown
from bench.table import Row, table

COMMAND = (sys.executable, "-m", "bench.blindfold")
SEE, BLIND = signal.SIGUSR1, signal.SIGUSR2
STREAMS = {"off": "main stream only: its keyframes are decoded", "warm": "with sub streams, as by default"}
TURN_S = 2.0  # what was asked of the decode process before the change is done by then
LOOK_S = 10  # each camera's packets and picture are measured once in it
PAIRS_A_ROUND = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Cores, by pair, with the watch seeing and blind: of the whole agent, and of the daemon alone."""

    seeing: list[float]
    blind: list[float]
    daemon_seeing: list[float]
    daemon_blind: list[float]

    def a_camera(self, cameras: int) -> list[float]:
        """Percent of a core."""
        return [100 * (a - b) / cameras for a, b in zip(self.seeing, self.blind, strict=True)]

    def daemon_a_camera(self, cameras: int) -> list[float]:
        pairs = zip(self.daemon_seeing, self.daemon_blind, strict=True)
        return [100 * (a - b) / cameras for a, b in pairs]


def run(directory: Path, cameras: int, plan: Plan) -> str:
    rows: list[Row] = []
    with recorder(cameras) as dvr:
        for sub, what in STREAMS.items():
            with Agent(dvr, directory / "agent", cameras, sub=sub, command=COMMAND) as agent:
                settle(agent)
                time.sleep(plan.settle_s)
                rows += _rows(what, cameras, take_turns(agent, plan))
    return table(f"Night watch in the running agent, {cameras} cameras", ("what", "measured", "bar"), rows)


def take_turns(agent: Agent, plan: Plan) -> Cost:
    """Pairs of windows; each second pair begins blind, so that a slow drift falls on both alike."""
    window_s = max(LOOK_S, plan.window_s // LOOK_S * LOOK_S)
    spent: dict[tuple[str, int], list[float]] = {}
    for pair in range(PAIRS_A_ROUND * plan.rounds):
        for how in (SEE, BLIND) if pair % 2 == 0 else (BLIND, SEE):
            whole, daemon = _window(agent, how, window_s)
            spent.setdefault(("whole", how), []).append(whole)
            spent.setdefault(("daemon", how), []).append(daemon)
    return Cost(
        spent["whole", SEE], spent["whole", BLIND], spent["daemon", SEE], spent["daemon", BLIND]
    )  # fmt: skip


def _window(agent: Agent, how: signal.Signals, window_s: float) -> tuple[float, float]:
    (daemon,) = agent.pids
    os.kill(daemon, how)
    time.sleep(TURN_S)
    began_s, daemon_s = time.monotonic(), cpu_s(daemon)
    whole = measure(agent, window_s)
    return whole, (cpu_s(daemon) - daemon_s) / (time.monotonic() - began_s)


def _rows(what: str, cameras: int, cost: Cost) -> list[Row]:
    return [
        (f"{what}: added a camera", _percent(cost.a_camera(cameras)), "0.3 % of a core"),
        ("of it in the daemon", _percent(cost.daemon_a_camera(cameras)), ""),
        ("watch on over off, whole agent", shown(ratios(cost.seeing, cost.blind)), ""),
    ]


def _percent(values: Sequence[float]) -> str:
    """`0.16 % (0.12-0.21), mean 0.16 ± 0.01`: median and range of the pairs, mean and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    middle, mean = statistics.median(values), statistics.mean(values)
    return f"{middle:.2f} % ({min(values):.2f}-{max(values):.2f}), mean {mean:.2f} ± {error:.2f}"
