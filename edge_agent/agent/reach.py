"""Do the hosts of silent cameras answer? Asked again and again while they are silent, ever more seldom.

Each knock is one TCP connection; beside it stands what the kernel's neighbour table heard of the machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

from edge_agent.clock import Clock
from edge_agent.events import Fact, Inbox
from edge_agent.host import neighbours
from edge_agent.host.knock import Answer, Target, knock
from edge_agent.supervisor import Beat

CONNECT_TIMEOUT_S = 2.0
LONGEST_PAUSE_S = 60.0
FAST_FOR_S = 60.0  # knocks at the shortest pause before they become seldom: a reboot ends within minutes
MAX_HOSTS = 64
LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class HostChecked(Fact):
    """The result of one TCP knock; `detail` is for people, `ms` the time the answer took.

    `neighbour`: True when the machine itself was heard since the knock, False when nobody answers for its
    address, None when that cannot be told from here.
    """

    host: str
    port: int
    reachable: bool
    detail: str
    ms: int
    refuses: bool = False
    neighbour: bool | None = None


@dataclass(slots=True)
class _Watched:
    since: float
    due: float
    pause_s: float


class Reach:
    """Worker. Knocks at the wanted hosts, all that are due at once."""

    name = "reach"

    def __init__(self, clock: Clock, inbox: Inbox, first_pause_s: float = 5.0) -> None:
        self._clock = clock
        self._inbox = inbox
        self._first_pause_s = first_pause_s
        self._wanted: frozenset[Target] = frozenset()
        self._watched: dict[Target, _Watched] = {}
        self.dropped = 0  # hosts that were wanted beyond the most

    def want(self, hosts: frozenset[Target]) -> None:
        """From now on knock at these (address, port): a new one at once. Any thread; never blocks."""
        if hosts != self._wanted:
            self.dropped += max(len(hosts) - MAX_HOSTS, 0)
            self._wanted = frozenset(sorted(hosts)[:MAX_HOSTS])

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            now = self._clock.monotonic()
            due = self._due(now)
            if due:
                self._knock(due)
            stop.wait(LOOK_EVERY_S)

    def _due(self, now: float) -> list[Target]:
        wanted = self._wanted
        self._watched = {t: w for t, w in self._watched.items() if t in wanted}
        for target in wanted - self._watched.keys():
            self._watched[target] = _Watched(now, now, self._first_pause_s)
        due = [target for target, watched in self._watched.items() if watched.due <= now]
        for target in due:
            self._watched[target] = _next(self._watched[target], now)
        return due

    def _knock(self, targets: list[Target]) -> None:
        began = time.monotonic()
        answers = knock(targets, CONNECT_TIMEOUT_S)
        table = neighbours.neighbours()
        for (host, port), answer in answers.items():
            there = neighbours.present(table.get(host), time.monotonic() - began)
            self._inbox.put(_told(self._clock, host, port, answer, there, listed=host in table))


def _next(watched: _Watched, now: float) -> _Watched:
    """The same pause for the first minute, then doubling."""
    pause_s = watched.pause_s
    if now - watched.since > FAST_FOR_S:
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
    return _Watched(watched.since, now + pause_s, pause_s)


def _told(
    clock: Clock, host: str, port: int, answer: Answer, there: bool | None, *, listed: bool
) -> HostChecked:
    neighbour = True if answer.answers and listed else there
    return HostChecked(
        clock.now(), host, port, answer.answers, answer.detail, answer.ms, answer.refuses, neighbour
    )
