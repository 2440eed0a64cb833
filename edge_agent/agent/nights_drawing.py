"""One night's time lines as SVG: a row a camera, the night shaded, a pattern for each state. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from edge_agent.health import nights_words as words
from edge_agent.health.chronicle import DARK, MUTED, UNKNOWN, UNUSABLE
from edge_agent.health.nights import NightRecord, Outage, Sight

WIDTH, LEFT, RIGHT, ROW, TOP = 1040, 196, 150, 26, 24
HOUR_US = 3_600_000_000
MIN_PIXELS = 1.5  # a short outage must still be seen

PATTERNS = """
<pattern id="p-dark" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
  <rect width="7" height="7" fill="#d55e00"/><rect width="2.6" height="7" fill="#4a1d00"/></pattern>
<pattern id="p-unusable" width="8" height="8" patternUnits="userSpaceOnUse">
  <rect width="8" height="8" fill="#f0c419"/>
  <path d="M0 0 8 8M8 0 0 8" stroke="#5c4700" stroke-width="1.4"/></pattern>
<pattern id="p-unknown" width="7" height="7" patternUnits="userSpaceOnUse">
  <rect width="7" height="7" fill="#d7dde2"/><circle cx="3.5" cy="3.5" r="1.3" fill="#5b6670"/></pattern>
<pattern id="p-muted" width="6" height="6" patternUnits="userSpaceOnUse">
  <rect width="6" height="6" fill="#fff"/><rect width="6" height="2" fill="#7a8fb8"/></pattern>
"""
_FILLS = {DARK: "p-dark", UNUSABLE: "p-unusable", UNKNOWN: "p-unknown", MUTED: "p-muted"}
_SIGNS = ((DARK, "dark"), (UNUSABLE, "unusable"), (UNKNOWN, "not known"), (MUTED, "planned"))
_SEEN = "#2f8f83"
_LEGEND = (
    ("seeing", _SEEN, False),
    ("dark: no pictures came", "url(#p-dark)", False),
    ("no usable picture came", "url(#p-unusable)", False),
    ("not known: nobody watched", "url(#p-unknown)", False),
    ("planned work", "url(#p-muted)", False),
    ("need not see", "#fff", True),
)
LEGEND = "".join(
    f'<li><svg width="30" height="13" aria-hidden="true"><rect x="0.5" y="0.5" width="29" height="12" rx="2" '
    f'fill="{fill}" stroke="{"#9aa5ae" if bare else "none"}"/></svg>{escape(text)}</li>'
    for text, fill, bare in _LEGEND
)


def drawing(record: NightRecord, names: Mapping[str, str]) -> str:
    """All cameras of one night; the window may not be over yet."""
    end_us = max(record.to_us, record.from_us + HOUR_US)
    if not record.whole:
        end_us = max(end_us, record.from_us + 24 * HOUR_US)
    scale = _Scale(record.from_us, end_us)
    height = TOP + ROW * len(record.sights) + 6
    night = _rect(scale, record.dusk_us, end_us, TOP - 8, height - TOP + 4, 'fill="#e3e6f1"')
    rows = "".join(
        _row(record, sight, names.get(sight.camera, sight.camera), scale, TOP + ROW * number)
        for number, sight in enumerate(record.sights)
    )
    about = escape(f"Time lines, {words.evening(record.evening)}")
    return (
        f'<svg class="line" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{about}">'
        f'<text class="soft" x="{WIDTH - RIGHT + 22}" y="11">of the night</text>'
        f"{night}{_hours(record, scale, height)}{rows}</svg>"
    )


class _Scale:
    def __init__(self, from_us: int, to_us: int) -> None:
        self._from_us, self._span = from_us, to_us - from_us

    def x(self, at_us: int) -> float:
        share = min(max((at_us - self._from_us) / self._span, 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _row(record: NightRecord, sight: Sight, name: str, scale: _Scale, y: int) -> str:
    bar = [_rect(scale, record.from_us, record.to_us, y + 4, ROW - 9, f'fill="{_SEEN}"')]
    bar += [
        _rect(scale, start, end, y + 4, ROW - 9, 'fill="#fff" stroke="#9aa5ae" stroke-width="0.6"')
        for start, end in sight.idle
    ]
    for outage in sorted(record.outages, key=_weight):
        if sight.camera in outage.cameras:
            bar += [_piece(record, outage, piece, scale, y) for piece in _due_parts(record, sight, outage)]
    shown = name if len(name) <= 27 else f"{name[:26]}…"
    label = f'<text x="0" y="{y + 17}">{escape(shown)}<title>{escape(name)}</title></text>'
    return label + "".join(bar) + _figure(record, sight, y)


def _due_parts(record: NightRecord, sight: Sight, outage: Outage) -> Iterator[tuple[int, int]]:
    """What of the outage lies in the time in which the camera was to see."""
    start, end = outage.within(record.from_us, record.to_us)
    for idle_from, idle_to in sight.idle:
        if start < idle_from:
            yield start, min(end, idle_from)
        start = max(start, idle_to)
    if start < end:
        yield start, end


def _piece(record: NightRecord, outage: Outage, part: tuple[int, int], scale: _Scale, y: int) -> str:
    if part[0] >= part[1]:
        return ""
    told = escape(words.sentence(record, outage))
    fill = f'fill="url(#{_FILLS.get(outage.state, "p-unknown")})"'
    return _rect(scale, *part, y + 4, ROW - 9, fill, f"<title>{told}</title>")


def _rect(
    scale: _Scale, from_us: int, to_us: int, y: float, height: float, look: str, inside: str = ""
) -> str:
    x = scale.x(from_us)
    width = max(round(scale.x(to_us) - x, 1), MIN_PIXELS)
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {look}>{inside}</rect>'


def _figure(record: NightRecord, sight: Sight, y: int) -> str:
    """At the right: how long of the night it did not see."""
    night, x = sight.night, WIDTH - RIGHT + 10
    told = [f"{words.duration(night.of(s))} {sign}" for s, sign in _SIGNS if night.of(s)]
    if told:
        whole = escape("; ".join(told))
        hit = "hit" if night.of(DARK) + night.of(UNUSABLE) else "soft"
        return f'<text class="{hit}" x="{x}" y="{y + 17}">{told[0]}<title>{whole}</title></text>'
    if not night.due and record.to_us <= record.dusk_us and not record.whole:
        text = "not begun"
    else:
        text = "saw whenever due" if night.due else "need not see"
    return f'<text class="soft" x="{x}" y="{y + 17}">{text}</text>'


def _hours(record: NightRecord, scale: _Scale, height: int) -> str:
    """Every second hour, by the clocks of the site: a day in spring has 23 of them."""
    zone = ZoneInfo(record.zone)
    at = datetime.fromtimestamp(record.from_us // 1_000_000, zone).replace(minute=0, second=0)
    marks = []
    for _ in range(30):
        us = int(at.timestamp()) * 1_000_000
        x = scale.x(us)
        if us >= record.from_us and at.hour % 2 == 0:
            marks.append(
                f'<path d="M{x} {TOP - 6}V{height}" stroke="#b9c3cc" stroke-width="0.7"/>'
                f'<text class="soft" x="{x}" y="11" text-anchor="middle">{at:%H}</text>'
            )
        at = (at.astimezone(ZoneInfo("UTC")) + timedelta(hours=1)).astimezone(zone)
        if x >= WIDTH - RIGHT:
            break
    return "".join(marks)


def _weight(outage: Outage) -> int:
    """What is drawn last lies on top."""
    return [UNKNOWN, MUTED, UNUSABLE, DARK].index(outage.state) if outage.state in _FILLS else 0
