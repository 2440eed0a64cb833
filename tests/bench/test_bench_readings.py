from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process, steady, syncs
from bench.blindfold import SENSES, Blindfold
from bench.remux import PlainSealer
from bench.stopwatch import SEAMS, Stopwatch
from bench.table import table
from bench.watch import Cost
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Endpoint, Fragment, InitSegment, Instant, Role, StreamKey, StreamSpec

AT = Instant(1_790_000_000_000_000, 1_000_000_000)


class Idle:
    """A party that is asked to record and does not."""

    name = "idle"
    cameras = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def pids(self) -> tuple[int, ...]:
        return (os.getpid(),)

    def check(self) -> None:
        pass

    def __enter__(self) -> Idle:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_process_clock_reads_what_the_process_itself_reads() -> None:
    before = time.process_time()
    read = process.cpu_s(os.getpid())
    assert before <= read <= time.process_time()


def test_children_and_their_memory_are_seen(sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.pid in process.children(os.getpid())
    used = process.memory(sleeper.pid)
    assert 0 < used.pss <= used.rss


def test_who_records_too_little_is_not_measured(tmp_path: Path) -> None:
    with Idle(tmp_path) as party, pytest.raises(EdgeAgentError, match="idle wrote 0%"):
        steady.measure(party, 0.01)


def test_ratios_go_round_by_round_and_are_shown_with_their_range() -> None:
    found = steady.ratios([1.0, 3.0, 2.0], [1.0, 2.0, 2.0])
    assert found == [1.0, 1.5, 1.0]
    assert steady.shown(found) == "1.00 (1.00-1.50)"
    assert steady.shown([0.938]) == "0.94"


def test_syncs_are_counted_by_folder_within_the_window_and_once_when_interrupted() -> None:
    lines = [
        "12 99.9 fdatasync(5</s/ring/main/0000000001.ear>) = 0",
        "12 100.0 fdatasync(5</s/ring/main/0000000001.ear>) = 0",
        "13 100.1 fdatasync(6</s/ring/sub/0000000001.ear> <unfinished ...>",
        "12 100.7 fdatasync(5</s/ring/main/0000000001.ear>) = 0",
        "13 100.8 <... fdatasync resumed>) = 0",
        "14 101.0 fsync(7</s/ring/main>) = 0",
        "12 102.0 fdatasync(5</s/ring/main/0000000001.ear>) = 0",
    ]
    assert syncs.calls(lines, Path("/s"), 100.0, 102.0) == {
        ("ring main", "fdatasync"): 2,
        ("ring sub", "fdatasync"): 1,
        ("ring main", "fsync"): 1,
    }


def test_a_stopwatch_counts_a_nested_seam_once() -> None:
    now_ns = 0

    def spend(ns: int) -> None:
        nonlocal now_ns
        now_ns += ns

    watch = Stopwatch(lambda: now_ns)
    inner = watch.at("inner", lambda: spend(30))

    def body() -> None:
        spend(5)
        inner()
        inner()
        spend(2)

    watch.at("outer", body)()
    assert watch.spent_ns == {"inner": 60, "outer": 7}
    assert watch.calls == 3


def test_a_stopwatch_survives_an_error_in_what_it_times() -> None:
    watch = Stopwatch()

    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        watch.at("failing", fail)()
    assert watch.calls == 1


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for _, owner, name in SEAMS])
def test_every_seam_with_a_stopwatch_is_still_there(owner: object, name: str) -> None:
    assert callable(getattr(owner, name))


def test_a_record_that_is_not_sealed_is_as_long_as_its_header_says() -> None:
    spec = StreamSpec(StreamKey("cam-01", Role.MAIN), Endpoint("rtsp://h/", "127.0.0.1", 554), bytes(16))
    plain = PlainSealer(spec, bytes(16))
    key, init = plain.begin_epoch(InitSegment(b"i" * 700, "avc3.64001f", 1920, 1080, 90000), AT)
    fragment = plain.seal(Fragment(b"f" * 9000, AT, 200_000, 0, True, False, 5))
    gap = plain.seal_gap("lost", AT, AT)
    records = (key, init, fragment, gap)
    assert [r.header.record_length for r in records] == [len(r.raw) for r in records]
    assert fragment.raw == b"f" * 9000
    assert [r.header.n for r in records] == [0, 1, 2, 3]


def test_a_blindfolded_sense_is_not_asked() -> None:
    asked: list[str] = []
    blindfold = Blindfold()
    look = blindfold.over(asked.append)
    for turn, word in ((blindfold.tie, "blind"), (blindfold.take_off, "seeing")):
        turn()
        look(word)
    assert asked == ["seeing"]
    assert all(callable(getattr(owner, name)) for owner, name in SENSES)


def test_the_watch_costs_what_seeing_takes_more_than_being_blind() -> None:
    cost = Cost(seeing=[0.30, 0.34], blind=[0.28, 0.30], daemon_seeing=[0.2, 0.2], daemon_blind=[0.2, 0.2])
    assert cost.a_camera(2) == pytest.approx([1.0, 2.0])
    assert cost.daemon_a_camera(2) == [0.0, 0.0]


def test_results_are_markdown() -> None:
    lines = table("Title", ("a", "b"), [(1, "x")]).splitlines()
    assert lines == ["### Title", "", "| a | b |", "| --- | --- |", "| 1 | x |"]


def test_an_unknown_item_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "sael"],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such item: sael" in done.stderr
