"""One daemon per directory, for as long as its process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.errors import EdgeAgentError
from edge_agent.host.lock import sole_owner

HOLDER = """
import sys, time
from pathlib import Path
from edge_agent.host.lock import sole_owner
with sole_owner(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_daemon_is_refused_and_a_third_may_start_when_the_first_is_gone(tmp_path: Path) -> None:
    with (
        sole_owner(tmp_path),
        pytest.raises(EdgeAgentError, match="another edge-agent is at work here"),
        sole_owner(tmp_path),
    ):
        pass
    with sole_owner(tmp_path):
        pass


def test_a_killed_daemon_leaves_no_lock_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EdgeAgentError, match="another edge-agent"), sole_owner(tmp_path):
            pass
        holder.kill()
    with sole_owner(tmp_path):
        pass


def test_a_ring_held_by_another_frees_the_state_again(tmp_path: Path) -> None:
    state, ring = tmp_path / "a", tmp_path / "ring"
    state.mkdir()
    ring.mkdir()
    with (
        sole_owner(ring),
        pytest.raises(EdgeAgentError, match="ring: another edge-agent"),
        sole_owner(state, ring),
    ):
        pass
    with sole_owner(state, ring):
        pass


def test_state_and_ring_may_be_one_directory(tmp_path: Path) -> None:
    with sole_owner(tmp_path, tmp_path / "." / ".." / tmp_path.name):
        pass


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeAgentError, match="gone: No such file"), sole_owner(tmp_path / "gone"):
        pass
