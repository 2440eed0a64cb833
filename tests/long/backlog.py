"""Seven days of facts, offline, over a line of 512 kbit/s: how soon does the command centre have them all?

A week of minute marks and urgent facts goes through the box's real ledger while the line is dead; the agent
is killed -9 three times meanwhile, and the broker restarted while the backlog drains. Every leaf must stand
exactly once in the mirror's tree, byte for byte; drained within 120 s for a week, heartbeats meanwhile
p99 <= 500 ms.

    python tests/long/backlog.py --days 7
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from far_city import FarCity, inside, wait_for
from narrow import Lateness, _at

from edge_agent.clock import ManualClock
from edge_agent.demo.settings import SITE
from edge_agent.events import BoundedInbox
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Origin
from edge_agent.ledger import leaf
from edge_agent.ledger.checkpoint import origin_of
from edge_agent.ledger.file import LedgerFile
from edge_agent.ledger.leaf import CameraMark
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.seal.keys import BoxKey

MINUTES_A_DAY, URGENT_A_DAY, KILLS = 24 * 60, 715, 3
DRAIN_BAR_S, HEARTBEAT_BAR_MS, MEMORY_BAR_MB = 120.0 / 7, 500.0, 150.0  # the first: for each day
RATE_BPS, ROUND_TRIP_S = 512e3, 0.04
CHANGES = {"uplink": {"heartbeat_s": 1}, "snapshots": {"enabled": False}, "capture": {"sub": "off"}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    days = parser.parse_args().days
    with tempfile.TemporaryDirectory(prefix="edge-agent-backlog-") as directory:
        shapes = {"main": "320x180@5", "sub": "160x90@5", "h265": "none"}
        with FarCity(Path(directory) / "state", cameras=1, changes=CHANGES, **shapes) as city:
            city.wait_until_seeing(1)
            city.lab.mobile(RATE_BPS, ROUND_TRIP_S)
            wait_for(lambda: mirrored(city) > 0, 60, city.agent.last_words)
            days_offline(city, days * MINUTES_A_DAY, days * URGENT_A_DAY)
            drained_s, late = drain(city, days * DRAIN_BAR_S)
            memory_mb = sizes(city)
            city.agent.stop()
            return report(days, drained_s, late, memory_mb, compare(city))


def days_offline(city: FarCity, minutes: int, urgent: int) -> None:
    """The agent runs, offline, between the thirds of the week and is killed each time."""
    city.lab.silence()
    for third in range(KILLS):
        assert city.agent.pid is not None
        os.kill(city.agent.pid, signal.SIGKILL)
        wait_for(lambda: not city.agent.running, 10, city.agent.last_words)
        write_days(city, minutes * third // KILLS, minutes * (third + 1) // KILLS, urgent / minutes)
        city.restart_agent()
        wait_for(lambda: city._seeing() == 1, 60, city.agent.last_words)


def write_days(city: FarCity, first: int, end: int, urgent_a_minute: float) -> None:
    """What the agent would have noted in these minutes, through its own ledger."""
    box = BoxKey.load_or_create(city.layout.agent / "box.key")
    clock, chance = ManualClock(), random.Random(first)
    clock.advance(first * 60.0)
    writer = LedgerWriter(
        directory=city.layout.agent / "ledger", origin=origin_of(SITE, box.public), sign=box.sign,
        public=box.public, clock=clock, inbox=BoundedInbox(),
    )  # fmt: skip
    for minute in range(first, end):
        told = round((minute + 1) * urgent_a_minute) - round(minute * urgent_a_minute)
        for _ in range(told):
            clock.advance(chance.uniform(1, 9))
            writer.append("camera", an_outage(chance), urgent=True)
        cameras = [chance.choice((CameraMark.UP, CameraMark.LOST)) for _ in range(8)]
        data = leaf.mark(7, [minute, minute + 3], chance.randbytes(32), cameras, chance.randbytes(32))
        writer.append("mark", data)
        clock.advance(30)
        if minute % 60 == 0:
            writer.turn(last=True)
    writer.turn(last=True)


def an_outage(chance: random.Random) -> dict[str, leaf.Json]:
    camera = f"cam-{chance.randint(1, 8):02d}"
    since = (
        f"2026-11-{chance.randint(1, 28):02d}T{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:07.312Z"
    )
    return {
        "camera": camera, "state": chance.choice(("down", "up")), "since": since, "verdict": "camera_lost",
        "confidence": round(chance.random(), 2), "text": "main: no packets for 5 s; sub: no packets for 5 s",
    }  # fmt: skip


def drain(city: FarCity, bar_s: float) -> tuple[float, list[float]]:
    """Seconds from the line's return until the mirror has all; heartbeats' delays in ms meanwhile."""
    target = city.status()["ledger"]["size"]
    before, late = mirrored(city), Lateness()
    with inside(city.lab.city):
        city.client.listen(late)
    city.lab.mobile(RATE_BPS, ROUND_TRIP_S)
    began, counted, restarted = time.monotonic(), city.lab.counters()["up"]["bytes"], False
    while (have := mirrored(city)) < target:
        seconds = time.monotonic() - began
        assert seconds < 5 * bar_s, f"{have} of {target} leaves: {city.agent.last_words()}"
        if not restarted and received(city) > (before + target) // 2:
            city.restart_broker()
            restarted = True
        time.sleep(0.25)
    seconds = time.monotonic() - began
    sent = city.lab.counters()["up"]["bytes"] - counted
    print(f"{target - before} leaves in {seconds:.1f} s, {sent / 1e6:.2f} MB up, restarted: {restarted}")
    return seconds, list(late.ms)


def compare(city: FarCity) -> str:
    """Empty when the mirror's verified leaves are the box's own, each once."""
    mine = LedgerFile(city.layout.agent / "ledger")
    store = LedgerStore(city.layout.mirror)
    try:
        origin = _origin(store)
        if store.leaves(origin.name, 0, origin.size) != mine.entries(0, origin.size):
            return "the mirror's leaves are not the box's"
        if origin.root != mine.root(origin.size):
            return "the roots differ"
        print(f"{origin.size} leaves in the mirror's tree, {mine.size} at the box")
    finally:
        store.close()
    return ""


def sizes(city: FarCity) -> float:
    """The agent's highest resident memory in MB since it was last started; prints what the ledger takes."""
    status = Path(f"/proc/{city.agent.pid}/status").read_text(encoding="ascii")
    memory_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    disk = sum(path.stat().st_size for path in (city.layout.agent / "ledger").rglob("*"))
    print(f"ledger {disk / 1e6:.1f} MB on the disk; agent at most {memory_mb:.0f} MB of memory")
    return memory_mb


