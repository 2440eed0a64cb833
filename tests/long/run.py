"""`make long`: what takes minutes to an hour, one item after another, resumable.

An item that passed is not run again until the code changes; a run that was cut short goes on where it was.
State and logs are kept in .make/long/. `ARGS="service --again"` runs the named items anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = REPOSITORY / ".make/long"
LIMIT_S = 3600
UNFINISHED = 75  # EX_TEMPFAIL: an item that keeps its progress and wants to be called again


@dataclass(frozen=True, slots=True)
class Item:
    """One command; its exit code decides."""

    name: str
    what: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    root: bool = False
    good: tuple[int, ...] = (0,)
    limit_s: float = LIMIT_S

    def passes(self, exit_code: int) -> bool:
        return exit_code in self.good


@dataclass(frozen=True, slots=True)
class Result:
    code: str  # fingerprint of the sources it ran on
    passed: bool
    seconds: float
    last_line: str


ITEMS = (
    Item(
        "service",
        "installed on a Debian booted in a container; back after kill -9, reboot and power cut",
        (sys.executable, "tests/long/service.py"),
        needs=("debootstrap", "systemd-nspawn", "mosquitto"),
        root=True,
    ),
    Item(
        "page",
        "a minute of live view in Chromium on a whole city, delay against the DVR's send time",
        (sys.executable, "tests/long/page.py"),
        needs=("mosquitto", "chromium"),
    ),
    Item(
        "fuzz",
        "a million broken inputs for the capture core, a hundred thousand for the decode process",
        (sys.executable, "tests/long/fuzz_core.py"),
    ),
    Item(
        "soak",
        "sixteen cameras for an hour, one dead, one silent, one flapping, one stalling",
        (sys.executable, "tests/long/soak.py"),
        limit_s=4500,
    ),
    Item(
        "narrow",
        "ten minutes of too much video over 2 Mbit/s: heartbeats, replies, delay, warm and cold starts",
        (sys.executable, "tests/long/narrow.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "cap",
        "uplink.max_kbps over any ten seconds, every IP packet counted",
        (sys.executable, "tests/long/cap.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "idle",
        "half an hour of a site that nobody watches, every IP packet counted",
        (sys.executable, "tests/long/idle_traffic.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "stories",
        "over fifty outages in six shops: verdicts, their times at the command centre, no accusation",
        (sys.executable, "tests/long/stories.py"),
        needs=("mosquitto", "ip", "unshare"),
        root=True,
        limit_s=1800,
    ),
    Item(
        "kills",
        "a thousand kill -9 of the daemon under recording: a second lost, five until it records again",
        (sys.executable, "tests/long/kills.py"),
    ),
    Item(
        "reconnect",
        "fifty cuts of the line, half of them silent: heard again within 3 s at the median, 15 s at worst",
        (sys.executable, "tests/long/reconnect.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "backlog",
        "seven days of facts over 512 kbit/s, three kill -9 and a broker's restart: each leaf once",
        (sys.executable, "tests/long/backlog.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "month",
        "thirty days of facts in the same way: disk, memory, and how soon the command centre has them",
        (sys.executable, "tests/long/backlog.py", "--days", "30"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "beside",
        "live at 2 Mbit/s while a clip is fetched as fast as the line gives: below 700 ms at the median",
        (sys.executable, "tests/long/beside_clip.py"),
        needs=("mosquitto", "ip"),
        root=True,
    ),
    Item(
        "marked",
        "every test marked long",
        (sys.executable, "-m", "pytest", "-q", "-m", "long", "--timeout=3000"),
        good=(0, 5),  # 5: none is marked
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="items to run (default: all)")
    parser.add_argument("--again", action="store_true", help="also those that passed on this code")
    options = parser.parse_args()
    unknown = set(options.names) - {item.name for item in ITEMS}
    if unknown:
        parser.error(f"no such item: {', '.join(sorted(unknown))}")
    STATE.mkdir(parents=True, exist_ok=True)
    code = fingerprint()
    rows = [settle(i, code, options.again) for i in ITEMS if not options.names or i.name in options.names]
    print_table(rows)
    return int(any(state == "FAILED" for _, state, _, _ in rows))


Row = tuple[str, str, str, str]


def settle(item: Item, code: str, again: bool) -> Row:
    """Run the item unless it passed before or cannot run here; returns its row of the table."""
    known = remembered(item)
    if known is not None and known.passed and known.code == code and not again:
        return item.name, "passed", f"{known.seconds:.0f} s", "before, on this code"
    missing = lacking(item)
    if missing:
        return item.name, "skipped", "", f"needs {missing}"
    print(f"{item.name}: {item.what} (log: {log_of(item).relative_to(REPOSITORY)})", flush=True)
    result = run(item, code)
    (STATE / f"{item.name}.json").write_text(json.dumps(asdict(result)))
    return item.name, "passed" if result.passed else "FAILED", f"{result.seconds:.0f} s", result.last_line


def run(item: Item, code: str) -> Result:
    began = time.monotonic()
    with log_of(item).open("wb") as log:
        try:
            passed = item.passes(_call(item, log))
        except subprocess.TimeoutExpired:
            passed = False
    return Result(code, passed, time.monotonic() - began, last_line(log_of(item)))


def _call(item: Item, log: IO[bytes]) -> int:
    code = UNFINISHED
    while code == UNFINISHED:
        code = subprocess.run(
            item.command,
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=item.limit_s,
            check=False,
        ).returncode
    return code


def remembered(item: Item) -> Result | None:
    try:
        return Result(**json.loads((STATE / f"{item.name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def lacking(item: Item) -> str:
    """What this machine lacks for the item, empty if nothing."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = [tool for tool in item.needs if shutil.which(tool, path=path) is None]
    if item.root and os.geteuid() != 0:
        missing.append("root")
    return ", ".join(missing)


def fingerprint() -> str:
    """Digest of everything that an item's outcome may depend on."""
    digest = hashlib.sha256()
    for folder in ("edge_agent", "tests", "installer", "systemd", "requirements"):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def log_of(item: Item) -> Path:
    return STATE / f"{item.name}.log"


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip()[:90] for line in reversed(lines) if line.strip()), "")


def print_table(rows: list[Row]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(3)] if rows else []
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))


if __name__ == "__main__":
    sys.exit(main())
