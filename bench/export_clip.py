"""`export`: ten minutes of one camera as evidence with certificate, at the box and at the command centre.

At the box the package is written in this process. At the command centre it is the command itself, from its
start to its end, against a whole city on loopback: the box sends, broker and registrar are real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.clip_ring import BOOT, Recording, Source
from bench.table import Row, table
from edge_agent.clock import ManualClock
from edge_agent.demo import settings
from edge_agent.demo.city import City, CityOptions
from edge_agent.errors import EdgeAgentError
from edge_agent.events import BoundedInbox
from edge_agent.export import certificate, package
from edge_agent.export.manifest import CameraFacts, Exported, Facts, RecorderFacts, SiteFacts
from edge_agent.export.proofs import LedgerView
from edge_agent.export.rows import Keyring
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.ledger.leaf import Json
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import Instant, Role
from edge_agent.ring.reader import RingReader
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient, stream_id
from edge_agent.seal.tips import tips_stream
from edge_agent.verify.check import verify

SECONDS, AFTER_S = 600, 60
BOX_BAR_S, ICCC_BAR_S = 5, 30
PATIENCE_S = 120.0


def run(place: Path) -> str:
    box, box_cpu, verified, size = at_the_box(place)
    iccc, iccc_cpu, iccc_verdict = at_the_command_centre(place)
    rows: list[Row] = [
        ("at the box, ring to zip", f"{box:.1f} s ({box_cpu:.1f} s CPU)", f"{BOX_BAR_S} s"),
        ("at the ICCC, the whole command", f"{iccc:.1f} s ({iccc_cpu:.1f} s CPU)", f"{ICCC_BAR_S} s"),
        ("`verify` of the box's", f"{verified}", "UNANCHORED_TAIL: nobody cosigned it"),
        ("`verify` of the command centre's", iccc_verdict, "AUTHENTIC"),
    ]
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    title = f"Export of {SECONDS // 60} minutes, {size / 1e6:.0f} MB, with certificate; {load}"
    return table(title, ("what", "measured", "bar"), rows)


def at_the_box(place: Path) -> tuple[float, float, str, int]:
    """Seconds, CPU seconds, verdict and bytes."""
    private, public = generate_recipient()
    box = BoxKey(bytes(32))
    start_us = 1_790_000_000_000_000
    source = Source(box, Recipient("site", public), stream_id(box.box_id, "bench", Role.MAIN), start_us)
    known: list[bytes] = []
    Recording(place / "main", source, lambda d, at: known.append(leaves.encode("mark", d, at, BOOT))).run(
        SECONDS + AFTER_S
    )
    out = place / "box.zip"
    began, cpu = time.perf_counter(), time.process_time()
    with out.open("w+b") as file:
        package.write(file, _request(place / "main", source, private, known), certificate.extras)
        os.fsync(file.fileno())
    took, cpu_took = time.perf_counter() - began, time.process_time() - cpu
    shutil.rmtree(place / "main")
    return took, cpu_took, str(verify(out).verdict.value), out.stat().st_size


def at_the_command_centre(place: Path) -> tuple[float, float, str]:
    """Seconds, CPU seconds of the command alone, and verdict.

    The box has met its recorder once before, so that the camera has its identity.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = CityOptions(cameras=1, state=place / "city", port=port)
    with City(options, lambda _: None) as city:
        stream = _await_stream(city)
    start_us = _prepare(city, stream)
    with City(options, lambda _: None) as city:
        _await_stream(city)
        _await_cosigned(city)
        return _command(city, place / "iccc.zip", start_us)


