"""How the previous run ended, told from one small file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.host.alive import AliveFile, Ending, LastRun, encode, judge
from edge_agent.model import ClockTrust, Instant

BOOT, NEXT_BOOT = b"\1" * 16, b"\2" * 16


@pytest.mark.parametrize(
    ("clean", "boot", "ending"),
    [
        (True, BOOT, Ending.STOPPED),
        (True, NEXT_BOOT, Ending.BOX_SHUTDOWN),
        (False, BOOT, Ending.KILLED),
        (False, NEXT_BOOT, Ending.POWER_LOST),
    ],
)
def test_goodbye_and_boot_id_tell_the_ending(
    tmp_path: Path, clean: bool, boot: bytes, ending: Ending
) -> None:
    clock = ManualClock()
    before = AliveFile(tmp_path, BOOT)
    before.beat(clock.now())
    lived = clock.now()
    if clean:
        before.goodbye(lived)
    last = AliveFile(tmp_path, boot).previous()
    assert last == LastRun(ending, lived, BOOT)
    assert last.clean is clean


def test_the_first_start_knows_nothing(tmp_path: Path) -> None:
    assert AliveFile(tmp_path, BOOT).previous() == LastRun(Ending.FIRST_START)


def test_beats_are_written_once_a_minute_of_boottime(tmp_path: Path) -> None:
    clock, file = ManualClock(), AliveFile(tmp_path, BOOT)
    seen = []
    for _ in range(180):
        file.beat(clock.now())
        seen.append((tmp_path / "alive.json").read_bytes())
        clock.step_wall(-3600)  # the wall clock has no say in it
        clock.advance(1)
    assert len(set(seen)) == 3


def test_a_goodbye_is_taken_back_by_the_next_run(tmp_path: Path) -> None:
    clock = ManualClock()
    AliveFile(tmp_path, BOOT).goodbye(clock.now())
    AliveFile(tmp_path, BOOT).beat(clock.now())
    assert AliveFile(tmp_path, NEXT_BOOT).previous().ending is Ending.POWER_LOST


def test_a_write_that_fails_is_logged_once_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = ManualClock(), AliveFile(tmp_path / "missing", BOOT)
    for _ in range(200):
        file.beat(clock.now())
        clock.advance(1)
    assert len(caplog.records) == 1


@given(
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    st.sampled_from(ClockTrust),
    st.booleans(),
    st.binary(min_size=16, max_size=16),
)
def test_what_is_written_is_read_back(
    wall: int, boot: int, trust: ClockTrust, clean: bool, boot_id: bytes
) -> None:
    now = Instant(wall, boot, trust)
    last = judge(encode(boot_id, now, clean=clean), boot_id)
    assert (last.alive, last.boot_id) == (now, boot_id)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()),
    )
)
def test_a_damaged_file_is_unreadable_never_an_error(content: bytes) -> None:
    assert judge(content, BOOT) == LastRun(Ending.UNREADABLE)


@given(st.integers(0, 150))
def test_a_torn_file_is_unreadable(cut: int) -> None:
    whole = encode(BOOT, ManualClock().now(), clean=False)
    assert judge(whole[: min(cut, len(whole) - 2)], BOOT).ending is Ending.UNREADABLE
