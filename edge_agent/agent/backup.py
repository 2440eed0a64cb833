"""Does the backup reach as far back as the policy demands? A pure rule, and the desk that asks it.

What counts is how many days the ring will hold at the present rate, and once old footage is being deleted,
how many it holds: a new box with room enough is not short, a full one that reaches back too little is.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent import durable
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Role
from edge_agent.ring.reader import RingStat

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
LASTING_S = 3600.0  # for so long it must be so, before it is told
ENOUGH_DAYS = 0.25  # of footage, before a rate can be told from it
FULL = 0.9  # of its room: what it holds is what it will hold
SLACK = 1.02  # above the demand by so much, before it counts as cured
NAME = "backup.json"


@dataclass(frozen=True, slots=True)
class Reach:
    """Days of one ring: what it holds, what it will hold (None: too early to tell), what is demanded."""

    role: Role
    holds_days: float
    will_hold_days: float | None
    required_days: int

    @property
    def short(self) -> bool:
        return self.will_hold_days is not None and self.will_hold_days < self.required_days

    @property
    def ample(self) -> bool:
        return self.will_hold_days is not None and self.will_hold_days >= self.required_days * SLACK

    def leaf(self, *, short: bool) -> dict[str, Any]:
        """The data of a `backup_short` or `backup_enough` leaf."""
        will = self.will_hold_days
        words = "will hold" if short else "will hold again"
        return {
            "role": self.role.value,
            "holds_days": round(self.holds_days, 1),
            "will_hold_days": None if will is None else round(will, 1),
            "required_days": self.required_days,
            "text": f"the backup {words} {will or 0:.1f} days; {self.required_days} are demanded",
        }


def reach(
    stat: RingStat, budget_bytes: int, room_bytes: int, max_age_days: int | None, required_days: int
) -> Reach:
    """`room_bytes`: what the disk leaves to the ring beyond what it holds."""
    bound = min(budget_bytes, stat.held_bytes + max(0, room_bytes))
    will: float | None = None
    if room_bytes <= 0 and stat.held_bytes < FULL * budget_bytes:
        will = (
            stat.days
        )  # others fill the disk, and the ring gives way: there will never be enough to tell from
    elif stat.days >= ENOUGH_DAYS and stat.held_bytes > 0 and bound > 0:
        will = stat.days if stat.held_bytes >= FULL * bound else stat.days * bound / stat.held_bytes
        will = min(will, float(max_age_days)) if max_age_days else will
    return Reach(stat.role, stat.days, will, required_days)


@dataclass(frozen=True, slots=True)
class Standing:
    """`short` as it was told last; `since_s`: since when the opposite has been seen without a break."""

    short: bool = False
    since_s: float | None = None


def judge(standing: Standing, now: Reach, now_s: float) -> tuple[Standing, bool]:
    """The new standing, and whether it has turned."""
    turns = now.ample if standing.short else now.short
    if not turns:
        return replace(standing, since_s=None), False
    since_s = now_s if standing.since_s is None else standing.since_s
    if now_s - since_s < LASTING_S:
        return replace(standing, since_s=since_s), False
    return Standing(not standing.short), True


class BackupDesk:
    """Main thread only. The standing outlives a restart: a short backup is cured by configuration."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._path = owner.parts.config.state.directory / NAME
        self._standing = Standing(self._was_short())
        self._reach: Reach | None = None
        self._next_s = 0.0

    def tick(self, now_s: float) -> None:
        if now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        self._reach = self._look()
        if self._reach is None:
            return
        self._standing, turned = judge(self._standing, self._reach, now_s)
        if turned:
            self._tell(self._reach)

    def status(self) -> dict[str, Any]:
        found = self._reach
        if found is None:
            return {}
        return found.leaf(short=self._standing.short) | {"short": self._standing.short}

    @property
    def reach(self) -> Reach | None:
        return self._reach

    @property
    def short(self) -> bool:
        return self._standing.short

    def _look(self) -> Reach | None:
        """Of the ring that holds the evidence."""
        footage, ring = self._owner.footage, self._owner.parts.config.ring
        stat = footage.figures.get(Role.MAIN)
        if stat is None:
            return None
        room = footage.free_bytes - ring.min_free_bytes
        required = self._owner.policy.demand.required_days
        return reach(stat, ring.main.max_bytes, room, ring.main.max_age_days, required)

    def _tell(self, found: Reach) -> None:
        short = self._standing.short
        told = found.leaf(short=short)
        log.log(logging.WARNING if short else logging.INFO, "%s", told["text"])
        self._owner.journal.backup(told, short=short)
        content = json.dumps({"short": short}).encode()
        self._owner.parts.chores.ask(
            lambda: _write(self._path, content), lambda _: None, lambda why: log.error("%s", why)
        )

    def _was_short(self) -> bool:
        try:
            return bool(json.loads(self._path.read_bytes()[:256]).get("short"))
        except (OSError, ValueError, AttributeError):
            return False


def _write(path: Path, content: bytes) -> None:
    try:
        durable.replace(path, content)
    except OSError as error:
        raise EdgeAgentError(f"{path}: {error.strerror}") from error
