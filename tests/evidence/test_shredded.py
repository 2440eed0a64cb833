"""When the command centre destroys a key, what is held can still be exported, and nothing else can."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from evidence_site import Site
from evidence_world import PRIVATE, START_US, S

from edge_agent.agent.evidence import pages
from edge_agent.agent.evidence_worker import Held
from edge_agent.errors import SealError, UplinkError
from edge_agent.export import package
from edge_agent.export.rows import Keyring
from edge_agent.iccc import hold as holds
from edge_agent.iccc.hold import HoldOrder, Rewrapper
from edge_agent.iccc.hold_store import HeldThere, HoldStore
from edge_agent.iccc.orders import CommandRefused
from edge_agent.model import Role
from edge_agent.ring.evidence import EvidenceLog
from edge_agent.ring.hold import Bounds, Stretch
from edge_agent.ring.reader import RingReader
from edge_agent.seal.keys import Recipient, generate_recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.tips import tips_stream
from edge_agent.uplink.messages import Lifecycle
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict

EVIDENCE_PRIVATE, EVIDENCE_PUBLIC = generate_recipient()
EVIDENCE = Recipient("evidence", EVIDENCE_PUBLIC)
ORDER = HoldOrder("pump-7", "cam-01", Role.MAIN, START_US, START_US + 4 * S, "4711", "asha", "FIR 12")


@dataclass
class Answering:
    """Stands at our seam to the client: a box that holds, and answers as the handler does."""

    site: Site
    directory: Path
    fails: str = ""
    loses_keys: bool = False
    ops: list[str] = field(default_factory=list)

    def order(self, site: str, op: str, args: dict, *, operator: str, reason: str, second=None):
        self.ops.append(op)
        if op == "ring.release":
            assert second is not None
            return Replies([reply(Lifecycle.DONE, bytes=100)])
        if self.fails:
            return Replies([reply(Lifecycle.FAILED, text=self.fails)])
        log = EvidenceLog(self.directory, Bounds(1 << 30, 1 << 30), self.site.box.box.box_id, bytes(16))
        edges = args["from_us"], args["to_us"]
        admitted = log.admit(
            Stretch(args["case"], "cam-01", Role.MAIN, self.site.box.stream, *edges), START_US
        )
        list(log.copy(admitted, RingReader({Role.MAIN: self.site.root / "ring" / "main"}), START_US))
        done, keys = log.finish(admitted)
        told = [reply(Lifecycle.PROGRESS, keys=page) for page in pages(Held(done, tuple(keys), True))]
        if self.loses_keys:
            told.clear()
        more = {"hold": done.id, "records": done.records, "digest": done.digest, "epochs": len(keys)}
        return Replies([reply(Lifecycle.ACCEPTED), *told, reply(Lifecycle.DONE, **more)])


@dataclass
class Replies:
    came: list

    def replies(self) -> list:
        return self.came

    def answered(self, states: frozenset[Lifecycle]):
        return next(((r, 0.0) for r in self.came if r.data.status in states), None)

    def wait(self, states: frozenset[Lifecycle], timeout_s: float):
        return self.answered(states)

    def forget(self) -> None:
        pass


def reply(status: Lifecycle, text: str = "", **result: object) -> SimpleNamespace:
    data = SimpleNamespace(status=status, progress=None, result=result, code="", text=text, op="ring.hold")
    return SimpleNamespace(data=data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HoldStore]:
    with closing(HoldStore(tmp_path / "holds.sqlite")) as store:
        yield store


@pytest.fixture
def two_epochs(site: Site) -> Site:
    """What `site` has, and four seconds under another key: those are not held."""
    site.box.record(4)
    site.box.mark()
    shutil.rmtree(site.root / "ring")
    shutil.rmtree(site.root / "ledger")
    site.write_ring()
    site.write_ledger()
    return site


def held(site: Site, store: HoldStore, **more: object) -> tuple[HeldThere, Answering]:
    box = Answering(site, site.root / "ring" / "evidence", **more)
    rewrapper = Rewrapper("site", PRIVATE, EVIDENCE)
    return holds.hold(box, site.box.box.public, ORDER, rewrapper, store), box


def test_a_held_range_outlives_its_key_and_its_ring_and_is_authentic(
    two_epochs: Site, store: HoldStore, tmp_path: Path
) -> None:
    site = two_epochs
    there, _ = held(site, store)
    shutil.rmtree(site.root / "ring" / "main")  # evicted long since
    kept = RingReader({Role.MAIN: site.root / "ring" / "evidence" / there.id})
    keyring = Keyring(site.box.box.public, "evidence", EVIDENCE_PRIVATE, store.wraps("pump-7"))
    until_us = ORDER.to_us + package.POST_ROLL_US
    request = site.box.request(
        0, 4, keyring=keyring,
        footage=lambda: kept.records(site.box.stream, ORDER.from_us, until_us),
        tips=list(kept.loose(tips_stream(site.box.box.box_id), 0, 1 << 62)),
    )  # fmt: skip
    with (tmp_path / "e.zip").open("w+b") as file:
        package.write(file, request)
    assert verify(tmp_path / "e.zip").verdict is Verdict.AUTHENTIC


def test_an_epoch_that_is_not_held_opens_for_nobody(two_epochs: Site, store: HoldStore) -> None:
    site = two_epochs
    held(site, store)
    records = [r for r in site.box.records if r.header.wall_us >= START_US + 12 * S]
    assert records
    keyring = Keyring(site.box.box.public, "evidence", EVIDENCE_PRIVATE, store.wraps("pump-7"))
    with pytest.raises(SealError, match="not among its recipients"):
        keyring.admit(records[0])
    opener = Opener("evidence", EVIDENCE_PRIVATE, site.box.box.public, store.wraps("pump-7"))
    with pytest.raises(SealError, match="not among its recipients"):
        opener.open(records[0])


def test_a_player_opens_what_is_held_with_the_evidence_key(site: Site, store: HoldStore) -> None:
    held(site, store)
    opener = Opener("evidence", EVIDENCE_PRIVATE, site.box.box.public, store.wraps("pump-7"))
    assert [bool(opener.open(record)) for record in site.box.records[:5]] == [False, True, True, True, True]


def test_without_the_evidence_key_the_wraps_say_nothing(site: Site, store: HoldStore, tmp_path: Path) -> None:
    held(site, store)
    stranger = Keyring(site.box.box.public, "evidence", generate_recipient()[0], store.wraps("pump-7"))
    with pytest.raises(SealError):
        stranger.admit(site.box.records[0])
    opener = Keyring(site.box.box.public, "site", PRIVATE)
    opener.admit(site.box.records[0])
    (dek,) = opener.deks.values()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("holds.sqlite*"))
    assert dek not in kept
    assert b64encode(dek) not in kept


def test_the_store_lists_a_hold_once_and_forgets_a_released_case(site: Site, store: HoldStore) -> None:
    there, box = held(site, store)
    held(site, store)
    assert [(h.id, h.case, h.records) for h in store.holds("pump-7")] == [(there.id, "4711", there.records)]
    assert store.holds("pump-8") == []
    assert holds.release(box, "pump-7", "4711", SimpleNamespace(), store, by="asha", reason="closed") == 100
    assert store.holds() == []
    assert store.wraps("pump-7") == {}


def test_key_records_that_do_not_come_are_an_error_and_nothing_is_listed(
    site: Site, store: HoldStore
) -> None:
    with pytest.raises(UplinkError, match="order again"):
        held(site, store, loses_keys=True)
    assert store.holds() == []


def test_a_box_that_refuses_says_why(site: Site, store: HoldStore) -> None:
    with pytest.raises(CommandRefused, match="evidence log is full"):
        held(site, store, fails="the evidence log is full")