def report(days: int, drained_s: float, late: list[float], memory_mb: float, wrong: str) -> int:
    p99, bar_s = _at(late, 99), days * DRAIN_BAR_S
    print(f"heartbeats: {len(late)}, p50 {_at(late, 50):.0f} ms, p99 {p99:.0f} ms, worst {max(late):.0f} ms")
    print(wrong or f"drained in {drained_s:.1f} s, heartbeat p99 {p99:.0f} ms; bars {bar_s:.0f} s and 500 ms")
    return int(bool(wrong) or drained_s > bar_s or p99 > HEARTBEAT_BAR_MS or memory_mb > MEMORY_BAR_MB)


def mirrored(city: FarCity) -> int:
    """The size of the mirror's verified tree."""
    try:
        store = LedgerStore(city.layout.mirror)
    except sqlite3.Error:
        return 0
    try:
        return _origin(store).size
    finally:
        store.close()


def received(city: FarCity) -> int:
    """Leaves in the store, verified or not yet."""
    with sqlite3.connect(city.layout.mirror, timeout=30) as db:
        count: int = db.execute("SELECT count(*) FROM leaves").fetchone()[0]
    db.close()
    return count


def _origin(store: LedgerStore) -> Origin:
    return store.of_site(SITE)


if __name__ == "__main__":
    raise SystemExit(main())
