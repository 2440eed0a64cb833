"""What the city demands of a site: when its cameras must see, and how many days of backup it keeps. Pure.

A policy comes from the command centre, signed (`edge_agent.uplink.policy`); without one the box's own
configuration decides. With one, the configuration's `duty` and `required_days` count no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edge_agent.config import CAMERA_ID, Config, Kind
from edge_agent.health import duty
from edge_agent.health.duty import Hours
from edge_agent.health.nights import Schedule

MAX_SPANS = 8
MAX_HOLIDAYS = 400
MAX_CAMERAS = 512

_SPAN = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _is_span(text: str) -> str:
    if not _SPAN.fullmatch(text):
        raise ValueError(f"{text[:16]!r} is not HH:MM-HH:MM")
    return text


def _is_night(text: str) -> str:
    start, end = text.split("-")
    if not end < start:
        raise ValueError("a night passes midnight")
    return text


Span = Annotated[str, Field(max_length=11), AfterValidator(_is_span)]
Spans = Annotated[tuple[Span, ...], Field(max_length=MAX_SPANS)]
CameraId = Annotated[str, Field(pattern=CAMERA_ID)]


class Rule(BaseModel):
    """Hours of one kind of establishment, or of one camera. No span on a day: it need not see.

    A span that passes midnight belongs to the day on which it begins. Holidays win over weekdays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hours: Spans = duty.ALWAYS
    weekdays: dict[Weekday, Spans] = {}
    holidays: Annotated[dict[date, Spans], Field(max_length=MAX_HOLIDAYS)] = {}

    def read(self) -> Hours:
        weekdays = {_DAYS.index(day): spans for day, spans in self.weekdays.items()}
        return Hours(self.hours, weekdays, self.holidays)


class KindRule(Rule):
    """And the days of backup that such an establishment must keep."""

    required_days: int = Field(30, ge=1, le=3650)


class DutyPolicy(BaseModel):
    """`kinds` win over `default`, `cameras` over both. `night` is reported apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    night: Annotated[Span, AfterValidator(_is_night)] = duty.NIGHT
    default: KindRule = KindRule()
    kinds: dict[Kind, KindRule] = {}
    cameras: Annotated[dict[CameraId, Rule], Field(max_length=MAX_CAMERAS)] = {}

    def of_kind(self, kind: Kind) -> KindRule:
        return self.kinds.get(kind, self.default)


@dataclass(frozen=True, slots=True)
class Demand:
    """What holds at one site now."""

    schedule: Schedule
    required_days: int


def demand(config: Config, policy: DutyPolicy | None = None, version: int = 0) -> Demand:
    """The policy read for this site; without one, what the configuration says."""
    zone = config.site.timezone
    if policy is None:
        own = {c.id: Hours(c.duty) for c in config.cameras if c.duty is not None}
        return Demand(Schedule(zone, Hours(config.site.duty), own), config.ring.required_days)
    rule = policy.of_kind(config.site.kind)
    return Demand(schedule(policy, config.site.kind, zone, version), rule.required_days)


def schedule(policy: DutyPolicy, kind: Kind, zone: str, version: int) -> Schedule:
    cameras: Mapping[str, Hours] = {camera: rule.read() for camera, rule in policy.cameras.items()}
    return Schedule(zone, policy.of_kind(kind).read(), cameras, policy.night, version)
