"""Errors that the kernel gives back, kills inside of a call: a real process under strace's injection."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from edge_agent.ledger import verifier
from edge_agent.model import Role
from edge_agent.ring.layout import number_of
from edge_agent.ring.reader import RingReader
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.keys import BoxKey, generate_recipient
from edge_agent.seal.opener import Opener

pytestmark = pytest.mark.needs("strace")

RECORDER = Path(__file__).with_name("recorder.py")
CALLS = "writev,write,pwrite64,fdatasync,fsync"
BOX = BoxKey(bytes(32))
PRIVATE, PUBLIC = generate_recipient()
FOREVER = 1 << 62
_LINE = re.compile(r"^\d+\s+(\w+)\(\d+<([^>]*)>.*?\)\s+= (-?\d+)?")


@dataclass(frozen=True)
class Run:
    """What one hurt process said and did, and what it left."""

    code: int
    said: tuple[str, ...]
    calls: tuple[tuple[str, str, bool], ...]  # call, path, failed
    directory: Path

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.said)


def hurt(directory: Path, injection: str, seconds: float = 1.0) -> Run:
    trace = directory.with_suffix(".trace")
    command = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-o",
        str(trace),
        "-e",
        f"trace={CALLS}",
        "-e",
        f"inject={injection}",
    ]
    command += [sys.executable, str(RECORDER), str(directory), PUBLIC.hex(), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr.lower() and not done.stdout:
        pytest.skip("this container may not trace")
    lines = trace.read_text(errors="replace").splitlines() if injection else []
    found = [match for line in lines if (match := _LINE.match(line)) and str(directory) in match[2]]
    calls = tuple((match[1], match[2], (match[3] or "").startswith("-")) for match in found)
    return Run(done.returncode, tuple(done.stdout.split("\n")[:-1]), calls, directory)


def judge(run: Run) -> None:
    """Nothing promised is lost, no damage but torn ends, all opens, and no broken file was touched again."""
    _leaves_broken_files_alone(run)
    promised = {line.split()[1] for line in run.said if line.startswith("record ")}
    reader = RingReader({Role.MAIN: run.directory / "ring" / "main"})
    found: set[str] = set()
    streams: set[bytes] = set()
    for path in (run.directory / "ring" / "main").glob("*.ear"):
        scan = SegmentScan(path, number_of(path.name) or 0)
        while not scan.advance(1 << 24, final=True):
            pass
        assert len(scan.index.damage) <= 1
        streams |= scan.index.streams()
        found |= {e.digest.hex() for stream in scan.index.streams() for e in scan.index.entries(stream)}
    assert promised <= found
    opener = Opener("iccc", PRIVATE, BOX.public)
    for stream in streams:
        for record in reader.records(stream, 0, FOREVER):
            opener.open(record)
    report = verifier.verify_directory(run.directory / "ledger")
    assert report.problems == ()
    sizes = [int(line.split()[1]) for line in run.said if line.startswith("leaves ")]
    assert len(verifier.read_leaves(run.directory / "ledger")) >= max(sizes, default=0)


def _leaves_broken_files_alone(run: Run) -> None:
    broken: set[str] = set()
    for call, path, failed in run.calls:
        if path.endswith(("/ring/main", "/ledger", "/hashes")):
            continue  # directories, and the file that is never synced and can be made again
        assert path not in broken, f"{call} on {path} after a failed write or sync"
        if failed:
            broken.add(path)


ONCE = ["fdatasync:error=EIO:when=4", "writev:signal=KILL:when=6"]


@pytest.mark.parametrize("injection", ONCE)
def test_an_error_or_a_kill_in_the_kernel_ends_as_documented(tmp_path: Path, injection: str) -> None:
    run = hurt(tmp_path / "box", injection, 0.8)
    judge(run)
    assert (run.code == 0) == ("KILL" not in injection)
    if "error" in injection:
        assert any(failed for _, _, failed in run.calls)
        assert run.count("RingFaulted") == run.count("RingRecovered") == 1
    judge(hurt(tmp_path / "box", "", 0.3))  # the next run goes on


SITES = product(CALLS.split(","), ("error=EIO", "error=ENOSPC", "signal=KILL"), range(1, 9))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("injection", [f"{c}:{what}:when={n}" for c, what, n in SITES if c != "write"])
def test_every_call_every_error_every_moment(tmp_path: Path, injection: str) -> None:
    judge(hurt(tmp_path / "box", injection))
    judge(hurt(tmp_path / "box", "", 0.3))
