"""The ledger's way from the box to the mirror, through everything that may happen on it.

One city of its own: broker, registrar and agent are stopped and killed here. The last test makes it useless.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent import config as configuration
from edge_agent.demo import evidence, settings
from edge_agent.demo.child import Child
from edge_agent.demo.city import City, CityOptions
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control import call
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.witness import Role as CosigningRole
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import verifier
from edge_agent.ledger.checkpoint import Checkpoint
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.model import Role
from edge_agent.ring.reader import RingReader
from edge_agent.uplink import topics
from edge_agent.uplink.topics import Down

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.timeout(240)]

Soon = Callable[[Callable[[], object], float, str], None]
KEY = Ed25519PrivateKey.from_private_bytes(b"forger" + bytes(26))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    state = tmp_path_factory.mktemp("town")
    with City(CityOptions(cameras=1, state=state, broker="mosquitto", port=port), lambda _: None) as town:
        yield town


def sight(town: City) -> str:
    try:
        return "".join(camera["state"] for camera in town.status()["cameras"])
    except EdgeAgentError:
        return ""


def is_well(town: City) -> bool:
    """Recording, and known to the mirror. What is not urgent may wait for its five minutes."""
    return sight(town) == "up" and town.status()["ledger"]["cosigned"] > 0


def all_kept(town: City) -> bool:
    """Every leaf that the box has is cosigned by the mirror."""
    try:
        ledger = town.status()["ledger"]
    except EdgeAgentError:
        return False
    return bool(ledger["size"] == ledger["cosigned"] > 0)


def kill(child: Child) -> None:
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    while child.running:
        time.sleep(0.005)


def kinds(leaves: tuple[bytes, ...]) -> Counter[str]:
    return Counter(leaves_.decode(leaf).kind for leaf in leaves)


def look(town: City, times: int = 1, config: Path | None = None) -> None:
    """Somebody at the shop takes a picture: one leaf each."""
    control = configuration.load(config or town.layout.agent_config).control_socket
    for _ in range(times):
        call(control, "snapshot", {"camera": "cam-01"}, timeout_s=15)


@pytest.mark.parametrize("outage_s", [8, pytest.param(180, marks=pytest.mark.long)])
def test_an_outage_with_kills_on_both_sides_loses_no_leaf(town: City, soon: Soon, outage_s: int) -> None:
    agent, registrar = town.agent, town.registrar
    assert agent is not None
    assert registrar is not None
    soon(lambda: is_well(town), 40, "all is well at the beginning")
    before = evidence.gather(town.layout, town.pki)
    town.broker.stop()
    began = time.monotonic()

    off_us = time.time_ns() // 1000
    town.dvr.control.set_channel(1, mode="off")
    soon(lambda: sight(town) == "dark", 20, "the camera is dark")
    dark_us = time.time_ns() // 1000
    kill(agent)
    kill(registrar)
    agent.start()
    town.dvr.control.set_channel(1, mode="on")
    soon(lambda: sight(town) == "up", 20, "the camera is back")
    kill(agent)
    registrar.start()
    agent.start()
    soon(lambda: sight(town) == "up", 20, "the agent is back")
    time.sleep(max(0.0, began + outage_s - time.monotonic()))
    assert not all_kept(town)

    town.broker.start()
    soon(lambda: all_kept(town), 40, "everything is cosigned")
    agent.stop()
    after = evidence.gather(town.layout, town.pki)
    agent.start()
    assert after.problems == ()
    assert after.leaves[: len(before.leaves)] == before.leaves
    fresh = after.leaves[len(before.leaves) :]
    assert kinds(fresh)["boot"] == 2
    assert kinds(fresh)["rollback"] == 0
    told = [leaf for entry in fresh if (leaf := leaves_.decode(entry)).kind == "camera"]
    dark = [leaf for leaf in told if leaf.data["state"] == "dark"]
    assert len(dark) == 1
    assert off_us < dark[0].at.wall_us < dark_us
    walls = [leaves_.decode(entry).at.wall_us for entry in after.leaves]
    assert walls == sorted(walls)


def test_a_restored_older_copy_ends_repaired_even_if_the_broker_lost_the_note(
    town: City, soon: Soon, tmp_path: Path
) -> None:
    agent, state = town.agent, town.layout.agent
    assert agent is not None
    soon(lambda: is_well(town), 40, "all is well at the beginning")
    agent.stop()
    shutil.copytree(state, tmp_path / "image", symlinks=True)
    agent.start()
    soon(lambda: sight(town) == "up", 20, "the agent is back")
    look(town, 3)
    kill(agent)  # the boot leaf is urgent: it is cosigned at once, with all before it
    agent.start()
    soon(lambda: sight(town) == "up" and all_kept(town), 20, "everything is cosigned")
    agent.stop()
    known = evidence.gather(town.layout, town.pki)

    shutil.rmtree(state)
    shutil.copytree(tmp_path / "image", state, symlinks=True)
    lose_note(town, soon)
    agent.start()
    soon(lambda: all_kept(town), 30, "repaired and cosigned")
    soon(lambda: sight(town) == "up", 20, "recording goes on")
    agent.stop()
    after = evidence.gather(town.layout, town.pki)
    agent.start()
    assert after.problems == ()
    assert after.leaves[: len(known.leaves)] == known.leaves
    fresh = [leaves_.decode(entry) for entry in after.leaves[len(known.leaves) :]]
    assert [leaf.kind for leaf in fresh].count("rollback") == 1
    assert fresh[0].kind == "rollback"
    assert fresh[0].data["adopted"] > 0
    assert [leaf.kind for leaf in fresh].count("boot") == 1
    assert "unwitnessed" not in [leaf.kind for leaf in fresh]


def lose_note(town: City, soon: Soon) -> None:
    """The broker's retained note is gone: the box must ask for it."""
    client = town.client()
    client.start()
    try:
        soon(lambda: client.connected, 10, "connected")
        client.publish(topics.down(settings.SITE, Down.WITNESS), b"", retain=True)
        time.sleep(0.5)
    finally:
        client.stop()


