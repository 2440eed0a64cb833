"""Three Mbit/s of video asked over a line of two, 40 ms round trip: the picture degrades and nothing else.

Over ten minutes: heartbeats and command replies in time, live delay, no disconnect. Then warm and cold starts
over the same line, idle, of a sub stream as recorders are delivered with: CIF, keyframes of some 26 KB.
Percentiles against the bars; fails when one is missed.

    python tests/long/narrow.py --minutes 10
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from far_city import FarCity, inside

from edge_agent.demo.settings import SITE
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.hearing import Fact, Heard
from edge_agent.iccc.live import LiveFragment
from edge_agent.iccc.measure import LiveMeasured, decodes, measure_live
from edge_agent.model import Role
from edge_agent.uplink.messages import Birth, Heartbeat, wall_us

STARTS = 20
OPERATOR = "measurement"
BARS = {
    "heartbeat p99": 200.0,
    "reply p99": 300.0,
    "live delay p50": 700.0,
    "warm first record p95": 150.0,
    "warm first picture p95": 300.0,
    "cold first record p95": 450.0,
    "cold first picture p95": 700.0,
    "disconnects": 0.0,
}


class Lateness:
    """Of every heartbeat: from its time stamp to its arrival. Both clocks are this machine's."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.births = 0

    def __call__(self, fact: Fact) -> None:
        if not isinstance(fact, Heard) or fact.retained:
            return
        if isinstance(fact.message, Heartbeat):
            self.ms.append((time.time_ns() / 1000 - wall_us(fact.message.ts)) / 1000)
        elif isinstance(fact.message, Birth):
            self.births += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    changes = {"uplink": {"heartbeat_s": 1, "media_linger_s": 2}, "capture": {"sub": "warm"}}
    with tempfile.TemporaryDirectory(prefix="edge-agent-narrow-") as directory:
        shapes = {"main": "1920x1080@25", "main_kbps": 3000, "sub": "352x288@15", "h265": "none"}
        with FarCity(Path(directory) / "state", cameras=2, changes=changes, **shapes) as city:
            city.wait_until_seeing(2)
            city.lab.mobile()
            with inside(city.lab.city):
                found = saturated(city, seconds) | starts(city.client)
    return report(found)


def saturated(city: FarCity, seconds: float) -> dict[str, float]:
    late = Lateness()
    city.client.listen(late)
    watched: list[LiveMeasured] = []
    viewer = threading.Thread(
        target=lambda: watched.append(
            measure_live(city.client, SITE, "cam-01", Role.MAIN, watch_s=seconds, operator=OPERATOR)
        )
    )
    time.sleep(3)
    late.ms.clear()
    late.births = 0
    viewer.start()
    replies = []
    while viewer.is_alive():
        asked_s = time.monotonic()
        city.client.command(SITE, "cameras.list", operator=OPERATOR, reason="measurement")
        replies.append((time.monotonic() - asked_s) * 1000)
        time.sleep(1.5)
    delays = watched[0].delays_ms
    dropped = city.status()["link"]["dropped_records"]
    print(f"{len(late.ms)} heartbeats, {len(replies)} replies, {len(delays)} fragments, {dropped} dropped")
    print(f"live delay p95 {_at(delays, 95):.0f} ms, watched {watched[0].width}x{watched[0].height}")
    return {
        "heartbeat p99": _at(late.ms, 99),
        "reply p99": _at(replies, 99),
        "live delay p50": _at(delays, 50),
        "disconnects": float(late.births),
    }


def starts(client: IcccClient) -> dict[str, float]:
    """Warm: the media connection is open. Cold: its certificate and three round trips come first."""
    found = {}
    for name, pause_s in (("warm", 0.3), ("cold", 4.0)):
        measured = []
        for _ in range(STARTS + 1):
            time.sleep(pause_s)
            measured.append(start(client))
        records, pictures = zip(*measured[1:], strict=True)
        found |= {
            f"{name} first record p95": _at(records, 95),
            f"{name} first picture p95": _at(pictures, 95),
        }
    return found


def start(client: IcccClient) -> tuple[float, float]:
    """Milliseconds from just before the command to the first record, and to a picture that decodes."""
    with client.live(SITE, "cam-01", Role.SUB, operator=OPERATOR, reason="measurement") as stream:
        first_ms, head = 0.0, b""
        while (ms := (time.monotonic() - stream.asked_s) * 1000) < 10_000:
            item = stream.next_item(0.02)
            if item is None:
                continue
            ms = (time.monotonic() - stream.asked_s) * 1000
            first_ms = first_ms or ms
            head += item.data
            if isinstance(item, LiveFragment) and decodes(head):
                break
        return first_ms, ms


def report(found: dict[str, float]) -> int:
    for name, bar in BARS.items():
        print(f"{name}: {found[name]:.0f} (bar {bar:.0f}){'' if found[name] <= bar else '  MISSED'}")
    return 0 if all(found[name] <= bar for name, bar in BARS.items()) else 1


def _at(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 1e4


if __name__ == "__main__":
    raise SystemExit(main())
