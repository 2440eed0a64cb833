"""The night watch once more, over recorded signals. Pure: the same lines always give the same decisions.

So a rule can be changed and its effect on a month of real nights be read before anybody is troubled by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from edge_agent.clock import timestamp
from edge_agent.errors import FormatError
from edge_agent.health import signal_log
from edge_agent.health.decisions import Decision, Json, kind
from edge_agent.health.watch import NightWatch
from edge_agent.model import Instant


class Replay:
    """Iterate to replay `lines`; counts what was read and what could not be."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.signals = 0
        self.skipped = 0
        self._first_us = self._last_us = 0

    @property
    def first(self) -> str:
        """When the first signal was observed, as a timestamp."""
        return timestamp(self._first_us)

    @property
    def last(self) -> str:
        return timestamp(self._last_us)

    def __iter__(self) -> Iterator[Decision]:
        watch = NightWatch()
        for line in self._lines:
            if not line.strip():
                continue
            try:
                signal, after_ns = signal_log.decode(line)
            except FormatError:
                self.skipped += 1
                continue
            self.signals += 1
            self._first_us = self._first_us or signal.at.wall_us
            self._last_us = signal.at.wall_us
            if watch.now_ns and watch.now_ns < after_ns <= signal.at.boot_ns + LATE_NS:
                yield from watch.advance(Instant(signal.at.wall_us, after_ns, signal.at.trust))
            yield from watch.observe(signal)


LATE_NS = 60_000_000_000  # a signal comes later than it was observed, but not by more


def replay(lines: Iterable[bytes]) -> Iterator[Decision]:
    return iter(Replay(lines))


def line(decision: Decision) -> bytes:
    """A decision as one line of JSON: its moment, the leaf's type and the leaf's data."""
    told = {"ts": timestamp(decision.at.wall_us), "type": kind(decision), "data": decision.to_leaf()}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Story:
    """How an incident was told in the end. `since` is a timestamp."""

    scope: str
    subject: str
    since: str
    until: str
    verdict: str
    confidence: int
    cameras: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The same incident as two runs tell it; None where one of them does not know it."""

    before: Story | None
    after: Story | None


def stories(leaves: Iterable[Mapping[str, Json]]) -> list[Story]:
    """The last word on each incident, in the order of their opening; those merged into others left out."""
    newest: dict[str, Mapping[str, Json]] = {}
    for leaf in leaves:
        newest[str(leaf.get("incident"))] = leaf
    return [_story(leaf) for leaf in newest.values() if not leaf.get("into")]


def differences(before: Iterable[Story], after: Iterable[Story]) -> list[Difference]:
    """What one run tells otherwise than the other: an incident is known by what it befell and since when."""
    old = {(s.scope, s.subject, s.since): s for s in before}
    new = {(s.scope, s.subject, s.since): s for s in after}
    keys = sorted({*old, *new}, key=lambda key: (key[2], key))
    return [Difference(old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _story(leaf: Mapping[str, Json]) -> Story:
    cameras, more, confidence = leaf.get("cameras"), leaf.get("more"), leaf.get("confidence")
    return Story(
        str(leaf.get("scope", "")),
        str(leaf.get("subject", "")),
        str(leaf.get("since", "")),
        str(leaf.get("until") or ""),
        str(leaf.get("verdict", "")),
        confidence if isinstance(confidence, int) else 0,
        (len(cameras) if isinstance(cameras, list) else 0) + (more if isinstance(more, int) else 0),
    )
