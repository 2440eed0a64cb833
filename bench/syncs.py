"""`syncs`: every fsync and fdatasync of the running agent, as the kernel sees them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.parties import AGENT, Agent, recorder, settle
from bench.table import Row, table
from edge_agent.demo.dvr.client import VirtualDvr

COUNTS = (2, 16)
PERIODS_S = {"ring main": 0.6, "ring sub": 5.0}
_TRACE = ("strace", "-D", "-f", "-qq", "-y", "-ttt", "-e", "trace=fsync,fdatasync")
_CALL = re.compile(r"^\d+\s+(\d+\.\d+) (fsync|fdatasync)\(\d+<([^>]*)>")


def run(directory: Path, counts: Sequence[int], settle_s: float, window_s: float) -> str:
    """Both rings record, so that each shows its own period."""
    rows: list[Row] = []
    for cameras in counts:
        with recorder(cameras) as dvr:
            seen = _count(dvr, directory, cameras, settle_s, window_s)
        for place, call in sorted(seen):
            times = seen[place, call]
            period_s = PERIODS_S.get(place)
            a_period = f"{times / window_s * period_s:.2f} in {period_s:g} s" if period_s else ""
            rows.append((cameras, place, call, f"{times} in {window_s:g} s", a_period))
    return table("Syncs, counted with strace", ("cameras", "where", "call", "seen", "a period"), rows)


def _count(
    dvr: VirtualDvr, directory: Path, cameras: int, settle_s: float, window_s: float
) -> Counter[tuple[str, str]]:
    trace = directory / "trace"
    command = (*_TRACE, "-o", str(trace), *AGENT)
    with Agent(dvr, directory / "agent", cameras, sub="record", command=command) as agent:
        settle(agent)
        time.sleep(settle_s)
        began_s = time.time()
        time.sleep(window_s)
        agent.check()
        lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    trace.unlink()
    return calls(lines, agent.directory, began_s, began_s + window_s)


def calls(lines: Sequence[str], root: Path, from_s: float, to_s: float) -> Counter[tuple[str, str]]:
    """(place below `root`, call) of strace's lines between two moments."""
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        match = _CALL.match(line)
        if match and from_s <= float(match[1]) < to_s:
            path = Path(match[3])
            folder = path.parent if path.suffix else path
            found[" ".join(folder.relative_to(root).parts) or "state", match[2]] += 1
    return found
