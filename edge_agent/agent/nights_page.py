"""The nightly records as one HTML page that needs nothing else: no script, no picture, no font. Pure.

Everything from outside is escaped. States differ by pattern as well as by colour, so that the page can be
read by the colour-blind and from a black and white print. `STYLE` is all of its style, for a
Content-Security-Policy that names its hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from edge_agent.agent.nights_drawing import LEGEND, PATTERNS, drawing
from edge_agent.health import nights_words as words
from edge_agent.health.chronicle import DARK, MUTED, UNKNOWN, UNUSABLE
from edge_agent.health.nights import Minutes, NightRecord, Sight

STYLE = (Path(__file__).parent / "nights.css").read_text(encoding="utf-8")

_CAUTION = (
    "Not known means that nobody watched: it says nothing of the camera. "
    "Verdicts tell what was observed, never who."
)
_TITLES = "".join(
    f"<th>{title}</th>"
    for title in (
        "Camera", "Due", "Seen", "Dark", "Unusable", "Not known", "Planned",
        "Of the night: due", "seen", "dark",
    )
) + '<th class="left">Why not seen</th>'  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """Whose nights these are, and how the page came about. `links`: (address, text) of neighbouring pages;
    `note`: what is to be known before all else."""

    site: str
    name: str
    kind: str = ""
    address: str = ""
    names: tuple[tuple[str, str], ...] = ()
    made: str = ""
    source: str = ""
    duty: str = "the box's own configuration"
    links: tuple[tuple[str, str], ...] = ()
    note: str = ""


def page(about: About, records: Sequence[NightRecord]) -> str:
    """The whole document; `records` in order of their evenings."""
    title = f"Nights of {about.name or about.site}"
    body = [_head(about, records), _nav(about.links)]
    if about.note:
        body.append(f'<p class="note">{escape(about.note)}</p>')
    if len(records) == 1:
        body += [_summary(about, records[0]), _legend(), _night(about, records[0], told=True)]
    elif records:
        body += [_month_summary(records), _calendar(about, records), _legend()]
        body += [_night(about, record) for record in reversed(records) if _eventful(record)]
    elif not about.note:
        body.append('<p class="summary unsure"><strong>No night is recorded here.</strong></p>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f'<svg width="0" height="0" aria-hidden="true"><defs>{PATTERNS}</defs></svg>'
        f"{''.join(body)}{_foot(about, records)}</body></html>\n"
    )


def _head(about: About, records: Sequence[NightRecord]) -> str:
    what = [about.kind.replace("_", " "), about.address, about.site]
    when = ""
    if records:
        first, last = records[0], records[-1]
        when = words.evening(first.evening)
        if first is last:
            when = f"Night of {when}" + ("" if first.whole else ", so far")
        else:
            when = f"{when} to {words.evening(last.evening)}"
    return (
        f'<header><div><h1>{escape(about.name or about.site)}</h1><p class="about">'
        f"{escape(' · '.join(filter(None, what)))}</p></div><p><strong>{escape(when)}</strong></p></header>"
    )


def _nav(links: Iterable[tuple[str, str]]) -> str:
    anchors = "".join(f'<a href="{escape(to)}">{escape(text)}</a>' for to, text in links)
    return f"<nav>{anchors}</nav>" if anchors else ""


def _summary(about: About, record: NightRecord) -> str:
    return _box(_tone(record), words.headline(record), words.sentences(record, dict(about.names)))


def _box(tone: str, headline: str, lines: Iterable[str]) -> str:
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    listed = f"<ul>{listed}</ul>" if listed else ""
    return f'<div class="summary {tone}"><strong>{escape(headline)}</strong>{listed}</div>'


def _month_summary(told: Sequence[NightRecord]) -> str:
    """Of the nights that are over."""
    records = [record for record in told if record.whole]
    dark = [r for r in records if any(s.night.of(DARK) + s.night.of(UNUSABLE) for s in r.sights)]
    total = sum(s.night.of(DARK) + s.night.of(UNUSABLE) for r in dark for s in r.sights)
    text = "Every camera saw in every night that is known."
    if dark:
        text = (
            f"In {len(dark)} of {len(records)} nights cameras did not see, "
            f"{words.duration(total)} in all, every camera counted."
        )
    if not records:
        text = "No night of these is over yet."
    tone = "bad" if dark else "unsure" if any(_tone(r) for r in records) else ""
    worst = sorted(dark, key=lambda r: -sum(s.night.of(DARK) + s.night.of(UNUSABLE) for s in r.sights))[:3]
    lines = [f"{words.evening(r.evening)}: {words.headline(r)}" for r in worst]
    return _box(tone, text, [*lines, *(words.installed(r) for r in told if r.installed_us)])


def _calendar(about: About, records: Sequence[NightRecord]) -> str:
    """Cameras against nights: minutes of the night without sight, at a glance."""
    cameras = list(dict.fromkeys(s.camera for r in records for s in r.sights))
    months = "".join(
        f'<th colspan="{len(list(group))}">{month}</th>'
        for month, group in groupby(f"{r.evening:%b %Y}" for r in records)
    )
    days = "".join(f"<th>{r.evening.day}</th>" for r in records)
    rows = "".join(
        f"<tr><td>{escape(_name(about, camera))}</td>{''.join(_cell(r, camera) for r in records)}</tr>"
        for camera in cameras
    )
    return (
        '<section><header><h2>Hours of each night without sight</h2><p class="small">h:mm dark or unusable; '
        "? not known; · saw all night</p></header>"
        f'<div class="month"><table><tr><th></th>{months}</tr><tr><th></th>{days}</tr>{rows}</table></div>'
        "</section>"
    )


def _cell(record: NightRecord, camera: str) -> str:
    sight = next((s for s in record.sights if s.camera == camera), None)
    if sight is None or not sight.night.due:
        return "<td></td>"
    lost, unknown = sight.night.of(DARK) + sight.night.of(UNUSABLE), sight.night.of(UNKNOWN)
    if lost:
        return f'<td class="hit">{lost // 60}:{lost % 60:02}</td>'
    return '<td class="unsure">?</td>' if unknown else '<td class="all">·</td>'


def _legend() -> str:
    return f'<ul class="legend">{LEGEND}</ul>'


def _night(about: About, record: NightRecord, *, told: bool = False) -> str:
    """`told`: its headline stands on top of the page already."""
    until = "" if record.whole else f", told up to {words.clock(record.to_us, record.zone)}"
    zone = words.zone_name(record.to_us, record.zone)
    headline = "" if told else f"{words.headline(record)} "
    title = words.evening(record.evening) + ("" if record.whole else ", so far")
    head = (
        f"<header><h2>{escape(title)}</h2>"
        f'<p class="small">{escape(f"{headline}Times are {zone}{until}.")}</p></header>'
    )
    names = {sight.camera: _name(about, sight.camera) for sight in record.sights}
    return f"<section>{head}{drawing(record, names)}{_table(about, record, names)}</section>"


def _table(about: About, record: NightRecord, names: dict[str, str]) -> str:
    rows = "".join(_row(sight, names[sight.camera]) for sight in record.sights)
    told = (words.sentence(record, outage, dict(about.names)) for outage in record.outages[:60])
    listed = "".join(f"<li>{escape(line)}</li>" for line in told)
    return (
        f"<details><summary>Minutes and outages</summary><table><tr>{_TITLES}</tr>{rows}</table>"
        f'<ul class="small">{listed}</ul></details>'
    )


def _row(sight: Sight, name: str) -> str:
    whole, night = sight.whole, sight.night
    cells = [whole.due, whole.seen, whole.of(DARK), whole.of(UNUSABLE), whole.of(UNKNOWN), whole.muted]
    hits = (False, False, True, True, False, False)
    cells_html = "".join(
        f'<td class="hit">{cell}</td>' if hit and cell else f"<td>{cell}</td>"
        for cell, hit in zip(cells, hits, strict=True)
    )
    dark = night.of(DARK) + night.of(UNUSABLE)
    cells_html += f"<td>{night.due}</td><td>{night.seen}</td>"
    cells_html += f'<td class="hit">{dark}</td>' if dark else "<td>0</td>"
    return f'<tr><td>{escape(name)}</td>{cells_html}<td class="left">{escape(_reasons(whole))}</td></tr>'


def _reasons(minutes: Minutes) -> str:
    told = [*minutes.dark.items(), *minutes.unusable.items(), *minutes.unknown.items()]
    return words.spent(told)


def _foot(about: About, records: Sequence[NightRecord]) -> str:
    policy = next((r.policy for r in reversed(records) if r.policy), 0)
    by = f"the command centre's policy, version {policy}" if policy else about.duty
    made = "; ".join(filter(None, [about.source, f"hours of duty: {by}", about.made]))
    return f'<footer class="small"><p>{escape(_CAUTION)}</p><p>{escape(made)}</p></footer>'


def _name(about: About, camera: str) -> str:
    name = dict(about.names).get(camera, "")
    return f"{camera}  {name}" if name and name != camera else camera


def _eventful(record: NightRecord) -> bool:
    return any(s.whole.seen != s.whole.due for s in record.sights)


def _tone(record: NightRecord) -> str:
    counted = [words.counted(record, sight) for sight in record.sights]
    if any(minutes.of(DARK) + minutes.of(UNUSABLE) for minutes in counted):
        return "bad"
    return "unsure" if any(minutes.of(UNKNOWN) or minutes.of(MUTED) for minutes in counted) else ""
