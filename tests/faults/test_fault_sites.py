"""An error at every single call that rings and ledger make: documented ends, and nothing sealed is lost.

docs/design/ring.md, "When things fail". The story is told anew for each site; it has found its cure a minute
later, by itself.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from aftermath import prefixes, what_can_be_read
from box_story import BOX, PRIVATE, ROLES, Box, promises, tell
from crash_disk import Whim
from disk_log import DiskLog, Op, touched_after_an_error

from edge_agent import durable
from edge_agent.clock import ManualClock
from edge_agent.events import Fact
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import verifier
from edge_agent.model import Role
from edge_agent.ring.facts import RingFaulted, RingRecovered, SegmentEvicted
from edge_agent.ring.reader import RingReader
from edge_agent.seal.opener import Opener

FOREVER = 1 << 62
SITES_A_TEST = 24
FIRST_SITE = 10  # before it the ledger is being made: its start fails, nothing was promised
ERRORS = ("EIO", "ENOSPC", "short")


class At:
    """Fails the `site`-th call, once."""

    def __init__(self, site: int, error: str) -> None:
        self.site, self.error, self.calls = site, error, 0
        self.hit: Op | None = None

    def __call__(self, op: Op) -> str | None:
        self.calls += 1
        if self.calls != self.site:
            return None
        self.hit = op
        return self.error if op.kind == "write" or self.error != "short" else "EIO"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kinds of the calls that the story makes when all goes well."""
    root = tmp_path_factory.mktemp("sites") / "box"
    with DiskLog(root) as disk:
        tell(root, disk)
        return [op.kind for op in disk.log]


@pytest.fixture(scope="module")
def sites(calls: list[str]) -> int:
    return len(calls)


def test_the_story_has_sites_for_every_test(sites: int) -> None:
    assert SITES_A_TEST < sites <= SITES_A_TEST * 6


@pytest.mark.parametrize("part", range(6))
def test_one_error_at_any_call_is_cured_and_loses_nothing(tmp_path: Path, sites: int, part: int) -> None:
    """The three errors in turn, so that neighbouring sites of one kind see all of them."""
    for site in range(1 + part * SITES_A_TEST, min(sites, (part + 1) * SITES_A_TEST) + 1):
        _tell_with_an_error(tmp_path / str(site), site, ERRORS[site % 3])


@pytest.mark.parametrize("whim", [Whim.LOST, Whim.TORN])
def test_a_failed_sync_and_then_a_power_cut_take_nothing_that_was_promised(
    tmp_path: Path, calls: list[str], whim: Whim
) -> None:
    """The kernel has marked the pages clean and dropped them: what a second sync would say is a lie."""
    for site, kind in enumerate(calls, 1):
        root, found = tmp_path / f"box-{site}", tmp_path / f"found-{site}"
        if kind != "sync" or site < FIRST_SITE:
            continue
        with DiskLog(root, At(site, "EIO")) as disk:
            box = tell(root, disk)
            leaves = box.ledger.log.entries(0, box.ledger.log.size)
        *_, (_, crashed, evicted) = prefixes(disk.log)
        promised = promises(box, len(disk.log))
        synced = crashed.build(found, whim, Random(site))
        assert promised.records - evicted <= set(what_can_be_read(found, synced)), f"sync at call {site}"
        with DiskLog(found) as again:
            after = Box(found, again, ManualClock())
            assert after.ledger.log.entries(0, promised.leaves) == leaves[: promised.leaves]


@pytest.mark.long
@pytest.mark.parametrize("error", ERRORS)
def test_every_error_at_every_call_is_cured_and_loses_nothing(tmp_path: Path, sites: int, error: str) -> None:
    for site in range(1, sites + 1):
        _tell_with_an_error(tmp_path / str(site), site, error)


def _tell_with_an_error(root: Path, site: int, error: str) -> None:
    fault = At(site, error)
    with DiskLog(root, fault) as disk:
        try:
            box = tell(root, disk)
        except OSError:  # the ledger cannot be opened: the start fails, and the next one works
            assert not list(root.glob("*/*.ear"))
            box = tell(root, disk)
        leaves = box.ledger.log.entries(0, box.ledger.log.size)
    where = f"{error} at call {site}, {fault.hit}"
    place = _place(fault.hit, disk.log)
    touched = touched_after_an_error(disk.log)
    assert touched == [] or place == "ledger/hashes", where  # never synced, made again from the leaves
    assert all(ring.counters().waiting_bytes == 0 for ring in box.rings.values()), where
    faults, cured = _facts(box, RingFaulted), _facts(box, RingRecovered)
    assert len(faults) == len(cured) == int(place.endswith(".ear")), where
    evicted = [fact for fact in _facts(box, SegmentEvicted) if isinstance(fact, SegmentEvicted)]
    assert place.startswith("ledger") or all(fact.acknowledged for fact in evicted), where
    _everything_is_there(box, root, {fact.role for fact in evicted}, where)
    _every_leaf_is_there(root, leaves, where)


def _place(op: Op | None, log: list[Op]) -> str:
    """The file whose writing the failed call belongs to; a directory where it is not about new footage."""
    assert op is not None
    names = {made.file: made.name for made in log if made.kind == "create"}
    at = next((i for i, made in enumerate(log) if made.failed), 0)
    if op.kind == "sync_directory" and log[at - 1].kind == "sync":  # step S4 follows S3
        return names[log[at - 1].file]
    return "" if op.kind == "unlink" else op.name or names.get(op.file, "")


def _facts(box: Box, kind: type[Fact]) -> list[Fact]:
    return [fact for _, fact in box.ears.heard if isinstance(fact, kind)]


def _everything_is_there(box: Box, root: Path, evicted: set[Role], where: str) -> None:
    """Each stream plays to its end, from its beginning where nothing was evicted, and every record opens."""
    reader, opener = (
        RingReader({role: root / role.value for role in ROLES}),
        Opener("iccc", PRIVATE, BOX.public),
    )
    for camera in box.cameras:
        mine = [r.digest for r in box.sealed if r.header.stream == camera.stream]
        read = list(reader.records(camera.stream, 0, FOREVER))
        for record in read:
            opener.open(record)
        if camera.key.role not in evicted:
            assert [r.digest for r in read] == mine, where
        played = [r.digest for r in read if r.header.n > 1]
        assert played == [d for d in mine if d in set(played)], where
        assert played[-1] == mine[-1], where


def _every_leaf_is_there(root: Path, leaves: list[bytes], where: str) -> None:
    marks = [leaf.data["n"] for leaf in map(leaves_.decode, leaves) if leaf.kind == "mark"]
    assert len(marks) >= 7, where
    assert verifier.verify_directory(root / "ledger").problems == (), where


@pytest.fixture
def state(tmp_path: Path) -> Path:
    root = tmp_path / "state"
    root.mkdir()
    return root


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("site", range(1, 7))
def test_a_file_that_could_not_be_replaced_is_the_old_one_and_leaves_no_draft(
    state: Path, site: int, error: str
) -> None:
    (state / "x").mkdir()
    path = state / "x" / "roster.json"
    with DiskLog(state) as disk:
        durable.replace(path, b"old")
        made = len(disk.log)
        disk.fault = fault = At(site, error)
        try:
            durable.replace(path, b"the new one")
        except OSError:
            assert fault.hit is not None
            assert path.read_bytes() == (b"the new one" if fault.hit.kind == "sync_directory" else b"old")
            assert list(path.parent.iterdir()) == [path]
            durable.replace(path, b"the new one")
        assert made == 5
    assert path.read_bytes() == b"the new one"
    assert touched_after_an_error(disk.log) == []
