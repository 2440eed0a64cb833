"""The whole daemon on a disk that is full, read-only, slow, or gone: everything but the footage goes on.

One city of its own, its ring on a small ext4. What is asked of each trouble: live view and reports go on,
memory stays, the alarm is raised as a leaf and as an event, and recording resumes by itself.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from small_disk import SmallDisk

from edge_agent.demo.city import City, CityOptions
from edge_agent.demo.report import Ear
from edge_agent.demo.settings import SITE, box_public
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.live import LiveFragment
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import verifier
from edge_agent.model import Role
from edge_agent.ring.reader import RingReader
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.epoch import parse_key_body
from edge_agent.seal.record import Kind, Record, parse_record

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.needs("mosquitto", "strace", "mkfs.ext4", "mount"),
]

GROWTH = 96 << 20  # the credit of the main ring is 32 MiB; the rest is live view and the allocator


class Town:
    """The city, its small disk and the command centre's ear."""

    def __init__(self, city: City, disk: SmallDisk) -> None:
        self.city, self.disk = city, disk
        self.ear = Ear()
        self.client = city.client()
        self.client.listen(self.ear.heard)
        self.client.start()

    def ring(self) -> dict[str, Any]:
        """What `status` says of the main ring; empty while nobody answers."""
        try:
            return dict(self.city.status()["ring"]["main"])
        except EdgeAgentError:
            return {}

    def records(self) -> bool:
        return self.newest_us() > time.time_ns() // 1000 - 3_000_000

    def newest_us(self) -> int:
        (stat,) = self.reader().stat()
        return stat.newest_us or 0

    def reader(self) -> RingReader:
        return RingReader({Role.MAIN: self.city.layout.agent / "ring" / "main"})

    def newest(self, kind: Kind) -> list[Record]:
        """The newest segment's records of a kind, as far as it is written."""
        path = max((self.city.layout.agent / "ring" / "main").glob("*.ear"))
        content = path.read_bytes()
        scan = SegmentScan(path, 1)
        scan.advance(len(content), final=False)
        entries = (entry for stream in scan.index.streams() for entry in scan.index.entries(stream))
        return [parse_record(content, entry.offset) for entry in entries if entry.kind == kind]

    def resident(self) -> int:
        assert self.city.agent is not None
        return int(psutil.Process(self.city.agent.pid).memory_info().rss)

    def shows_live_pictures(self) -> bool:
        began = time.monotonic()
        with self.client.live(SITE, "cam-01", Role.MAIN, operator="disk-trouble") as live:
            seen = 0
            for item in live:
                seen += isinstance(item, LiveFragment)
                if seen >= 15 or time.monotonic() > began + 20:
                    break
        return seen >= 15

    def leaves(self, kind: str) -> int:
        raws = verifier.read_leaves(self.city.layout.agent / "ledger")
        return sum(raw is not None and leaves_.decode(raw).kind == kind for raw in raws)

    def events(self, kind: str) -> int:
        return sum(event.data.kind == kind for _, event in self.ear.events)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    state = tmp_path_factory.mktemp("trouble")
    disk = SmallDisk(state / "disk.ext4", state / "agent" / "ring", mib=512)
    try:
        options = CityOptions(cameras=1, state=state, broker="mosquitto", port=port)
        with City(options, lambda _text: None) as city:
            town = Town(city, disk)
            eventually(town.records, 60, "recording")
            yield town
            town.client.stop()
    finally:
        disk.take_away()


def eventually(true: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.2)
    pytest.fail(f"not within {timeout_s:.0f} s: {what}")


@pytest.mark.parametrize("trouble", ["full", "read-only", "gone"])
def test_the_disk_fails_and_only_the_recording_waits(town: Town, trouble: str) -> None:
    eventually(town.records, 30, "recording")
    before = {kind: (town.leaves(kind), town.events(kind)) for kind in ("ring_fault", "ring_recovered")}
    heartbeats, memory = town.ear.heartbeats, town.resident()
    hurt, heal = {
        "full": (town.disk.fill, town.disk.empty),
        "read-only": (town.disk.abort, town.disk.replace),
        "gone": (town.disk.take_away, town.disk.put_back),
    }[trouble]
    hurt()
    eventually(lambda: town.ring().get("fault"), 30, "status names the fault")
    eventually(lambda: town.leaves("ring_fault") > before["ring_fault"][0], 10, "a leaf")
    eventually(lambda: town.events("ring_fault") > before["ring_fault"][1], 20, "an event")
    assert town.shows_live_pictures()
    eventually(lambda: town.ear.heartbeats > heartbeats + 2, 40, "heartbeats go on")
    time.sleep(5)
    assert town.resident() - memory < GROWTH
    heal()
    eventually(lambda: not town.ring().get("fault", "none"), 60, "the fault is over")
    eventually(town.records, 20, "recording again")
    eventually(
        lambda: town.events("ring_recovered") > before["ring_recovered"][1], 20, "and an event says so"
    )


def test_a_sync_of_250_ms_loses_nothing(town: Town) -> None:
    eventually(town.records, 30, "recording")
    refused, faults, memory = town.ring()["refused"], town.ring()["faults"], town.resident()
    assert town.city.agent is not None
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(town.city.agent.pid)]
    slow += ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=250000"]
    with subprocess.Popen(slow) as strace:
        try:
            time.sleep(3)
            began_us = time.time_ns() // 1000
            assert town.shows_live_pictures()
            time.sleep(10)
            assert town.ring()["refused"] == refused
            assert town.ring()["faults"] == faults
            assert town.resident() - memory < GROWTH
            assert town.records()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(10)
    (stream,) = {record.header.stream for record in town.newest(Kind.FRAGMENT)}
    until_us = town.newest_us()
    gaps = town.reader().gaps(stream, began_us, until_us)
    assert [gap for gap in gaps if gap.to_us < until_us] == []


def test_other_recipients_in_the_configuration_are_the_next_runs_epochs(town: Town) -> None:
    eventually(town.records, 30, "recording")
    agent, config = town.city.agent, town.city.layout.agent_config
    assert agent is not None
    before = {record.header.epoch for record in town.newest(Kind.KEY)}
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('id = "iccc"', 'id = "iccc/2026-48"'), encoding="utf-8")
    eventually(lambda: not agent.running, 15, "the daemon ends to take the edit")
    agent.start()
    eventually(lambda: {r.header.epoch for r in town.newest(Kind.KEY)} - before, 30, "a new epoch")
    keys = [record for record in town.newest(Kind.KEY) if record.header.epoch not in before]
    for record in keys:
        (wrap,) = parse_key_body(record, box_public(town.city.layout)).wraps
        assert wrap.recipient == "iccc/2026-48"
