"""What each camera saw, as one unbroken line a camera: the values. Pure; docs/nights.md."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

SEEN, DARK, UNUSABLE, UNKNOWN, MUTED = "seen", "dark", "unusable", "unknown", "muted"

NO_RECORD = "no_record"  # before the first word, or after the last
STARTING = "starting"  # the agent runs, and has not yet seen this camera or missed it
HOLE = "ledger_hole"
UNDETERMINED = "undetermined"  # dark, and the box could not tell why


@dataclass(frozen=True, slots=True)
class Condition:
    """How it was with a camera. `verdict` says why: of unknown, why nobody can tell. 0-100 sure, or None."""

    state: str
    verdict: str = ""
    confidence: int | None = None
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """From `at_us` on it was so, until the next turn."""

    at_us: int
    now: Condition


@dataclass(frozen=True, slots=True)
class Work:
    """Planned work at `cameras` (empty: all), which somebody announced beforehand."""

    from_us: int
    until_us: int
    cameras: tuple[str, ...]
    reason: str
    who: str


@dataclass(frozen=True, slots=True)
class Chronicle:
    """`turns` of every camera, in order; before the first one nothing is known. `begun_us` and `told_us` are
    the times of the first and of the last leaf; `installed_us` is the box's first start, if it is told."""

    turns: Mapping[str, tuple[Turn, ...]] = field(default_factory=dict)
    works: tuple[Work, ...] = ()
    begun_us: int = 0
    told_us: int = 0
    installed_us: int = 0

    def cameras(self) -> tuple[str, ...]:
        return tuple(sorted(self.turns))

    def between(self, camera: str, from_us: int, to_us: int) -> list[tuple[int, int, Condition]]:
        """(from, to, condition) side by side without a hole over the whole range."""
        turns = self.turns.get(camera, ())
        first = bisect_right(turns, from_us, key=lambda turn: turn.at_us)
        begun = [Turn(from_us, turns[first - 1].now if first else Condition(UNKNOWN, NO_RECORD))]
        inside = [turn for turn in turns[first:] if turn.at_us < to_us]
        line = [*begun, *inside]
        ends = [*(turn.at_us for turn in inside), to_us]
        return [(turn.at_us, end, turn.now) for turn, end in zip(line, ends, strict=True) if turn.at_us < end]

    def lasted(self, camera: str, at_us: int) -> tuple[int, int | None]:
        """Since when and until when the condition of this moment held; None: to the last word and on."""
        turns = self.turns.get(camera, ())
        number = bisect_right(turns, at_us, key=lambda turn: turn.at_us)
        since_us = turns[number - 1].at_us if number else 0
        return since_us, turns[number].at_us if number < len(turns) else None
