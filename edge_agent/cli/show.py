"""Draws the daemon's status for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_COLOURS = {"up": "green", "suspect": "yellow", "dark": "bold red", "unknown": "dim"}
GIB = 1024**3


def print_status(document: dict[str, Any]) -> None:
    Console().print(status_view(document))


def status_view(document: dict[str, Any]) -> Group:
    return Group(_headline(document), _recorders(document), _cameras(document), _footer(document))


def _headline(document: dict[str, Any]) -> Text:
    site, link = document["site"], document["link"]
    state = "connected" if link["up"] else f"not connected: {link['reason'] or 'no broker reached yet'}"
    return Text(f"{site['id']}  {site['name']}\ncommand centre: {state}")


def _recorders(document: dict[str, Any]) -> Text:
    lines = []
    for recorder in document["recorders"]:
        what = recorder["sentence"] or f"{recorder['make']} {recorder['model']}".strip()
        lines.append(f"recorder {recorder['name']} {recorder['address']}: {what}")
    return Text("\n".join(lines))


def _cameras(document: dict[str, Any]) -> Table:
    table = Table("camera", "name", "state", "since", "main", "sub", "what is known", box=box.SIMPLE_HEAD)
    for camera in document["cameras"]:
        state = camera["state"]
        table.add_row(
            camera["id"],
            escape(camera["name"]),
            Text(state, style=_COLOURS.get(state, "")),
            _moment(camera["since"]),
            _stream(camera["streams"].get("main")),
            _stream(camera["streams"].get("sub")),
            escape(camera["reason"]),
        )
    return table


def _stream(stream: dict[str, Any] | None) -> str:
    if not stream:
        return "-"
    return f"{stream['codec']} {stream['height']}p {stream['kbps'] / 1000:.1f} Mb/s"


def _moment(text: str) -> str:
    """`23:04:05` today, `11-21 23:04` before: as much as a narrow terminal shows whole."""
    day, clock, _zone = text.split(" ")
    return clock if day == f"{datetime.now():%Y-%m-%d}" else f"{day[5:]} {clock[:5]}"


def _footer(document: dict[str, Any]) -> Text:
    lines = [
        f"ring {name}: {ring['bytes'] / GIB:.2f} of {ring['max_bytes'] / GIB:.0f} GiB, "
        f"{ring['days']:.2f} days" + (f"; {ring['fault']}" if ring["fault"] else "")
        for name, ring in document["ring"].items()
    ]
    clock, ledger = document["clock"], document["ledger"]
    lines.append(f"clock: {clock['wall']}, trust {clock['trust']}")
    lines.append(f"ledger: {ledger['size']} leaves, {ledger['cosigned']} kept by the command centre")
    return Text("\n".join(lines))
