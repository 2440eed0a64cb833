"""Orders, leaves and replies around the evidence thread; the thread, its disk and its crashes are real."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from evidence_site import Site
from evidence_world import START_US, S

from edge_agent.agent.chores import ChoreDone, ChoreFailed
from edge_agent.agent.evidence import EvidenceDesk, pages
from edge_agent.agent.evidence_worker import EvidenceWorker, Held
from edge_agent.clock import ManualClock
from edge_agent.errors import RingError
from edge_agent.events import BoundedInbox
from edge_agent.model import Role, StreamKey
from edge_agent.ring.evidence import EvidenceLog
from edge_agent.ring.hold import Bounds, HoldState, Stretch
from edge_agent.ring.reader import RingReader
from edge_agent.seal.record import Kind

ROOT = Path(__file__).parents[2]


@dataclass
class Owner:
    """An owner with the real desk and the real thread; leaves are kept in a list."""

    site: Site
    bounds: Bounds = field(default_factory=lambda: Bounds(1 << 30, 1 << 30))
    leaves: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    durable: bool = True

    def __post_init__(self) -> None:
        self.clock = ManualClock(wall_us=START_US + 1000 * S)
        self.inbox = BoundedInbox()
        log = EvidenceLog(self.directory, self.bounds, self.site.box.box.box_id, bytes(16))
        ring = RingReader({Role.MAIN: self.site.root / "ring/main"})
        self.worker = EvidenceWorker(log, ring, self.clock, self.inbox)
        self.parts = SimpleNamespace(evidence=self.worker, clock=self.clock, chores=self)
        self.stream_ids = {StreamKey("cam-01", Role.MAIN): self.site.box.stream}
        self.footage = SimpleNamespace(records=lambda role: role is Role.MAIN)
        self.journal = SimpleNamespace(hold=self._hold, release=self._release)
        self.desk = EvidenceDesk(self)  # type: ignore[arg-type]
        self._stop = Event()
        self._thread = Thread(target=self.worker.run, args=(self._stop, lambda: None))

    @property
    def directory(self) -> Path:
        return self.site.root / "ring/evidence"

    def ask(self, question: Callable[[], Any], then: Callable[[Any], None], failed: Callable) -> None:
        then(question())

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def until(self, true: Callable[[], object]) -> None:
        """Hear the thread's facts, as the main thread does."""
        deadline = time.monotonic() + 20
        while not true():
            assert time.monotonic() < deadline
            fact = self.inbox.take(0.05)
            if isinstance(fact, ChoreDone):
                fact.then(fact.answer)
            elif isinstance(fact, ChoreFailed):
                fact.failed(fact.reason)

    def order(self, start_s: float = 0, end_s: float = 4, case: str = "4711") -> list[Any]:
        """What came of it: a Held, or why not."""
        edges = START_US + round(start_s * S), START_US + round(end_s * S)
        came: list[Any] = []
        stretch = self.desk.stretch("cam-01", Role.MAIN, *edges, case)
        self.desk.hold(stretch, "asha", came.append, came.append)
        return came

    def _hold(self, told: dict[str, Any], *, alarm: bool) -> Event:
        self.leaves.append(("hold", told | {"alarm": alarm}))
        return self._noted()

    def _release(self, told: dict[str, Any]) -> Event:
        self.leaves.append(("release", told))
        return self._noted()

    def _noted(self) -> Event:
        noted = Event()
        if self.durable:
            noted.set()
        return noted


@pytest.fixture
def owner(site: Site) -> Iterator[Owner]:
    owner = Owner(site)
    owner.start()
    yield owner
    owner.end()


def test_a_hold_is_told_once_in_the_ledger_with_its_digest(owner: Owner) -> None:
    first = owner.order()
    owner.until(lambda: first and owner.worker.held()[0].noted)
    again = owner.order()
    owner.until(lambda: again)
    assert [held.fresh for held in first + again] == [True, False]
    (leaf,) = [told for kind, told in owner.leaves if kind == "hold"]
    assert leaf["digest"] == first[0].hold.digest == again[0].hold.digest
    assert (leaf["case"], leaf["who"], leaf["alarm"]) == ("4711", "asha", True)


def test_a_leaf_that_was_not_durable_when_the_box_died_is_written_by_the_next_run(site: Site) -> None:
    runs = [Owner(site, durable=False), Owner(site)]
    for run in runs:
        run.start()
        came = run.order() if run is runs[0] else run.leaves
        run.until(lambda came=came: came)
        run.end()
    first, second = (run.leaves[0][1] for run in runs)
    assert (first["digest"], second["who"]) == (second["digest"], "agent")


def test_the_key_records_come_with_it_in_pages_that_fit_a_reply(owner: Owner) -> None:
    came = owner.order(0, 12)
    owner.until(lambda: came)
    assert [key.header.kind for key in came[0].keys] == [Kind.KEY]
    many = Held(came[0].hold, came[0].keys * 300, True)
    assert sum(map(len, pages(many))) == 300
    assert max(sum(map(len, page)) for page in pages(many)) <= 40_000


