"""The agent with stopwatches at its seams: `python -m bench.stopwatch REPORT AFTER_S FOR_S CONFIG`.

Every call across one of the seams in `SEAMS` is timed by its thread's CPU clock; what a seam spends inside
another one counts for that one. Writes REPORT after the window, and goes on recording.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Thread, local
from typing import Any

from bench.process import cpu_s
from edge_agent import app
from edge_agent.capture import fmp4, recorder, rtsp, rtsp_session, stream, visit
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.rtp import AccessUnits
from edge_agent.ring.intake import Intake
from edge_agent.ring.store import Store
from edge_agent.ring.writer import RingWriter
from edge_agent.seal import sealer

SEAMS: tuple[tuple[str, Any, str], ...] = (
    ("capture: select, one round of the loop", CaptureLoop, "_read"),
    ("capture: deadlines, statistics", CaptureLoop, "_tick"),
    ("capture: recv, one visit's turn", visit.Visit, "_read"),
    ("capture: RTSP, sorting of frames", rtsp_session.RtspSession, "receive"),
    ("capture: interleaved frames", rtsp.Demultiplexer, "feed"),
    ("capture: RTP, depacketizing", AccessUnits, "feed"),
    ("capture: timeline, runs", stream.Stream, "feed"),
    ("capture: epochs, credit, taps", recorder.Recorder, "take"),
    ("capture: fMP4", fmp4, "fragment"),
    ("seal: encryption, header", sealer.StreamSealer, "seal"),
    ("seal: SHA-256, joining", sealer, "build_record"),
    ("ring: intake", Intake, "put"),
    ("ring: batches, index", RingWriter, "cycle"),
    ("ring: writev", Store, "write"),
    ("ring: fdatasync", Store, "sync"),
)
TIMED_THREADS = ("capture", "ring-main", "ring-sub")
SELF = "the stopwatches themselves"


class Stopwatch:
    """CPU nanoseconds and calls by room, over all threads."""

    def __init__(self, clock: Callable[[], int] = time.thread_time_ns) -> None:
        self.spent_ns: Counter[str] = Counter()
        self.calls = 0
        self._clock = clock
        self._thread = local()

    def at(self, room: str, function: Callable[..., Any]) -> Callable[..., Any]:
        thread, spent_ns, clock = self._thread, self.spent_ns, self._clock

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            outer_ns, thread.inner_ns = getattr(thread, "inner_ns", 0), 0
            began_ns = clock()
            try:
                return function(*args, **kwargs)
            finally:
                took_ns = clock() - began_ns
                spent_ns[room] += took_ns - thread.inner_ns
                thread.inner_ns = outer_ns + took_ns
                self.calls += 1

        return timed


def main() -> None:
    report, after_s, for_s, path = sys.argv[1:]
    watch = Stopwatch()
    for room, owner, name in SEAMS:
        setattr(owner, name, watch.at(room, getattr(owner, name)))
    observer = (watch, Path(report), float(after_s), float(for_s))
    Thread(target=_observe, args=observer, name="observer", daemon=True).start()
    sys.exit(app.run(Path(path)))


def _observe(watch: Stopwatch, report: Path, after_s: float, for_s: float) -> None:
    time.sleep(after_s)
    cost_s = _cost_s()
    began_s, before = time.monotonic(), _reading(watch, cost_s)
    time.sleep(for_s)
    spent_s = {room: s - before.get(room, 0.0) for room, s in _reading(watch, cost_s).items()}
    took_s = time.monotonic() - began_s
    fresh = report.with_suffix(".new")
    fresh.write_text(json.dumps({room: s / took_s for room, s in spent_s.items()}), encoding="utf-8")
    fresh.rename(report)


def _reading(watch: Stopwatch, cost_s: float) -> dict[str, float]:
    """CPU seconds so far: by room, and for the threads without a stopwatch by thread."""
    reading = {room: watch.spent_ns[room] / 1e9 for room, _, _ in SEAMS}
    reading[SELF] = watch.calls * cost_s
    timed_s = 0.0
    for thread in threading.enumerate():
        if thread.ident is not None and thread.name != "observer":
            used_s = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            if thread.name in TIMED_THREADS:
                timed_s += used_s
            else:
                reading[f"thread: {thread.name}"] = used_s
    reading["capture, ring: the rest"] = timed_s - sum(watch.spent_ns.values()) / 1e9
    reading["all"] = cpu_s(0)
    return reading


def _cost_s() -> float:
    """What one timed call costs more than a call."""
    empty = Stopwatch().at("", lambda: None)
    began_s = time.thread_time()
    for _ in range(1000):
        empty()
    return (time.thread_time() - began_s) / 1000


if __name__ == "__main__":
    main()
