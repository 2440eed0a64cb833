"""The cause of a gap is read in court: words for people, and never a bare field."""

from __future__ import annotations

import pytest

from edge_agent.export.causes import cause_of
from edge_agent.export.manifest import Cause
from edge_agent.export.proofs import Chosen
from edge_agent.export.rows import Keyring
from edge_agent.export.timeline import Hole
from edge_agent.ledger.leaf import Json, Leaf
from edge_agent.model import ClockTrust, Instant

HOLE = Hole(1_000_000_000, 1_060_000_000, -1, missing=False)
MIDST = Instant(1_030_000_000, 0, ClockTrust.NTP)
NOBODYS = Keyring(b"", "", b"")


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("stop", {"text": "stopped"}, "the agent was stopped"),
        ("standstill", {"lost_s": 4.2}, "the box itself stood still for 4.2 s"),
        ("ring_fault", {"text": "no space left"}, "the box's disk did not take it: no space left"),
        ("boot", {"before": "killed"}, "the agent did not run: killed"),
    ],
)
def test_what_the_ledger_says_of_a_gap_is_a_sentence(kind: str, data: dict[str, Json], words: str) -> None:
    leaves = [Chosen(7, b"", Leaf(kind, MIDST, "b", data))]
    assert cause_of(HOLE, [], leaves, NOBODYS, "cam-01") == Cause("ledger", words, 7)


def test_a_gap_of_which_nobody_speaks_is_not_known() -> None:
    assert cause_of(HOLE, [], [], NOBODYS, "cam-01") == Cause("none", "not known")
