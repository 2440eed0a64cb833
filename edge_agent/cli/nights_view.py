"""Draws nightly records for a terminal: a bar a camera and night, then what befell it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edge_agent.health import nights_words as words
from edge_agent.health.chronicle import DARK, UNKNOWN, UNUSABLE
from edge_agent.health.nights import NightRecord, Sight

NAMES = 20
SIGNS = {"dark": "#", "unusable": "x", "unknown": "?", "muted": "~", "seen": "·", "idle": " "}
LEGEND = "· seeing   # dark   x no usable picture   ? not known   ~ planned work   (blank) need not see"


def view(records: Sequence[NightRecord], names: Mapping[str, str], cells: int) -> Iterator[str]:
    """Lines. A character stands for half an hour, and shows the worst that fell into it."""
    for record in records:
        yield f"{words.evening(record.evening)}: {words.headline(record)}"
        yield f"{'':{NAMES}} {_scale(record, cells)}"
        for sight in record.sights:
            name = names.get(sight.camera) or sight.camera
            yield f"{name[:NAMES]:{NAMES}} {bar(record, sight, cells)} {_figure(sight)}".rstrip()
        for sentence in words.sentences(record, names):
            yield f"  {sentence}"
        yield ""
    if records:
        yield LEGEND


def bar(record: NightRecord, sight: Sight, cells: int) -> str:
    """The record's day in `cells` characters; the night stands between bars."""
    end_us = record.to_us if record.whole else max(record.to_us, record.from_us + 86_400_000_000)
    width = (end_us - record.from_us) / cells
    row = [_cell(record, sight, record.from_us + n * width, width) for n in range(cells)]
    dusk = round((record.dusk_us - record.from_us) / width)
    return "".join([*row[:dusk], "|", *row[dusk:], "|"])


def _cell(record: NightRecord, sight: Sight, start: float, width: float) -> str:
    end = start + width
    if any(f <= start and end <= t for f, t in sight.idle):
        return SIGNS["idle"]
    if start >= record.to_us:
        return " "
    hits = {
        outage.state
        for outage in record.outages
        if sight.camera in outage.cameras
        and (span := outage.within(record.from_us, record.to_us))[0] < end
        and span[1] > start
    }
    return next((SIGNS[s] for s in ("dark", "unusable", "muted", "unknown") if s in hits), SIGNS["seen"])


def _scale(record: NightRecord, cells: int) -> str:
    marks = [" "] * (cells + 2)
    end_us = record.to_us if record.whole else record.from_us + 86_400_000_000
    for share in range(0, 4):
        at_us = record.from_us + share * (end_us - record.from_us) // 4
        place = share * cells // 4 + (at_us >= record.dusk_us)
        marks[place : place + 5] = list(words.clock(at_us, record.zone))
    return "".join(marks).rstrip()


def _figure(sight: Sight) -> str:
    lost = sight.whole.of(DARK) + sight.whole.of(UNUSABLE)
    told = [f"dark {words.duration(lost)}"] if lost else []
    if sight.whole.of(UNKNOWN):
        told.append(f"? {words.duration(sight.whole.of(UNKNOWN))}")
    return ", ".join(told)
