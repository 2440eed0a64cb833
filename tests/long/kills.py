"""A thousand kill -9 of the whole daemon under recording, at random moments; one in ten while it starts.

    python tests/long/kills.py --kills 1000 --minutes 50

Passes when no camera ever lost more than a second and two syncs, every start recorded every camera again
within five seconds, every segment can be read but for a torn end, no key was used twice, and the ledger
verifies. Progress is kept: a call that runs out of its minutes exits with 75 and the next one goes on. So
does one whose virtual recorder ended: what the daemon could not record then is not its fault.

Starts are those of an installed daemon: pip has compiled its modules, so they are compiled here, too, by a
first start that does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tomlkit

from edge_agent.demo.child import Child
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.settings import base64_text
from edge_agent.ledger import verifier
from edge_agent.model import Role
from edge_agent.ring.layout import SegmentHeader, number_of
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.keys import generate_recipient
from edge_agent.seal.record import Kind

UNFINISHED = 75  # EX_TEMPFAIL: call again
CAMERAS = 4
LOST_S, AGAIN_S, PATIENCE_S = 1.0, 5.0, 60.0
MIB = 1 << 20
PLACE = Path(__file__).resolve().parents[2] / ".make/long/kills"


@dataclass
class Progress:
    """What so many kills have cost. Times in seconds, one entry a kill (the worst camera's)."""

    kills: int = 0
    early: int = 0  # killed before it recorded
    lost: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)  # lost, less twice the sync time of that moment
    again: list[float] = field(default_factory=list)
    torn: int = 0
    faults: list[str] = field(default_factory=list)

    @staticmethod
    def load(path: Path) -> Progress:
        return Progress(**json.loads(path.read_text())) if path.exists() else Progress()

    def keep(self, path: Path) -> None:
        path.with_suffix(".new").write_text(json.dumps(asdict(self)))
        path.with_suffix(".new").replace(path)


class RecorderEnded(Exception):
    """The virtual recorder is gone: nothing that is measured now says anything about the daemon."""


