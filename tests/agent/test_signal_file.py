"""The signal log: written by chores, rolled over, and never larger than its cap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent.signal_file import DAY_US, SignalFile, files, prune

NOON_US = 20_000 * DAY_US + DAY_US // 2


class PromptChores:
    """Does each chore when told, as the worker would later."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def ask(
        self, question: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[str], None]
    ) -> None:
        def do() -> None:
            try:
                then(question())
            except OSError as error:
                failed(str(error))

        self.waiting.append(do)

    def do_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for chore in waiting:
            chore()


def log(directory: Path) -> tuple[SignalFile, PromptChores]:
    chores = PromptChores()
    return SignalFile(directory, chores), chores  # type: ignore[arg-type]


def test_lines_are_gathered_and_written_in_order(tmp_path: Path) -> None:
    file, chores = log(tmp_path / "signals")
    file.note(b"one", NOON_US)
    file.tick(100.0)
    file.note(b"two", NOON_US + 1)
    file.tick(101.0)  # the first writing is still going on
    chores.do_all()
    file.tick(102.0)
    assert not chores.waiting  # too soon
    file.tick(120.0)
    chores.do_all()
    (written,) = files(tmp_path / "signals")
    assert written.read_bytes() == b"one\ntwo\n"


def test_each_day_and_each_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    for run in range(2):
        file, _ = log(tmp_path)
        for day in range(2):
            file.note(b"x", NOON_US + day * DAY_US + run)
            file.flush()
    assert len(list(files(tmp_path))) == 4


def test_the_oldest_go_and_the_newest_stays(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"signals-{number:016d}.jsonl").write_bytes(bytes(100))
    newest = tmp_path / "signals-0000000000000004.jsonl"
    assert prune(tmp_path, 250, keep=newest) == 3
    assert [p.name[-7] for p in files(tmp_path)] == ["3", "4"]
    assert prune(tmp_path, 10, keep=newest) == 1
    assert list(files(tmp_path)) == [newest]


def test_a_disk_that_refuses_costs_the_log_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "signals").write_text("a file where the directory should be")
    file, chores = log(tmp_path / "signals")
    file.note(b"x", NOON_US)
    file.tick(100.0)
    chores.do_all()
    assert file.dropped == 1
    file.note(b"y", NOON_US)
    file.tick(200.0)
    assert chores.waiting
    chores.do_all()
    assert caplog.text.count("cannot be written") == 1
