"""Keys and pictures stay in memory: nothing of them in files, logs, error texts, or a core dump."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.clock import ManualClock
from edge_agent.events import BoundedInbox
from edge_agent.model import Fragment, InitSegment, Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

SEED = b"box-seed-that-must-not-be-found!"
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

CRASH = """
import os, sys
sys.path.insert(0, sys.argv[1])
from edge_agent.host.nodump import forbid_core_dumps
if sys.argv[2] == "guarded":
    forbid_core_dumps()
os.abort()
"""


def test_no_key_and_no_picture_is_in_any_file_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    secrets: list[bytes] = []

    def random(count: int) -> bytes:
        drawn = os.urandom(count)
        if count == 32:
            secrets.append(drawn)
        return drawn

    clock, key = ManualClock(), StreamKey("cam-01", Role.MAIN)
    private, public = generate_recipient()
    sealer = StreamSealer(
        box=BoxKey(SEED), recipients=[Recipient("iccc", public)], stream_id=bytes(16), boot_id=bytes(16),
        aead=Aead.AES_256_GCM, random=random,
    )  # fmt: skip
    writer = RingWriter(
        role=Role.MAIN, directory=tmp_path / "ring", policy=RingPolicy(max_bytes=1 << 30, segment_s=1),
        box_id=bytes(32), run=bytes(16), clock=clock, inbox=BoundedInbox(),
    )  # fmt: skip
    pictures = [b"picture in clear %d " % number * 20 for number in range(12)]
    for number, picture in enumerate(pictures):
        if number % 4 == 0:
            for record in sealer.begin_epoch(
                InitSegment(b"ftyp and moov in clear", "avc3", 1, 1, 90000), clock.now()
            ):
                writer.put(key, record)
        writer.put(key, sealer.seal(Fragment(picture, clock.now(), 200_000, 0, True, False, 5)))
        clock.advance(1)
        writer.cycle()
    writer.finish()
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything += caplog.text.encode() + repr((sealer, writer, BoxKey(SEED))).encode()
    assert len(secrets) == 3
    assert len(everything) > 12 * 300
    for secret in (
        *secrets,
        *(b.hex().encode() for b in secrets),
        SEED,
        private,
        *(p[:16] for p in pictures),
    ):
        assert secret not in everything
    assert b"moov in clear" not in everything


@pytest.mark.skipif(CORE_PATTERN.read_text().startswith("|"), reason="cores go to a program here")
@pytest.mark.parametrize("how", ["guarded", "bare"])
def test_a_crash_leaves_no_core(tmp_path: Path, how: str) -> None:
    root = Path(__file__).resolve().parents[2]

    def allow_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (64 << 20, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("no process may leave a core here, guarded or not")
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(root), how], cwd=tmp_path, preexec_fn=allow_cores, check=False
    )
    assert done.returncode == -signal.SIGABRT
    assert bool(list(tmp_path.glob("core*"))) == (how == "bare")


def test_the_service_forbids_cores_too() -> None:
    unit = (Path(__file__).resolve().parents[2] / "systemd" / "edge-agent.service").read_text(
        encoding="utf-8"
    )
    assert "\nLimitCORE=0\n" in unit