class Shop:
    """The virtual recorder, the daemon that records it, and a reader of what it leaves."""

    def __init__(self, place: Path, dvr: VirtualDvr) -> None:
        self._dvr = dvr
        self.state = place / "box"
        self.ring = self.state / "ring" / "main"
        self.agent = Child("agent", _command(self.state), place / "agent.log")
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / "edge-agent.toml").write_text(tomlkit.dumps(_configuration(self.state, dvr)))
        self.seen: set[tuple[bytes, bytes]] = set()
        self.examine(0)  # what earlier calls left

    def newest(self) -> tuple[int, SegmentScan] | None:
        """The newest segment, walked as far as it is written."""
        segments = self._segments()
        if not segments:
            return None
        number, path = segments[-1]
        scan = SegmentScan(path, number)
        while not scan.advance(64 * MIB, final=False):
            pass
        return number, scan

    def start(self) -> int:
        """Start the daemon. Returns the number of the newest segment before."""
        found = self.newest()
        self.agent.start()
        return found[0] if found else 0

    def await_recording(self, before: int) -> float:
        """Seconds until every camera has a new durable fragment. Raises TimeoutError, RecorderEnded."""
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE_S:
            if not self._dvr.running:
                raise RecorderEnded
            found = self.newest()
            if found and found[0] > before and len(_ends(found[1])) == CAMERAS:
                return time.monotonic() - began
            time.sleep(0.05)
        raise TimeoutError(f"no footage of all cameras: {self.agent.last_words()}")

    def kill(self) -> tuple[float, float]:
        """SIGKILL; (lost by the worst camera, seconds that a sync takes now). Raises RecorderEnded."""
        sync_s = _sync_time(self.state)
        killed_us = time.time_ns() // 1000
        self.end()
        if not self._dvr.running:
            raise RecorderEnded
        found = self.newest()
        assert found is not None
        return max(killed_us - end_us for end_us in _ends(found[1])) / 1e6, sync_s

    def end(self) -> None:
        assert self.agent.pid is not None
        os.kill(self.agent.pid, signal.SIGKILL)
        while self.agent.running:
            time.sleep(0.002)

    def examine(self, after: int) -> tuple[int, list[str]]:
        """Read the segments of one run, those beyond number `after`: torn ends, and what must not be."""
        torn, faults, epochs = 0, list[str](), set[tuple[bytes, bytes]]()
        for number, path in self._segments():
            if number <= after:
                continue
            scan = SegmentScan(path, number)
            while not scan.advance(64 * MIB, final=True):
                pass
            with path.open("rb") as file:
                SegmentHeader.parse(file.read(64))
            ends = [end for _, end in scan.index.damage]
            torn += bool(ends)
            if ends and ends != [path.stat().st_size]:
                faults.append(f"{path.name}: damaged at {scan.index.damage}")
            epochs.update(scan.index.epochs)
        if epochs & self.seen:
            faults.append(f"a key of an earlier run after segment {after}")
        self.seen |= epochs
        return torn, faults

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted((number_of(path.name) or 0, path) for path in self.ring.glob("*.ear"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--place", type=Path, default=PLACE)
    parser.add_argument("--anew", action="store_true", help="forget earlier kills")
    options = parser.parse_args()
    if options.anew:
        shutil.rmtree(options.place, ignore_errors=True)
    options.place.mkdir(parents=True, exist_ok=True)
    progress = Progress.load(options.place / "progress.json")
    with VirtualDvr(
        channels=CAMERAS, main="640x360@25", h265="none", interface="none", serial="KILLS"
    ) as dvr:
        shop = Shop(options.place, dvr)
        try:
            compile_modules(shop, options.place / "compiled")
            kill_on(shop, progress, options.kills, options.minutes * 60, options.place / "progress.json")
        except RecorderEnded:
            print("the virtual recorder ended; see its message above, and call again")
        finally:
            shop.agent.stop()
        code = judge(shop, progress, options.kills)
        if code != UNFINISHED:
            shutil.rmtree(options.place)
        return code


def compile_modules(shop: Shop, into: Path) -> None:
    """For every start from now on; kept with the progress, and out of the source tree."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(into)
    if not into.exists():
        before = shop.start()
        shop.await_recording(before)
        shop.kill()
        shop.examine(before)


def kill_on(shop: Shop, progress: Progress, kills: int, seconds: float, kept: Path) -> None:
    chance = random.Random(progress.kills)
    until = time.monotonic() + seconds
    while progress.kills < kills and time.monotonic() < until and not progress.faults:
        before = shop.start()
        if chance.random() < 0.1:
            time.sleep(chance.uniform(0, 2))
            shop.end()
            progress.early += 1
        else:
            progress.again.append(shop.await_recording(before))
            time.sleep(chance.uniform(0, 2))
            lost_s, sync_s = shop.kill()
            progress.lost.append(lost_s)
            progress.beyond.append(lost_s - 2 * sync_s)
        torn, faults = shop.examine(before)
        progress.kills, progress.torn = progress.kills + 1, progress.torn + torn
        progress.faults += faults
        progress.keep(kept)
        if progress.kills % 25 == 0:
            print(tell(progress), flush=True)


def judge(shop: Shop, progress: Progress, kills: int) -> int:
    problems = [*progress.faults, *verifier.verify_directory(shop.state / "ledger").problems]
    if max(progress.beyond, default=0) > LOST_S:
        problems.append(f"{max(progress.beyond):.2f} s of footage lost beyond two syncs")
    if max(progress.again, default=0) > AGAIN_S:
        problems.append(f"{max(progress.again):.2f} s until all cameras were recorded again")
    for problem in problems:
        print(f"FAILED: {problem}")
    print(tell(progress))
    if problems:
        return 1
    return 0 if progress.kills >= kills else UNFINISHED


def tell(progress: Progress) -> str:
    return (
        f"{progress.kills} kills, {progress.early} while starting; lost {spread(progress.lost)}; "
        f"recording again {spread(progress.again)}; {progress.torn} torn ends, "
        f"{len(progress.faults)} unreadable; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


def spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    middle, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    return f"median {middle:.2f} s, p95 {p95:.2f} s, most {ordered[-1]:.2f} s"


def _ends(scan: SegmentScan) -> list[int]:
    """When each camera's newest fragment in the segment ends."""
    ends = []
    for stream in scan.index.streams():
        fragments = [e.end_us for e in scan.index.entries(stream) if e.kind == Kind.FRAGMENT]
        if fragments:
            ends.append(max(fragments))
    return ends


def _sync_time(directory: Path) -> float:
    file = os.open(directory / "probe", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(file, bytes(65536))
        began = time.monotonic()
        os.fdatasync(file)
        return time.monotonic() - began
    finally:
        os.close(file)


def _command(state: Path) -> list[str]:
    return [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(state / "edge-agent.toml")]


def _configuration(state: Path, dvr: VirtualDvr) -> dict[str, object]:
    account = f"{dvr.credentials.username}:{dvr.credentials.password}"
    urls = [
        dvr.rtsp_url(n, Role.MAIN).replace("rtsp://", f"rtsp://{account}@") for n in range(1, CAMERAS + 1)
    ]
    return {
        "site": {"id": "kills", "name": "Kills"},
        "state": {"directory": str(state)},
        "discovery": {"enabled": False},
        "cameras": [{"id": f"cam-{n:02d}", "url": url} for n, url in enumerate(urls, 1)],
        "capture": {"sub": "off"},
        "ring": {
            "directory": str(state / "ring"),
            "min_free_bytes": 256 * MIB,
            "main": {"max_bytes": 256 * MIB},
        },
        "keys": {"recipients": [{"id": "iccc", "public_key": base64_text(generate_recipient()[1])}]},
        "uplink": {"enabled": False},
        "snapshots": {"enabled": False},
        "log_level": "WARNING",
    }


if __name__ == "__main__":
    sys.exit(main())
