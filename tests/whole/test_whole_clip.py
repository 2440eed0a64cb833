"""A clip comes whole over a line of 1.5 Mbit/s, while agent, broker and receiver are restarted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from edge_agent.demo import settings
from edge_agent.demo.city import City, CityOptions
from edge_agent.demo.settings import SITE
from edge_agent.model import Role
from edge_agent.ring.reader import RingReader
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Header, Kind, Record, parse_record

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.long, pytest.mark.timeout(600)]

Soon = Callable[[Callable[[], object], float, str], None]
S = 1_000_000
KBPS = 1500


class Receiver:
    """`edge-agent iccc fetch` as a process that can be killed and begun again."""

    def __init__(self, city: City, output: Path, from_us: int, to_us: int) -> None:
        self.output = output
        self._log = output.with_suffix(".log")
        moments = [datetime.fromtimestamp(us / S, UTC).isoformat() for us in (from_us, to_us)]
        self._command = [
            sys.executable, "-m", "edge_agent.cli", "iccc", "fetch", SITE, "cam-01", "--from", moments[0],
            "--to", moments[1], "--settings", str(city.layout.iccc / "export.toml"), "--by", "asha",
            "--reason", "FIR 12", "-o", str(output), "--patience", "120",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def here(self) -> int:
        """Parts that the state on the disk vouches for."""
        try:
            state = self.output.with_name(self.output.name + ".state").read_bytes()
        except FileNotFoundError:
            return 0
        return sum(byte.bit_count() for byte in state.partition(b"\n")[2])

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")


@pytest.fixture
def slow_city(tmp_path: Path) -> Iterator[City]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    options = CityOptions(cameras=1, state=tmp_path / "city", broker="mosquitto", port=port)
    with City(options, lambda _text: None) as city:
        config = city.layout.agent_config
        text = config.read_text(encoding="utf-8")
        assert "[uplink]\n" in text
        config.write_text(text.replace("[uplink]\n", f"[uplink]\nmax_kbps = {KBPS}\n"), encoding="utf-8")
        city.agent.stop()
        city.agent.start()
        yield city


def test_a_clip_survives_restarts_of_agent_broker_and_receiver(
    slow_city: City, make_watcher, soon: Soon, tmp_path: Path
) -> None:
    city, watcher = slow_city, make_watcher(slow_city)
    watcher.wait_until_seeing(1)
    began_us = time.time_ns() // 1000 + S
    time.sleep(40)
    end_us = time.time_ns() // 1000 - 6 * S
    watcher.client.stop()
    receiver = Receiver(city, tmp_path / "clip.records", began_us, end_us)
    try:
        more_has_come(receiver, soon)
        os.kill(city.agent.pid, signal.SIGKILL)
        soon(lambda: not city.agent.running, 5, "the agent is dead")
        city.agent.start()
        more_has_come(receiver, soon)
        receiver.kill()
        receiver.start()
        more_has_come(receiver, soon)
        city.broker.stop()
        city.broker.start()
        more_has_come(receiver, soon)
        assert receiver.process.wait(300) == 0, receiver.said()
    finally:
        receiver.kill()
    content = receiver.output.read_bytes()
    assert sha256(content).hexdigest() in receiver.said()
    assert sorted(path.name for path in tmp_path.glob("clip.records*")) == ["clip.records"]
    assert content == b"".join(r.raw for r in recorded(city, content, began_us, end_us))
    opener = Opener(
        settings.RECIPIENT_ID, city.pki.recipient_key().private_bytes_raw(), settings.box_public(city.layout)
    )
    opened = [record.header.kind for record in records(content) if opener.open(record)]
    assert opened.count(Kind.FRAGMENT) >= 20


def more_has_come(receiver: Receiver, soon: Soon) -> None:
    """The state is on the disk every 64 parts or every second."""
    before = receiver.here()
    soon(lambda: receiver.here() > before + 4, 60, f"more than {before} parts: {receiver.said()}")
    assert receiver.process.poll() is None, f"over before it could be disturbed: {receiver.said()}"


def recorded(city: City, content: bytes, from_us: int, to_us: int) -> list[Record]:
    reader = RingReader([city.layout.agent / "ring" / Role.MAIN.value])
    stream = next(records(content)).header.stream
    return list(reader.records(stream, from_us, to_us))


def records(content: bytes) -> Iterator[Record]:
    at = 0
    while at < len(content):
        length = Header.parse(content[at : at + Header.SIZE]).record_length
        yield parse_record(content[at : at + length])
        at += length
