"""Plays the demo's own past back, as an operator would, and decodes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.demo.settings import SITE
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.measure import first_playback_picture_ms, measure_playback
from edge_agent.model import Role

STRETCH_US = 12_000_000  # longer than a segment of the demo: a boundary is always crossed
RECORDED_S = 30.0
STARTS = 20
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Replayed:
    frames: int
    first_picture_ms: list[float | None]
    problems: list[str]


def replay(client: IcccClient, cameras: Sequence[str], operator: str) -> Replayed:
    """One stretch of the first camera in full, then warm starts in turn over all. Raises EdgeAgentError."""
    from_us = _wait_for_footage(client, cameras[0], operator)
    played = measure_playback(
        client, SITE, cameras[0], Role.MAIN, from_us, from_us + STRETCH_US, operator=operator
    )
    problems = []
    if not played.complete or played.holes:
        problems.append(f"playback has {played.holes} gaps, complete: {played.complete}")
    if played.pictures != played.samples:
        problems.append(f"of {played.samples} frames played back only {played.pictures} decode")
    starts = [
        first_playback_picture_ms(
            client, SITE, cameras[number % len(cameras)], Role.MAIN,
            from_us + number * STRETCH_US // STARTS, operator=operator,
        )
        for number in range(STARTS)
    ]  # fmt: skip
    if None in starts:
        problems.append("a playback brought no picture")
    return Replayed(played.pictures, starts, problems)


def _wait_for_footage(client: IcccClient, camera: str, operator: str) -> int:
    """Where the newest piece that is long enough begins."""
    give_up = time.monotonic() + RECORDED_S
    while time.monotonic() < give_up:
        now_us = time.time_ns() // 1000
        found = client.coverage(SITE, camera, Role.MAIN, now_us - DAY_US, now_us, operator=operator)
        if found.spans and found.spans[-1].to_us - found.spans[-1].from_us > STRETCH_US:
            return found.spans[-1].to_us - STRETCH_US
        time.sleep(1.0)
    raise EdgeAgentError(f"{camera}: no {STRETCH_US // 1_000_000} s of footage in one piece")
