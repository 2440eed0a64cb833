"""CPU in steady state, of several parties that take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.parties import CAMERA_BYTES_S, Party, footage_bytes, settle
from bench.process import tree_cpu_s
from edge_agent.errors import EdgeAgentError

LEAST_RECORDED = 0.8  # of what the cameras send: who writes less has not done the work


@dataclass(frozen=True, slots=True)
class Plan:
    """A party records for `settle_s` before its `window_s` is measured; all do so in each of `rounds`."""

    rounds: int
    settle_s: float
    window_s: float


def take_turns(makers: Sequence[Callable[[], Party]], plan: Plan) -> dict[str, list[float]]:
    """CPU seconds a second by party and round. A B A B: what else the machine does meets them alike."""
    shares: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for make in makers:
            with make() as party:
                settle(party)
                time.sleep(plan.settle_s)
                shares.setdefault(party.name, []).append(measure(party, plan.window_s))
    return shares


def measure(party: Party, window_s: float) -> float:
    """A long run minus a short one: two readings, both well after the start. Raises EdgeAgentError."""
    began_s, cpu_s, size = time.monotonic(), tree_cpu_s(party.pids), footage_bytes(party)
    time.sleep(window_s)
    party.check()
    cpu_s, size = tree_cpu_s(party.pids) - cpu_s, footage_bytes(party) - size
    took_s = time.monotonic() - began_s
    recorded = size / took_s / (party.cameras * CAMERA_BYTES_S)
    if recorded < LEAST_RECORDED:
        raise EdgeAgentError(f"{party.name} wrote {recorded:.0%} of what the cameras send")
    return cpu_s / took_s


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(one, other, strict=True)]


def shown(values: Sequence[float]) -> str:
    """`1.04 (0.98-1.11)`: the median and the range of the rounds."""
    middle = statistics.median(values)
    return f"{middle:.2f} ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else f"{middle:.2f}"
