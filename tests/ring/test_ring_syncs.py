"""Counted with strace on a real process: one fdatasync a period, whatever the number of cameras."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
from threading import Event, Thread
sys.path.insert(0, sys.argv[1])
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.model import Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

box, clock, stop = BoxKey(bytes(32)), SystemClock(), Event()
recipients = [Recipient("iccc", generate_recipient()[1])]
writer = RingWriter(role=Role.MAIN, directory=Path(sys.argv[2]), box_id=box.box_id, run=bytes(16),
    policy=RingPolicy(max_bytes=1 << 30, min_free_bytes=0, sync_s=0.5), clock=clock, inbox=BoundedInbox())
thread = Thread(target=writer.run, args=(stop, lambda: None))
thread.start()
keys = [StreamKey(f"cam-{i}", Role.MAIN) for i in range(int(sys.argv[3]))]
sealers = {k: StreamSealer(box=box, recipients=recipients, boot_id=bytes(16), aead=Aead.AES_256_GCM,
    stream_id=stream_id(box.box_id, k.camera, k.role)) for k in keys}
for key, sealer in sealers.items():
    for record in sealer.begin_epoch(InitSegment(b"init", "avc3", 1, 1, 90000), clock.now()):
        writer.put(key, record)
end = time.monotonic() + 2.25
while time.monotonic() < end:
    for key, sealer in sealers.items():
        writer.put(key, sealer.seal(Fragment(bytes(20000), clock.now(), 200000, 0, True, False, 5)))
    time.sleep(0.1)
stop.set()
thread.join()
print(writer.counters().syncs)
"""


@pytest.mark.needs("strace")
@pytest.mark.parametrize("cameras", [1, 16])
def test_one_fdatasync_a_period_whatever_the_number_of_cameras(tmp_path, cameras):
    root = Path(__file__).resolve().parents[2]
    trace = tmp_path / "trace"
    run = subprocess.run(
        ["strace", "-f", "-e", "trace=fdatasync,fsync", "-o", str(trace),
         sys.executable, "-c", PROGRAM, str(root), str(tmp_path / "ring"), str(cameras)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "ptrace" in run.stderr.lower() and run.returncode:
        pytest.skip("this container may not trace")
    assert run.returncode == 0, run.stderr
    calls = re.findall(r" fdatasync\(", trace.read_text())
    batches = int(run.stdout)
    assert len(calls) == batches + 2, "the new segment's and the tips' own besides the batches"
    assert batches <= 2.25 / 0.5 + 3, "never more than the periods, however many cameras"
