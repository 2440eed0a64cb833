"""Every crash prefix: the power fails after each call that rings and ledger make to the disk.

For each prefix the disk is rebuilt in several ways (`crash_disk.Whim`), and the next start must find all that
was promised, read it, and record on. docs/design/ring.md, I1 to I8.
"""

from __future__ import annotations

import itertools
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from aftermath import prefixes, what_can_be_read
from box_story import BOX, PRIVATE, ROLES, Box, promises, tell
from crash_disk import CrashDisk, Whim, remove
from disk_log import DiskLog, Op

from edge_agent.clock import ManualClock
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import verifier
from edge_agent.model import Role
from edge_agent.ring.layout import segment_name
from edge_agent.ring.reader import RingReader
from edge_agent.seal.opener import Opener

FOREVER = 1 << 62
OUTAGE_S = 60


class Story:
    """Told once: the box, and every call that it made."""

    def __init__(self, root: Path) -> None:
        with DiskLog(root) as disk:
            self.box = tell(root, disk)
            self.log = disk.log
            self.leaves = self.box.ledger.log.entries(0, self.box.ledger.log.size)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story") / "box")


def test_the_story_has_every_kind_of_call_in_every_place(story: Story) -> None:
    seen = {(op.kind, op.name.partition("/")[0]) for op in story.log if op.name}
    kinds = ("create", "rename", "sync_directory")
    assert set(itertools.product(kinds, ("main", "sub", "ledger"))) <= seen
    gone = [op.name for op in story.log if op.kind == "unlink" and op.name.endswith(".ear")]
    assert {name.partition("/")[0] for name in gone} == {"main", "sub"}
    assert {"write", "sync"} <= {op.kind for op in story.log}


@pytest.mark.parametrize("whim", Whim)
def test_after_every_prefix_nothing_promised_is_lost_and_recording_goes_on(
    story: Story, tmp_path: Path, whim: Whim
) -> None:
    for calls, disk, evicted in prefixes(story.log):
        _crash_and_return(story, tmp_path, calls, disk, evicted, whim, seed=0)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(1, 41))
def test_after_every_prefix_however_torn(story: Story, tmp_path: Path, seed: int) -> None:
    for calls, disk, evicted in prefixes(story.log):
        _crash_and_return(story, tmp_path, calls, disk, evicted, Whim.TORN, seed)


def _crash_and_return(
    story: Story, place: Path, calls: int, disk: CrashDisk, evicted: frozenset[bytes], whim: Whim, seed: int
) -> None:
    root = place / f"{whim}-{calls}"
    root.mkdir()
    synced = disk.build(root, whim, Random(f"{whim} {calls} {seed}"))
    promised = promises(story.box, calls)
    found = what_can_be_read(root, synced)
    lost = promised.records - evicted - set(found)
    assert not lost, f"after {calls} calls {len(lost)} durable records are lost"
    old = {path: path.read_bytes() for path in root.glob("*/*.ear")}
    clock = ManualClock(story.box.clock.wall_us + OUTAGE_S * 1_000_000, story.box.clock.boot_ns)
    with DiskLog(root) as again:
        box = Box(root, again, clock)
        _ledger_holds(box, story.leaves[: promised.leaves])
        _no_eviction_without_its_leaf(box, story.log[:calls], root)
        box.record(1)
    assert not [path for role in ROLES for path in (root / role.value).glob("*.new")], "litter"
    for path, content in old.items():
        assert path.read_bytes() == content, "a segment of an earlier run was touched"
    assert not {r.header.epoch for r in box.sealed} & set(found.values()), "a key was used again"
    _reads_and_names_the_gap(box, root, promised.records - evicted)
    remove(root)


def _ledger_holds(box: Box, leaves: list[bytes]) -> None:
    recovery = box.ledger.recovery
    assert not recovery.contradicts
    assert recovery.damaged == 0
    assert box.ledger.log.entries(0, len(leaves)) == leaves


def _no_eviction_without_its_leaf(box: Box, log: list[Op], root: Path) -> None:
    """I6: a segment that is gone for good has its leaf in the ledger that was found."""
    said = set()
    for raw in box.ledger.log.entries(0, box.ledger.log.size):
        leaf = leaves_.decode(raw)
        if leaf.kind == "evict":
            said.add(f"{leaf.data['ring']}/{segment_name(int(str(leaf.data['segment'])))}")
    unlinked = {op.name for op in log if op.kind == "unlink" and op.name.endswith(".ear")}
    for name in unlinked:
        if not (root / name).exists():
            assert name in said, f"{name} is gone and no leaf says so"


def _reads_and_names_the_gap(box: Box, root: Path, safe: frozenset[bytes]) -> None:
    reader = RingReader({role: root / role.value for role in ROLES})
    opener = Opener("iccc", PRIVATE, BOX.public)
    for camera in box.cameras:
        records = list(reader.records(camera.stream, 0, FOREVER))
        for before, record in pairwise([records[0], *records]):
            if record.header.n > before.header.n + 1:  # what no sync covered may have a hole
                opener.rejoin(record.header.stream, record.header.epoch)
            opener.open(record)
        mine = [r.digest for r in box.sealed if r.header.stream == camera.stream]
        assert [r.digest for r in records[-len(mine) :]] == mine
        older = [r for r in records[: -len(mine)] if r.digest in safe]
        if older:
            gaps = reader.gaps(camera.stream, older[0].header.wall_us, FOREVER >> 1)
            began_us = records[-len(mine)].header.wall_us
            assert any(gap.to_us == began_us for gap in gaps), "the outage is not named"


def test_the_ledger_on_the_last_disk_verifies(story: Story, tmp_path: Path) -> None:
    *_, (_, disk, _) = prefixes(story.log)
    disk.build(tmp_path, Whim.KEPT, Random(0))
    assert verifier.verify_directory(tmp_path / "ledger").problems == ()
    assert len({Role(path.parent.name) for path in tmp_path.glob("*/*.ear")}) == 2
