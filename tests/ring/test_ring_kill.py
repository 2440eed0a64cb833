"""A real process, killed with SIGKILL at random moments under recording, again and again on one ring."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.model import Role
from edge_agent.ring.layout import number_of
from edge_agent.ring.reader import RingReader
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Kind

FOREVER = 1 << 62

PROGRAM = """
import sys, time, os
from pathlib import Path
from threading import Event, Thread
root, directory, private_public = sys.argv[1:4]
sys.path.insert(0, root)
from edge_agent.clock import SystemClock
from edge_agent.model import ClockTrust, Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.facts import RingSynced
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

class Tell:
    def put(self, fact):
        if isinstance(fact, RingSynced):
            for tip in fact.tips:
                print(tip.digest.hex(), flush=True)

box, clock, stop = BoxKey(bytes(32)), SystemClock(), Event()
writer = RingWriter(role=Role.MAIN, directory=Path(directory), box_id=box.box_id, run=os.urandom(16),
    policy=RingPolicy(max_bytes=1 << 30, min_free_bytes=0, sync_s=0.05, segment_s=0.2),
    clock=clock, inbox=Tell())
Thread(target=writer.run, args=(stop, lambda: None), daemon=True).start()
recipients = [Recipient("iccc", bytes.fromhex(private_public))]
keys = [StreamKey(f"cam-{i}", Role.MAIN) for i in range(4)]
sealers = {k: StreamSealer(box=box, recipients=recipients, boot_id=bytes(16), aead=Aead.AES_256_GCM,
    stream_id=stream_id(box.box_id, k.camera, k.role)) for k in keys}
for key, sealer in sealers.items():
    for record in sealer.begin_epoch(InitSegment(b"init", "avc3", 1, 1, 90000), clock.now()):
        writer.put(key, record)
for n in range(10**9):
    for key, sealer in sealers.items():
        writer.put(key, sealer.seal(Fragment(os.urandom(3000), clock.now(), 20000, 0, n % 5 == 0, False, 5)))
    time.sleep(0.02)
"""


def _killed_run(bench, directory: Path, wait_s: float) -> list[bytes]:
    """Starts a recording, kills it `wait_s` after its first announcement; the digests it announced."""
    root = Path(__file__).resolve().parents[2]
    public = bench.recipient.public_key.hex()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(directory), public], stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(wait_s)
        child.kill()
        said = first + child.stdout.read()
    lines = said.decode().split("\n")[:-1]  # the last line may be torn
    return [bytes.fromhex(line) for line in lines]


def _kill_again_and_again(bench, directory: Path, times: int) -> None:
    chance = random.Random(times)
    announced: set[bytes] = set()
    for _ in range(times):
        announced.update(_killed_run(bench, directory, chance.uniform(0, 0.4)))
    found: set[bytes] = set()
    streams: set[bytes] = set()
    for path in directory.glob("*.ear"):
        scan = SegmentScan(path, number_of(path.name))
        while not scan.advance(1 << 24, final=True):
            pass
        assert len(scan.index.damage) <= 1
        streams |= scan.index.streams()
        for stream in scan.index.streams():
            found |= {e.digest for e in scan.index.entries(stream)}
    assert announced
    assert announced <= found
    assert len(streams) == 4
    _opens(bench, directory, streams, times)


def _opens(bench, directory: Path, streams: set[bytes], times: int) -> None:
    reader, opener = RingReader({Role.MAIN: directory}), Opener("iccc", bench.private, bench.child_box.public)
    for stream in streams:
        records = list(reader.records(stream, 0, FOREVER))
        for record in records:
            opener.open(record)
        assert len({r.header.epoch for r in records}) == times
        assert sum(r.header.kind is Kind.KEY for r in records) == times


def test_nothing_announced_is_lost_by_kills(bench, tmp_path):
    _kill_again_and_again(bench, tmp_path / "ring", 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_announced_is_lost_by_a_thousand_kills(bench, tmp_path):
    _kill_again_and_again(bench, tmp_path / "ring", 1000)
