"""`python -m bench [ITEM ...] [--quick]`: prints Markdown tables to stdout. All items: --help."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import compat_cost, export_clip, night, onvif, record, ring, seal, stages, syncs, watch
from bench.steady import Plan
from edge_agent.errors import EdgeAgentError

THOROUGH, QUICK = Plan(rounds=4, settle_s=6, window_s=20), Plan(rounds=1, settle_s=3, window_s=8)
ITEMS = ("record", "seal", "syncs", "ring", "profile", "onvif", "night", "watch", "export", "compat")
NEEDED = {"record": "ffmpeg", "syncs": "strace"}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))  # what runs is ended on the way out
    options = _options()
    plan = QUICK if options.quick else THOROUGH
    counts = tuple(options.cameras)
    items: dict[str, Callable[[Path], str]] = {
        "record": lambda place: record.run(place, counts, plan),
        "seal": lambda place: seal.run(place, counts[-1], plan),
        "syncs": lambda place: syncs.run(place, syncs.COUNTS, plan.settle_s, 2 * plan.window_s),
        "ring": lambda place: ring.run(place, 3 * plan.window_s),
        "profile": lambda place: stages.run(place, counts[-1], plan),
        "onvif": lambda place: onvif.run(place, plan.rounds, plan.settle_s),
        "night": lambda _: night.run(3 if options.quick else 30),
        "watch": lambda place: watch.run(place, counts[-1], plan),
        "export": export_clip.run,
        "compat": lambda _: compat_cost.run(plan.window_s),
    }
    failed = False
    for item in options.items or items:
        tool = NEEDED.get(item)
        if tool and shutil.which(tool) is None:
            print(f"{item}: needs {tool}: apt install {tool}", file=sys.stderr)
            failed = True
            continue
        with tempfile.TemporaryDirectory(prefix="edge-agent-bench-", dir=options.directory) as place:
            print(items[item](Path(place)), flush=True)
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"{', '.join(ITEMS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="one short round instead of four long ones")
    parser.add_argument("--cameras", type=int, nargs="+", default=[8, 16], help="default: 8 16")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="where to record; a real disk, no tmpfs"
    )
    options = parser.parse_args()
    unknown = set(options.items) - set(ITEMS)
    if unknown:
        parser.error(f"no such item: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeAgentError as error:
        sys.exit(f"bench: {error}")
