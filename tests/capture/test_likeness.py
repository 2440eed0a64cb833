"""Exact repetition in spite of a running clock, and no mistaking of what lives."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.likeness import MOST_CLOCK, Likeness
from edge_agent.capture.picture_wire import BLOCKS, COLUMNS

STILL = tuple(range(1, BLOCKS + 1))


def with_blocks(blocks: tuple[int, ...], changed: dict[int, int]) -> tuple[int, ...]:
    return tuple(changed.get(i, block) for i, block in enumerate(blocks))


def test_the_first_picture_has_nothing_to_differ_from() -> None:
    change, digest = Likeness().compare(STILL)
    assert change is None
    assert digest


def test_a_still_picture_repeats_exactly_although_its_clock_runs() -> None:
    likeness = Likeness()
    _, digest = likeness.compare(STILL)
    for second in range(100):
        clock = {3: 1000 + second, 4: 2000 + second // 10, COLUMNS + 3: 3000 + second // 60}
        assert likeness.compare(with_blocks(STILL, clock)) == (0.0, digest)


def test_a_live_picture_differs_nearly_everywhere_and_teaches_nothing() -> None:
    likeness, noise = Likeness(), random.Random(1)
    prints = set()
    for _ in range(20):
        change, digest = likeness.compare(tuple(noise.randrange(1 << 32) for _ in range(BLOCKS)))
        prints.add(digest)
        assert change is None or change > 0.99
    assert len(prints) == 20
    likeness.compare(STILL)
    assert likeness.compare(with_blocks(STILL, {100: 0, 160: 0, 220: 0}))[0] == 3 / BLOCKS


def test_a_person_in_a_still_room_is_no_clock() -> None:
    likeness = Likeness()
    likeness.compare(STILL)
    standing = {row * COLUMNS + 7: 9000 + row for row in range(4, 9)}
    change, _ = likeness.compare(with_blocks(STILL, standing))
    assert change == 5 / BLOCKS


def test_another_still_picture_has_another_print() -> None:
    likeness = Likeness()
    _, before = likeness.compare(STILL)
    _, after = likeness.compare(tuple(reversed(STILL)))
    assert after != before


@given(st.lists(st.dictionaries(st.integers(0, BLOCKS - 1), st.integers(0, 3), max_size=30), max_size=30))
def test_the_share_is_a_share_and_the_clock_never_takes_the_picture(moves: list[dict[int, int]]) -> None:
    likeness = Likeness()
    likeness.compare(STILL)
    for move in moves:
        change, _ = likeness.compare(with_blocks(STILL, move))
        assert change is not None
        assert 0.0 <= change <= 1.0
    change, _ = likeness.compare(tuple(block + 1000 for block in STILL))
    assert change == 1.0
    assert len(likeness._clock) <= MOST_CLOCK