def test_the_seconds_around_a_darkness_are_held_when_its_mark_has_come(owner: Owner) -> None:
    owner.clock.wall_us = START_US + 12 * S
    owner.desk.keep("cam-01", START_US + 4 * S, START_US + 34 * S, "incident 7")
    time.sleep(0.7)
    assert owner.leaves == []
    owner.clock.advance(30 + 75)
    owner.until(lambda: owner.leaves)
    ((_, leaf),) = owner.leaves
    assert (leaf["case"], leaf["alarm"], leaf["who"]) == ("dark-7", False, "night watch")


def test_a_camera_that_is_not_recorded_is_nothing_to_hold(owner: Owner) -> None:
    owner.desk.keep("cam-9", START_US, START_US + S, "incident 7")
    with pytest.raises(RingError, match="not recorded here"):
        owner.desk.stretch("cam-9", Role.MAIN, START_US, START_US + S, "4711")


@pytest.mark.parametrize(
    ("start_s", "end_s", "case", "why"),
    [(4, 2, "4711", "after the start"), (0, 9000, "4711", "past"), (0, 4, "dark-1", "night watch's")],
)
def test_an_order_that_makes_no_sense_is_refused_with_its_reason(
    owner: Owner, start_s: float, end_s: float, case: str, why: str
) -> None:
    with pytest.raises(RingError, match=why):
        owner.order(start_s, end_s, case)


def test_a_refusal_is_remembered_for_who_asks_again(owner: Owner) -> None:
    came = owner.order(500, 510)
    owner.until(lambda: came)
    assert came == ["nothing is recorded of this camera in that time"]
    assert list(owner.desk.refused.values()) == came
    assert owner.worker.held() == []


def test_a_release_is_in_the_ledger_before_anything_is_removed(owner: Owner) -> None:
    owner.durable = False
    held, released = owner.order(), []
    owner.until(lambda: held)
    owner.desk.release("4711", "asha", released.append, released.append)
    time.sleep(0.7)
    assert len(owner.worker.held()) == 1
    owner.clock.advance(61)
    owner.until(lambda: released)
    assert released == ["the ledger did not take the release; nothing was removed"]
    owner.durable = True
    owner.desk.release("4711", "asha", released.append, released.append)
    owner.until(lambda: len(released) == 2)
    assert released[1] == held[0].hold.bytes
    assert owner.worker.held() == []


def test_releasing_what_is_not_held_says_so(owner: Owner) -> None:
    came: list[Any] = []
    owner.desk.release("0815", "asha", came.append, came.append)
    assert came == ["nothing is held for case 0815"]


def test_a_full_queue_refuses_and_counts(site: Site) -> None:
    owner = Owner(site)  # its thread does not run
    came = [owner.order(0, 4, f"case {n}") for n in range(130)]
    assert owner.worker.dropped == 2
    assert [c for c in came if c] == [["too many holds are waiting"]] * 2


PROGRAM = """
import sys
from pathlib import Path
root, ring, evidence, box, stream, at, end = sys.argv[1:]
sys.path.insert(0, root)
from edge_agent.model import Role
from edge_agent.ring import hold_copy
from edge_agent.ring.evidence import EvidenceLog
from edge_agent.ring.hold import Bounds, Stretch
from edge_agent.ring.reader import RingReader
import time
hold_copy.BATCH_BYTES = 1000
log = EvidenceLog(Path(evidence), Bounds(1 << 30, 1 << 30), bytes.fromhex(box), bytes(16))
hold = log.admit(Stretch("4711", "cam-01", Role.MAIN, bytes.fromhex(stream), int(at), int(end)), 1)
for _ in log.copy(hold, RingReader({Role.MAIN: Path(ring)}), 1):
    print("step", flush=True)
    time.sleep(0.005)
"""


def test_an_order_killed_midway_is_finished_by_the_next_run(site: Site) -> None:
    end_us = START_US + 12 * S
    command = [
        sys.executable, "-c", PROGRAM, str(ROOT), str(site.root / "ring/main"),
        str(site.root / "ring/evidence"), site.box.box.box_id.hex(), site.box.stream.hex(),
        str(START_US), str(end_us),
    ]  # fmt: skip
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(random.randint(1, 4)):
                child.stdout.readline()
            child.kill()
    owner = Owner(site)
    assert [hold.state for hold in owner.worker.held()] == [HoldState.COPYING]
    owner.start()
    try:
        owner.until(lambda: owner.leaves)
    finally:
        owner.end()
    (hold,) = owner.worker.held()
    shutil.rmtree(site.root / "ring/main")
    stretch = Stretch("4711", "cam-01", Role.MAIN, site.box.stream, START_US, end_us)
    kept = list(
        RingReader({Role.MAIN: owner.directory / hold.id}).records(stretch.stream, START_US, end_us + 75 * S)
    )
    assert hold.state is HoldState.WHOLE
    assert [r.raw for r in kept] == [r.raw for r in site.box.records]
    assert owner.leaves[0][1]["who"] == "agent"
