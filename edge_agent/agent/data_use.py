"""How much of the month's data the box has used, and the word of warning before it is gone.

Counted are IP bytes of both connections in both directions, as a mobile operator counts them. The link is
never cut at the end of a budget: what the city must hear costs little, and what costs is asked by people.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from edge_agent import durable
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
SAVE_EVERY_S = 600.0  # what a power cut may forget
WARN_PERCENT = (80, 100)
MAX_FILE = 4096
NAME = "data-use.json"


@dataclass(frozen=True, slots=True)
class DataUse:
    """`month` by the site's calendar, e.g. 2026-11; `told` is the percentage last warned of."""

    month: str
    used: int = 0
    told: int = 0


def add(use: DataUse, month: str, more: int) -> DataUse:
    """A new month begins at nothing; a clock that was set back begins none."""
    if month > use.month:
        return DataUse(month, more)
    return replace(use, used=use.used + more)


def warning(use: DataUse, budget: int) -> int | None:
    """The percentage to warn of now, once each a month."""
    reached = [percent for percent in WARN_PERCENT if use.used * 100 >= budget * percent]
    return reached[-1] if reached and reached[-1] > use.told else None


def month_of(wall_us: int, zone: str) -> str:
    return f"{datetime.fromtimestamp(wall_us / 1e6, UTC).astimezone(ZoneInfo(zone)):%Y-%m}"


def encode(use: DataUse) -> bytes:
    return json.dumps({"month": use.month, "used": use.used, "told": use.told}).encode()


def decode(content: bytes) -> DataUse | None:
    """None for a file that says nothing."""
    try:
        told = json.loads(content[:MAX_FILE])
        return DataUse(str(told["month"]), max(0, int(told["used"])), int(told["told"]))
    except (ValueError, KeyError, TypeError):
        return None


class DataDesk:
    """Main thread only."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._path = owner.parts.config.state.directory / NAME
        self._use = self._load()
        self._counted = 0  # of what the links carried since the start
        self._next_s = self._save_s = 0.0

    def tick(self, now_s: float) -> None:
        if now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        carried = self._owner.link.carried
        self._use = add(self._use, self._month(), carried - self._counted)
        self._counted = carried
        percent = self._due()
        if percent is not None:
            self._use = replace(self._use, told=percent)
            self._warn(percent)
        if percent is not None or now_s >= self._save_s:
            self._save_s = now_s + SAVE_EVERY_S
            self._save()

    def status(self) -> dict[str, Any]:
        return {
            "month": self._use.month,
            "used_mb": round(self._use.used / 1e6, 1),
            "budget_mb": self._owner.parts.config.uplink.monthly_mb,
        }

    def _due(self) -> int | None:
        budget_mb = self._owner.parts.config.uplink.monthly_mb
        return None if budget_mb is None else warning(self._use, budget_mb * 1_000_000)

    def _warn(self, percent: int) -> None:
        told = self.status()
        text = f"{told['used_mb']} of {told['budget_mb']} MB of this month's data are used"
        log.warning("%s", text)
        self._owner.journal.data_budget(told | {"percent": percent, "text": text})

    def _save(self) -> None:
        content = encode(self._use)
        self._owner.parts.chores.ask(
            lambda: _write(self._path, content), lambda _: None, lambda why: log.error("%s", why)
        )

    def _load(self) -> DataUse:
        try:
            known = decode(self._path.read_bytes())
        except OSError:
            known = None
        return known or DataUse(self._month())

    def _month(self) -> str:
        parts = self._owner.parts
        return month_of(parts.clock.now().wall_us, parts.config.site.timezone)


def _write(path: Path, content: bytes) -> None:
    try:
        durable.replace(path, content)
    except OSError as error:
        raise EdgeAgentError(f"{path}: {error.strerror}") from error
