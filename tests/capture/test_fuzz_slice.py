"""A slice of the long fuzz run: every target, always the same cases."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "long"))

from fuzz_core import GROWTH_BYTES, fuzz_core, fuzz_decode


def test_broken_input_is_refused_in_words_and_never_hangs_the_core() -> None:
    tallies = list(fuzz_core(20_000, seed=7))
    assert sum(tally.cases for tally in tallies) == 20_000
    assert [tally.findings for tally in tallies] == [0] * len(tallies)
    assert all(tally.growth_bytes < GROWTH_BYTES for tally in tallies)


def test_broken_keyframes_leave_the_decode_process_standing_or_are_answered_by_a_new_one() -> None:
    tally = fuzz_decode(300, seed=7)
    assert (tally.cases, tally.findings) == (300, 0)
    assert tally.growth_bytes < GROWTH_BYTES
