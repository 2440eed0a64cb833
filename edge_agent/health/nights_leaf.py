"""The nightly record as `night` leaves, and back: compact, in numbered parts that each fit a leaf. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from edge_agent.clock import timestamp
from edge_agent.config import CAMERA_ID
from edge_agent.errors import FormatError
from edge_agent.health.nights import Minutes, NightRecord, Outage, Sight

PART_BYTES = 3800  # of a leaf's 4,096; the rest is its own clothes
MAX_OUTAGES = 120  # the longest are kept, the rest is counted
MAX_PARTS = 64

Word = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, lt=2**20)]
Camera = Annotated[str, Field(pattern=CAMERA_ID)]
Time = Annotated[str, Field(max_length=32)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MinutesRow(_Model):
    """Minutes by what became of them; those not seen by verdict. What is zero is left out."""

    due: Count = 0
    seen: Count = 0
    muted: Count = 0
    dark: dict[Word, Count] = {}
    unusable: dict[Word, Count] = {}
    unknown: dict[Word, Count] = {}


class CameraRow(MinutesRow):
    """`night`: of these, the minutes of the night. `idle`: when the camera need not see."""

    id: Camera
    night: MinutesRow = MinutesRow()
    idle: tuple[tuple[Time, Time], ...] = ()


class OutageRow(_Model):
    """`cameras` "all": every camera of the record. Without `until` it lasts."""

    cameras: tuple[Camera, ...] | Literal["all"]
    since: Time
    until: Time | None = None
    state: Literal["dark", "unusable", "unknown", "muted"]
    verdict: Word = ""
    confidence: Annotated[int, Field(ge=0, le=100)] | None = None
    incident: Word = ""


class NightPart(_Model):
    """Part `part` of `parts`, counted from 1; the parts together are one record."""

    night: date
    part: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    zone: Word
    since: Time
    dusk: Time
    until: Time
    policy: Count = 0
    installed: Time | None = None
    cameras: tuple[CameraRow, ...] = ()
    outages: tuple[OutageRow, ...] = ()
    left_out: Count = 0


def to_leaves(record: NightRecord) -> list[dict[str, JsonValue]]:
    """The data of the record's leaves, in order."""
    outages = sorted(record.outages, key=lambda o: o.since_us - (o.until_us or record.to_us))[:MAX_OUTAGES]
    every = tuple(sight.camera for sight in record.sights)
    rows: list[tuple[str, dict[str, JsonValue]]] = [("cameras", _sight_row(s)) for s in record.sights]
    rows += [("outages", _outage_row(o, every)) for o in sorted(outages, key=lambda o: o.since_us)]
    left_out = record.left_out + len(record.outages) - len(outages)
    head = {**_head(record), "part": MAX_PARTS, "parts": MAX_PARTS, "left_out": left_out}
    parts = list(_packed(head, rows))[:MAX_PARTS]
    return [{**part, "part": number, "parts": len(parts)} for number, part in enumerate(parts, 1)]


def as_document(record: NightRecord) -> dict[str, JsonValue]:
    """The whole record in the leaf's words, for programs: one part, however long."""
    every = tuple(sight.camera for sight in record.sights)
    return {
        **_head(record),
        "complete": record.whole,
        "cameras": [_sight_row(sight) for sight in record.sights],
        "outages": [_outage_row(outage, every) for outage in record.outages],
    }


def read_part(data: Mapping[str, object]) -> NightPart:
    """One leaf's data. Raises FormatError."""
    try:
        return NightPart.model_validate(data)
    except ValidationError as error:
        raise FormatError("not a part of a nightly record") from error


def join(parts: Iterable[NightPart]) -> NightRecord | None:
    """The record whose parts these are; None while one is missing. Raises FormatError for a wrong time."""
    by_number = {part.part: part for part in parts}
    if not by_number or set(by_number) != set(range(1, by_number[min(by_number)].parts + 1)):
        return None
    ordered = [by_number[number] for number in sorted(by_number)]
    first = ordered[0]
    rows = [row for part in ordered for row in part.cameras]
    every = tuple(row.id for row in rows)
    return NightRecord(
        first.night, first.zone, _us(first.since), _us(first.dusk), _us(first.until), True,
        tuple(_sight(row) for row in rows),
        tuple(_outage(row, every) for part in ordered for row in part.outages),
        policy=first.policy, left_out=first.left_out,
        installed_us=_us(first.installed) if first.installed else 0,
    )  # fmt: skip


def _head(record: NightRecord) -> dict[str, JsonValue]:
    head: dict[str, JsonValue] = {
        "night": record.evening.isoformat(),
        "zone": record.zone,
        "since": timestamp(record.from_us),
        "dusk": timestamp(record.dusk_us),
        "until": timestamp(record.to_us),
        "policy": record.policy,
    }
    if record.installed_us:
        head["installed"] = timestamp(record.installed_us)
    return head


def _packed(
    head: dict[str, JsonValue], rows: Sequence[tuple[str, dict[str, JsonValue]]]
) -> Iterator[dict[str, JsonValue]]:
    """Each part takes as many rows as it has room for."""
    room = PART_BYTES - len(json.dumps(head)) - len('"cameras":[],"outages":[],')
    lists: dict[str, list[JsonValue]] = {}
    used = 0
    for name, row in rows:
        size = len(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()) + 1
        if lists and used + size > room:
            yield {**head, **lists}
            lists, used = {}, 0
        lists.setdefault(name, []).append(row)
        used += size
    yield {**head, **lists}


def _sight_row(sight: Sight) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {"id": sight.camera, **_minutes_row(sight.whole)}
    row["night"] = _minutes_row(sight.night)
    if sight.idle:
        row["idle"] = [[timestamp(start), timestamp(end)] for start, end in sight.idle[:24]]
    return row


def _minutes_row(minutes: Minutes) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {
        "due": minutes.due,
        "seen": minutes.seen,
        "muted": minutes.muted,
        "dark": dict(minutes.dark),
        "unusable": dict(minutes.unusable),
        "unknown": dict(minutes.unknown),
    }
    return {name: value for name, value in row.items() if value}


def _outage_row(outage: Outage, every: tuple[str, ...]) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {
        "cameras": "all" if set(outage.cameras) == set(every) else list(outage.cameras),
        "since": timestamp(outage.since_us),
        "until": None if outage.until_us is None else timestamp(outage.until_us),
        "state": outage.state,
        "verdict": outage.verdict,
        "confidence": outage.confidence,
        "incident": outage.incident,
    }
    return {name: value for name, value in row.items() if value not in (None, "")}


def _sight(row: CameraRow) -> Sight:
    idle = tuple((_us(start), _us(end)) for start, end in row.idle)
    return Sight(row.id, _minutes(row), _minutes(row.night), idle)


def _minutes(row: MinutesRow) -> Minutes:
    return Minutes(row.due, row.seen, row.muted, row.dark, row.unusable, row.unknown)


def _outage(row: OutageRow, every: tuple[str, ...]) -> Outage:
    return Outage(
        every if row.cameras == "all" else tuple(row.cameras), _us(row.since),
        None if row.until is None else _us(row.until),
        row.state, row.verdict, row.confidence, row.incident,
    )  # fmt: skip


def _us(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000) * 1000
    except (ValueError, OverflowError) as error:
        raise FormatError("not a time") from error
