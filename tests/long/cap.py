"""`uplink.max_kbps` on a line that carries more: every IP packet counted, over any ten seconds within 5 %.

Two viewers ask for 3 Mbit/s each through a cap of 1 Mbit/s, then one plays a recording as fast as it comes.

    python tests/long/cap.py --seconds 60
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from far_city import FarCity, inside

from edge_agent.demo.settings import SITE
from edge_agent.iccc.measure import measure_live, measure_playback
from edge_agent.model import Role

CAP_KBPS = 1000
SAMPLE_S, SPAN_S = 0.5, 10.0
ALLOWED = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    changes = {"uplink": {"heartbeat_s": 5, "max_kbps": CAP_KBPS}}
    shapes = {"main": "1920x1080@25", "main_kbps": 3000, "sub": "352x288@15", "h265": "none"}
    with (
        tempfile.TemporaryDirectory(prefix="edge-agent-cap-") as directory,
        FarCity(Path(directory) / "state", cameras=2, changes=changes, **shapes) as city,
    ):
        city.wait_until_seeing(2)
        city.lab.mobile(rate_bps=20e6)
        with inside(city.lab.city):
            worst = max(live(city, seconds), playback(city))
    print(f"most over any {SPAN_S:.0f} s: {worst:.0f} kbit/s, cap {CAP_KBPS}")
    return 0 if worst <= CAP_KBPS * ALLOWED else 1


def live(city: FarCity, seconds: float) -> float:
    def watch(camera: str) -> None:
        measure_live(city.client, SITE, camera, Role.MAIN, watch_s=seconds, operator="m")

    return most_while(
        city, [threading.Thread(target=watch, args=(camera,)) for camera in ("cam-01", "cam-02")]
    )


def playback(city: FarCity) -> float:
    now_us = time.time_ns() // 1000

    def play() -> None:
        measure_playback(
            city.client, SITE, "cam-01", Role.MAIN, now_us - 15_000_000, now_us - 5_000_000, operator="m"
        )

    return most_while(city, [threading.Thread(target=play)])


def most_while(city: FarCity, viewers: list[threading.Thread]) -> float:
    """Kbit/s upwards over the worst ten seconds while the viewers watch."""
    for viewer in viewers:
        viewer.start()
    samples = [(time.monotonic(), city.lab.counters()["up"]["bytes"])]
    while any(viewer.is_alive() for viewer in viewers):
        time.sleep(SAMPLE_S)
        samples.append((time.monotonic(), city.lab.counters()["up"]["bytes"]))
    spans = [
        (after[1] - before[1]) * 8 / 1000 / (after[0] - before[0])
        for index, before in enumerate(samples)
        for after in samples[index:]
        if SPAN_S <= after[0] - before[0] < SPAN_S + SAMPLE_S
    ]
    print(f"{max(spans):.0f} kbit/s at most, {min(spans):.0f} at least")
    return max(spans)


if __name__ == "__main__":
    raise SystemExit(main())
