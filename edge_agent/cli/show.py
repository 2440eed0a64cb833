"""Draws the daemon's status for a person."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edge_agent.cli.context import amount, length
from edge_agent.health import wording

_COLOURS = {"up": "green", "suspect": "yellow", "dark": "bold red", "unusable": "bold red", "unknown": "dim"}
_CLOCKS = {
    "none": "not to be believed",
    "saved": "not confirmed by a time server",
    "ntp": "confirmed by a time server",
    "witness": "confirmed by the command centre",
}
GIB = 1024**3


def print_status(document: dict[str, Any]) -> None:
    Console().print(status_view(document))


def status_view(document: dict[str, Any]) -> Group:
    parts = (_headline, _recorders, _cameras, _reasons, _footer)
    return Group(*(part(document) for part in parts))


def _headline(document: dict[str, Any]) -> Text:
    site, link = document["site"], document["link"]
    state = "connected" if link["up"] else f"not connected: {link['reason'] or 'no broker reached yet'}"
    return Text(f"{site['id']}  {site['name']}\ncommand centre: {state}")


def _recorders(document: dict[str, Any]) -> Text:
    lines = []
    for recorder in document["recorders"]:
        what = recorder["sentence"] or f"{recorder['make']} {recorder['model']}".strip()
        where = " ".join(filter(None, (recorder["name"], recorder["address"])))
        lines.append(f"recorder {where}: {what}")
    return Text("\n".join(lines))


def _cameras(document: dict[str, Any]) -> Table:
    table = Table("camera", "name", "state", "since", "main, Mb/s", "sub, Mb/s", box=box.SIMPLE_HEAD)
    today = document["clock"]["wall"].split(" ")[0]
    for camera in document["cameras"]:
        state = camera["state"]
        table.add_row(
            camera["id"],
            escape(camera["name"]),
            Text(state, style=_COLOURS.get(state, "")),
            _moment(camera["since"], today),
            _stream(camera["streams"].get("main")),
            _stream(camera["streams"].get("sub")),
        )
    return table


def _reasons(document: dict[str, Any]) -> Text:
    """Below the table: in a column of it, a sentence would be a tower of words on 80 columns."""
    told: dict[str, list[str]] = {}
    for camera in document["cameras"]:
        words = ": ".join(filter(None, (_verdict(camera.get("why") or ""), camera["reason"])))
        if words:
            told.setdefault(words, []).append(camera["id"])
        for role, stream in camera["streams"].items():
            if stream.get("converted"):
                told.setdefault(stream["converted"], []).append(f"{camera['id']}/{role}")
    return Text("".join(f"{', '.join(names)}: {reason}\n" for reason, names in told.items()))


def _verdict(why: str) -> str:
    """`camera_lost (60 %)` as `no pictures come from this camera (60 %)`."""
    word, _, sure = why.partition(" ")
    return f"{wording.now(word)} {sure}".strip() if word else ""


def _stream(stream: dict[str, Any] | None) -> str:
    if not stream:
        return "-"
    return f"{stream['codec']} {stream['height']}p {stream['kbps'] / 1000:.1f}"


def _moment(text: str, today: str) -> str:
    """`23:04:05` if it is still that day at the site, else `11-21 23:04`: short enough for 80 columns."""
    day, clock, _zone = text.split(" ")
    return clock if day == today else f"{day[5:]} {clock[:5]}"


def _footer(document: dict[str, Any]) -> Text:
    lines = [
        f"ring {name}: {amount(ring['bytes'])} of {ring['max_bytes'] / GIB:.0f} GiB, "
        f"{length(ring['days'])}" + (f"; {ring['fault']}" if ring["fault"] else "")
        for name, ring in document["ring"].items()
    ]
    backup, policy = document.get("backup") or {}, document.get("policy") or {}
    if backup.get("short"):
        lines.append(backup["text"])
    if policy.get("version"):
        lines.append(f"policy: version {policy['version']} of {policy['operator']}")
    lines += [_work(work) for work in document.get("work") or ()]
    lines += _data(document.get("data") or {})
    clock, ledger = document["clock"], document["ledger"]
    lines.append(f"clock: {clock['wall']}, {_CLOCKS.get(clock['trust'], clock['trust'])}")
    lines.append(f"ledger: {ledger['size']} leaves, {ledger['cosigned']} kept by the command centre")
    if ledger.get("refused"):
        lines.append(f"the state disk takes nothing: {ledger['refused']} leaves wait in memory; is it full?")
    return Text("\n".join(lines))


def _work(work: dict[str, Any]) -> str:
    where = ", ".join(work["cameras"]) or "all cameras"
    return f"planned work, no alarm: {where} until {work['until']}: {work['reason']} ({work['who']})"


def _data(data: dict[str, Any]) -> list[str]:
    """What the line was used for: whoever pays for a SIM card wants to know."""
    if not data.get("used_mb"):
        return []
    bound = f" of {data['budget_mb']}" if data["budget_mb"] else ""
    return [f"data in {data['month']}: {data['used_mb']:,.1f}{bound} MB sent and received"]