def _prepare(city: City, stream: bytes) -> int:
    """Replace what the first run left by a box of half an hour ago that nobody has heard of yet."""
    layout = city.layout
    for stale in (layout.agent / "ring", layout.agent / "ledger", layout.broker):
        shutil.rmtree(stale, ignore_errors=True)
    for file in layout.mirror.parent.glob(layout.mirror.name + "*"):
        file.unlink()
    box = BoxKey.load_or_create(layout.agent / "box.key")
    public = city.pki.recipient_key().public_key().public_bytes_raw()
    start_us = (time.time_ns() // 1000 // 1_000_000 - 2 * SECONDS) * 1_000_000
    source = Source(box, Recipient(settings.RECIPIENT_ID, public), stream, start_us)
    clock = ManualClock(start_us)
    ledger = LedgerWriter(
        directory=layout.agent / "ledger", origin=notes.origin_of(settings.SITE, box.public), sign=box.sign,
        public=box.public, clock=clock, inbox=BoundedInbox(), boot=BOOT,
    )  # fmt: skip

    def mark(told: dict[str, Json], at: Instant) -> None:
        clock.wall_us, clock.boot_ns = at.wall_us, at.boot_ns
        ledger.append("mark", told)
        ledger.turn(last=True)

    Recording(layout.agent / "ring" / "main", source, mark).run(SECONDS + AFTER_S)
    return start_us


def _command(city: City, out: Path, start_us: int) -> tuple[float, float, str]:
    moments = [
        datetime.fromtimestamp(us / 1e6, UTC).isoformat().replace("+00:00", "Z")
        for us in (start_us, start_us + SECONDS * 1_000_000)
    ]
    command = [
        sys.executable, "-m", "edge_agent.cli", "iccc", "export", settings.SITE, "cam-01",
        "--from", moments[0], "--to", moments[1], "--settings", str(city.layout.iccc / "export.toml"),
        "--by", "bench", "--reason", "bench", "--output", str(out),
    ]  # fmt: skip
    began, cpu = time.perf_counter(), _cpu_of_children()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    took, cpu_took = time.perf_counter() - began, _cpu_of_children() - cpu
    if done.returncode:
        raise EdgeAgentError(f"iccc export: {done.stderr.strip()}")
    return took, cpu_took, str(verify(out).verdict.value)


def _cpu_of_children() -> float:
    """Of those that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _await_stream(city: City) -> bytes:
    client = city.client()
    client.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            birth = client.birth(settings.SITE)
            if birth is not None and birth.data.cameras and Role.MAIN in birth.data.cameras[0].streams:
                return bytes.fromhex(birth.data.cameras[0].streams[Role.MAIN])
            time.sleep(0.2)
    finally:
        client.stop()
    raise EdgeAgentError(f"the city's camera did not come: {city.layout.logs}")


def _await_cosigned(city: City) -> None:
    """Until the marks of the recording are anchored, which takes five minutes at most."""
    wanted, deadline = SECONDS // 60 + 2, time.monotonic() + 400
    while time.monotonic() < deadline:
        with contextlib.suppress(EdgeAgentError, json.JSONDecodeError):
            if city.status()["ledger"]["cosigned"] >= wanted:
                return
        time.sleep(1)
    raise EdgeAgentError("the ledger was not cosigned")


def _request(directory: Path, source: Source, private: bytes, known: list[bytes]) -> package.Request:
    reader = RingReader({Role.MAIN: directory})
    box, start_us = source.box, source.start_us
    end_us = start_us + SECONDS * 1_000_000
    origin = Verifier(notes.origin_of("bench", box.public), box.public)
    hashes = [merkle.leaf_hash(leaf) for leaf in known]
    own = notes.sign(Checkpoint(origin.name, len(known), merkle.root(hashes)), box.public, box.sign)
    ledger = LedgerView(origin, lambda f, n: known[f : f + n], merkle.nodes_of(hashes), str(own))
    facts = Facts(
        Exported(end_us, "bench", "", "", "box"), SiteFacts("bench"), RecorderFacts(),
        CameraFacts("cam-01", "bench", "main"),
    )  # fmt: skip
    return package.Request(
        facts, source.stream, start_us, end_us,
        lambda: reader.records(source.stream, start_us, end_us + package.POST_ROLL_US),
        list(reader.loose(tips_stream(box.box_id), start_us, end_us + package.POST_ROLL_US)), ledger,
        Keyring(box.public, "site", private), origin, box.sign, {"box": origin.vkey, "exporter": origin.vkey},
    )  # fmt: skip
