"""What a verification says: a verdict, problems with their places, what is not anchored, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MAX_PROBLEMS = 100
OTHER_FILE = "it is not the file that was exported"


class Verdict(StrEnum):
    AUTHENTIC = "AUTHENTIC"
    AUTHENTIC_WITH_GAPS = "AUTHENTIC_WITH_GAPS"
    UNANCHORED_TAIL = "UNANCHORED_TAIL"
    NOT_AUTHENTIC = "NOT_AUTHENTIC"


# 1 and 2 are what a crash and a mistyped command return.
EXIT_CODES = {
    Verdict.AUTHENTIC: 0,
    Verdict.AUTHENTIC_WITH_GAPS: 3,
    Verdict.UNANCHORED_TAIL: 4,
    Verdict.NOT_AUTHENTIC: 5,
}
UNUSABLE = 6


class Unusable(Exception):
    """The file is no evidence package at all, or one that is built to do harm."""


@dataclass(frozen=True, slots=True)
class Place:
    """A record: its epoch, number and wall time (microseconds), and the picture file it plays in."""

    camera: str
    epoch: str
    n: int
    wall_us: int
    clip: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was recorded or exported. `what` names a file, leaf or record."""

    what: str
    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """Records that no cosigned minute mark leads to, from one place to another, and how many fragments."""

    first: Place
    last: Place
    fragments: int
    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing is there from `from_us` to `to_us` (wall time); `clip`, `at_us`: where a viewer passes it."""

    from_us: int
    to_us: int
    cause: str
    clip: str
    at_us: int


@dataclass(slots=True)
class Findings:
    """Collects while checks go on. After a hundred problems more are only counted."""

    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    def add(self, what: str, text: str, place: Place | None = None) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(what, text, place))
        else:
            self.more += 1

    def check(self, holds: bool, what: str, text: str, place: Place | None = None) -> bool:
        if not holds:
            self.add(what, text, place)
        return holds


@dataclass(frozen=True, slots=True)
class Report:
    """`facts` are the manifest's own words; `keys` says of each key whether it was pinned."""

    verdict: Verdict
    reason: str
    problems: tuple[Problem, ...]
    more_problems: int
    tails: tuple[Tail, ...]
    gaps: tuple[Missing, ...]
    fragments: int
    anchored: int
    cosigned_s: int | None
    trust: str
    keys: dict[str, str]
    facts: dict[str, object]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


def verdict_of(findings: Findings, tails: Iterable[Tail], gaps: Iterable[Missing]) -> tuple[Verdict, str]:
    """The worst that was found, and the sentence that says so."""
    if findings.problems:
        told = (p for p in findings.problems if p.place or p.text != OTHER_FILE)  # says more than a hash can
        first = next(told, findings.problems[0])
        return Verdict.NOT_AUTHENTIC, f"{first.what}: {first.text}"
    tails, gaps = list(tails), list(gaps)
    if tails:
        count = sum(tail.fragments for tail in tails)
        return Verdict.UNANCHORED_TAIL, f"{count} fragments are not anchored: {tails[0].text}"
    if gaps:
        seconds = sum(gap.to_us - gap.from_us for gap in gaps) / 1e6
        return (
            Verdict.AUTHENTIC_WITH_GAPS,
            f"what is here is authentic; {len(gaps)} gap{'s' * (len(gaps) != 1)}, {seconds:.1f} s in all",
        )
    return Verdict.AUTHENTIC, "every picture is as it was recorded, and nothing is missing"
