"""The list to visit today, as a page for the officer who goes: light, printable, no script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from edge_agent.agent.nights_page import STYLE as NIGHTS_STYLE
from edge_agent.health import nights_words as words
from edge_agent.iccc.visits import Urgency, Visit

STYLE = NIGHTS_STYLE + (Path(__file__).parent / "visits.css").read_text(encoding="utf-8")
MAX_OTHERS = 2
NO_BREAK = "\u00a0"
_URGENCIES = {Urgency.VISIT: ("Visit", "visit"), Urgency.CALL: ("Call first", "call")}


def evidence(visit: Visit) -> str:
    """The address of the page that shows what the visit rests on, below the console's own."""
    return f"/sites/{quote(visit.place.id)}/nights?night={visit.record.evening.isoformat()}"


def page(visits: Sequence[Visit], *, chosen: str, sites: int, skipped: int, made: str) -> str:
    """`chosen`: the department shown, empty for all. `skipped` sites keep no ledger yet."""
    departments = sorted({visit.department for visit in visits})
    shown = [visit for visit in visits if chosen in ("", visit.department)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sites to visit</title><style>{STYLE}</style></head>\n<body>"
        f"{_head(visits, chosen, made)}{_choices(visits, departments, chosen)}"
        f"{_table(shown, one_department=bool(chosen)) if shown else _none(sites, skipped)}"
        f"{_foot(sites, skipped)}</body></html>\n"
    )


def _head(visits: Sequence[Visit], chosen: str, made: str) -> str:
    evening = max((v.record.evening for v in visits), default=None)
    night = f"Night of {words.evening(evening)}" if evening else "No night to tell of"
    title = f"Sites to visit: {chosen}" if chosen else "Sites to visit"
    return (
        f'<header><div><h1>{escape(title)}</h1><p class="about">{escape(made)}</p></div>'
        f"<p><strong>{escape(night)}</strong></p></header>"
    )


def _choices(visits: Sequence[Visit], departments: Sequence[str], chosen: str) -> str:
    links = [_choice("/visits", f"All {len(visits)}", not chosen)]
    for name in departments:
        count = sum(v.department == name for v in visits)
        links.append(_choice(f"/visits?department={quote(name)}", f"{name} {count}", name == chosen))
    table = "/visits.csv" + (f"?department={quote(chosen)}" if chosen else "")
    links += [f'<a href="{escape(table)}">Spreadsheet</a>', '<a href="/">Console</a>']
    return f"<nav>{''.join(links)}</nav>"


def _choice(to: str, text: str, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<a href="{escape(to)}"{mark}>{escape(text)}</a>'


def _table(visits: Sequence[Visit], *, one_department: bool) -> str:
    rows = "".join(_row(number, visit, one_department) for number, visit in enumerate(visits, 1))
    titles = ("", "Site", "Observed", "Cameras", "When", "Without sight at night", "Now", "Evidence")
    heads = "".join(f"<th>{title}</th>" for title in titles)
    return f'<table class="visits"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _row(number: int, visit: Visit, one_department: bool) -> str:
    place, outage = visit.place, visit.outage
    word, tone = _URGENCIES[visit.urgency]
    about = [place.kind.replace("_", " "), "" if one_department else visit.department]
    when = words.span(visit.record, outage) if outage else ""
    sure = (
        f" ({outage.confidence}{NO_BREAK}%{NO_BREAK}sure)" if outage and outage.confidence is not None else ""
    )
    cells = (
        f'<td class="rank">{number}<span class="{tone}">{word}</span></td>',
        f"<td><strong>{escape(place.name or place.id)}</strong><br>{escape(place.address)}"
        f'<br><span class="small">{escape(" · ".join(filter(None, [*about, place.contact])))}</span></td>',
        f"<td>{escape(_capital(visit.reason) + sure)}{_others(visit)}</td>",
        f"<td>{escape(_cameras(visit))}</td>",
        f"<td>{escape(when)}</td>",
        f'<td class="{"hit" if visit.lost else ""}">{_duration(visit)}</td>',
        f"<td>{escape(visit.now)}</td>",
        f'<td><a href="{escape(evidence(visit))}">Night</a></td>',
    )
    return f'<tr class="{tone}">{"".join(cells)}</tr>'


def _others(visit: Visit) -> str:
    """What else befell the site, apart from it."""
    names = visit.place.names or {}
    lines = [f"also {words.account(visit.record, group, names)}" for group in visit.others[:MAX_OTHERS]]
    more = len(visit.others) - len(lines)
    lines += [f"and {more} more"] if more else []
    return "".join(f'<br><span class="small">{escape(line)}</span>' for line in lines)


def _duration(visit: Visit) -> str:
    """The longest of one camera; below it, all cameras counted, when there are several."""
    lost = visit.lost or visit.unknown
    text = words.duration(visit.longest) if visit.lost else f"not known {words.duration(visit.longest)}"
    whole = (
        f'<br><span class="small">all cameras {words.duration(lost)}</span>' if lost > visit.longest else ""
    )
    return f"{escape(text)}{whole}"


def _cameras(visit: Visit) -> str:
    if len(visit.cameras) > 1 and len(visit.cameras) == len(visit.record.sights):
        return f"all {len(visit.cameras)}"
    names = visit.place.names or {}
    told = [names.get(camera) or camera for camera in visit.cameras[:4]]
    more = len(visit.cameras) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _none(sites: int, skipped: int) -> str:
    """Silence is no good news: a site that told nothing is not one that saw all night."""
    if skipped >= sites:
        return '<p class="summary unsure"><strong>No site has told of a night yet.</strong></p>'
    told = "Nothing to visit: whatever was due saw all night" + (
        ", where a box told of it." if skipped else "."
    )
    return f'<p class="summary"><strong>{told}</strong></p>'


def _foot(sites: int, skipped: int) -> str:
    counted = f"{sites} site{'s' * (sites != 1)} looked at"
    missing = f", {skipped} of them without any word of that night" if skipped else ""
    return (
        f'<footer class="small"><p>{escape(counted + missing)}. Without sight at night: dark or without a '
        "usable picture while due, of the camera that was so for longest.</p>"
        "<p>Observed is what a box beside the recorder could tell; it "
        "says nothing of who. A lost internet line is not listed.</p></footer>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