def test_notes_wants_and_leaves_that_nobody_signed_change_nothing(town: City, soon: Soon) -> None:
    soon(lambda: sight(town) == "up", 40, "the agent runs")
    before = town.status()["ledger"]["cosigned"]
    forged = notes.sign(Checkpoint("aligarh-pump-0001/0000000000000000", 1, bytes(32)), PUBLIC, KEY.sign)
    role = CosigningRole.named(settings.MIRROR_NAME, PUBLIC, KEY.sign)
    cosigned = str(role.cosign(forged, int(time.time())))
    payloads = {
        Down.WITNESS: WitnessNote(cosigned, cosigned, 1).encode(),
        Down.WANT: Want(0, 5).sign("aligarh-pump-0001/0000000000000000", 1, role.key, KEY.sign),
        Down.LEAVES: Batch(0, (b"{}",)).encode(),
    }
    client = town.client()
    client.start()
    try:
        soon(lambda: client.connected, 10, "the forger is connected")
        for leaf, payload in payloads.items():
            client.publish(topics.down(settings.SITE, leaf), payload)
        soon(lambda: of_kind(town, "strangers"), 10, "it is counted")
    finally:
        client.stop()
    assert town.status()["ledger"]["cosigned"] >= before
    assert town.status()["ledger"]["signing"]


def of_kind(town: City, kind: str) -> list[bytes]:
    entries = verifier.read_leaves(town.layout.agent / "ledger")
    return [entry for entry in entries if entry and leaves_.decode(entry).kind == kind]


def newest_us(town: City) -> int:
    ring = RingReader({Role.MAIN: town.layout.agent / "ring" / "main"}).stat()[0]
    return ring.newest_us or 0


# The bars are 1 s and 5 s; in the short lane other tests share the machine.
@pytest.mark.parametrize(
    ("times", "lost_s", "again_s"),
    [(4, 2.0, 20.0), pytest.param(200, 1.0, 5.0, marks=[pytest.mark.long, pytest.mark.timeout(3000)])],
)
def test_kill_9_under_recording_costs_at_most_the_last_second(
    town: City, soon: Soon, times: int, lost_s: float, again_s: float
) -> None:
    agent, chance = town.agent, random.Random(times)
    assert agent is not None
    soon(lambda: is_well(town), 40, "recording, and signed")
    lost: list[float] = []
    again: list[float] = []
    for _ in range(times):
        time.sleep(chance.uniform(0.0, 2.0))
        kill(agent)
        killed_us = time.time_ns() // 1000
        lost.append((killed_us - newest_us(town)) / 1e6)
        agent.start()
        started = time.monotonic()
        while newest_us(town) <= killed_us and time.monotonic() < started + 30:
            time.sleep(0.05)
        again.append(time.monotonic() - started)
    print(f"lost: {spread(lost)}; recording again: {spread(again)}")
    assert max(lost) <= lost_s
    assert max(again) <= again_s
    damaged = RingReader({role: town.layout.agent / "ring" / role.value for role in (Role.MAIN, Role.SUB)})
    assert [stat.damaged_ranges for stat in damaged.stat()] == [0, 0]
    assert verifier.verify_directory(town.layout.agent / "ledger").problems == ()


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"median {ordered[len(ordered) // 2]:.2f} s, p95 {p95:.2f} s, most {ordered[-1]:.2f} s"


def test_two_boxes_with_the_same_keys_are_reported_as_fraud(town: City, soon: Soon, tmp_path: Path) -> None:
    agent = town.agent
    assert agent is not None
    soon(lambda: is_well(town), 40, "all is well at the beginning")
    agent.stop()
    twin = start_twin(town, tmp_path)
    agent.start()
    try:
        deadline = time.monotonic() + 60
        while not frauds(town) and time.monotonic() < deadline:
            for config in (None, tmp_path / "twin" / "edge-agent.toml"):
                try:
                    look(town, config=config)
                except EdgeAgentError:  # not up yet, or no picture yet
                    time.sleep(0.5)
    finally:
        twin.stop()
    assert frauds(town)
    said = (town.layout.logs / "iccc-registrar-1.log").read_text(encoding="utf-8")
    assert "CRITICAL" in said
    assert "FRAUD" in said
    console = town.layout.logs / "console.log"
    soon(lambda: "FRAUD" in console.read_text(encoding="utf-8"), 15, "the console shows it")


def start_twin(town: City, tmp_path: Path) -> Child:
    """A second agent from a copy of the stopped one's state: the same keys, its own files."""
    state = tmp_path / "twin"
    shutil.copytree(town.layout.agent, state, symlinks=True)
    config = state / "edge-agent.toml"
    text = config.read_text(encoding="utf-8").replace(str(town.layout.agent), str(state))
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
    twin = Child("twin", command, town.layout.logs / "twin.log")
    twin.start()
    return twin


def frauds(town: City) -> list[Any]:
    store = LedgerStore(town.layout.mirror)
    try:
        return store.frauds()
    finally:
        store.close()
