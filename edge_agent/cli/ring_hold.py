"""`ring hold`, and the lists of what is on the disk: held for cases, and segment by segment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.agent.evidence import describe
from edge_agent.cli.context import ConfigOption, JsonOption, counted, load_config, print_json
from edge_agent.cli.export import FromOption, RoleOption, ToOption
from edge_agent.cli.moments import local, percents, window
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control_wire import call
from edge_agent.model import Role
from edge_agent.ring.evidence import list_holds
from edge_agent.ring.shelf import Shelf, Volume
from edge_agent.seal.keys import BoxKey
from edge_agent.seal.tips import tips_stream

POLL_S = 0.3
LONGEST_S = 3600.0
SHOWN = 20


def ring_hold(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(help="The camera's id, e.g. cam-01.")],
    start: FromOption,
    end: ToOption,
    case: Annotated[str, typer.Option("--case", help="The case, e.g. 4711/2026.")],
    role: RoleOption = Role.MAIN,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Keep footage beyond every retention. The same order again is the same hold. Needs the running agent."""
    settings = load_config(context, config)
    from_us, to_us = window(start, end, settings.site.timezone)
    args = {"camera": camera, "role": role.value, "from_us": from_us, "to_us": to_us, "case": case}
    wanted = str(call(settings.control_socket, "hold", args)["hold"])
    hold = _wait(settings, wanted)
    if json:
        print_json(hold)
        return
    print(
        f"{camera}/{role.value}: {hold['records']} records, {hold['bytes'] / 1e6:.1f} MB are held for {case}"
    )
    print(f"digest {hold['digest']}")
    print("a hold made here opens only with keys that exist; the command centre's `iccc hold` rewraps them")


def ring_ls(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Every segment, not the newest only.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the segments of each ring, and what is held for cases."""
    settings = load_config(context, config)
    root = settings.ring.directory
    shelves = {role: Shelf(root / role.value, lambda: None) for role in Role if (root / role.value).is_dir()}
    volumes = {role: shelf.volumes() for role, shelf in shelves.items()}
    shown = {role: kept if everything or json else kept[-SHOWN:] for role, kept in volumes.items()}
    tips = _tips_stream(settings.box_key)
    rows = {role: [_row(shelves[role], v, tips) for v in listed] for role, listed in shown.items()}
    holds = [describe(hold) for hold in list_holds(settings.evidence_directory)]
    if json:
        print_json({"segments": {role.value: listed for role, listed in rows.items()}, "holds": holds})
        return
    zone = settings.site.timezone
    for role, listed in rows.items():
        older = len(volumes[role]) - len(listed)
        told = f", of which these are the newest; --all lists {older} more" if older else ""
        print(f"{role.value}: {len(volumes[role])} segments in {root / role.value}{told}")
        for row in listed:
            print(_line(row, zone))
    for line in _hold_lines(holds, zone):
        print(line)


def _wait(settings: Config, wanted: str) -> dict[str, Any]:
    """Until the hold is whole. Raises EdgeAgentError when the agent gave it up, with its reason."""
    deadline = time.monotonic() + LONGEST_S
    with percents("holding") as shown:
        while time.monotonic() < deadline:
            told = call(settings.control_socket, "holds", {})
            if wanted in told["refused"]:
                raise EdgeAgentError(str(told["refused"][wanted]))
            hold: dict[str, Any] = next((h for h in told["holds"] if h["id"] == wanted), {})
            if hold and hold["percent"] is None and hold["state"] == "whole":
                return hold
            shown(hold.get("percent") or 0)
            time.sleep(POLL_S)
    raise EdgeAgentError("the hold is not whole after an hour; `ring ls` shows how far it is")


def _tips_stream(box_key: Path) -> bytes:
    """The stream of the box's own lists: no camera's. Empty when there is no key yet."""
    return tips_stream(BoxKey.load_or_create(box_key).box_id) if box_key.exists() else b""


def _row(shelf: Shelf, volume: Volume, tips: bytes) -> dict[str, Any]:
    head = shelf.head(volume)
    damaged = sum(end - start for start, end in head.damage)
    return {
        "number": volume.number, "bytes": volume.size, "from_us": head.from_us, "to_us": head.to_us,
        "streams": len(head.streams() - {tips}), "damaged_bytes": damaged,
    }  # fmt: skip


def _line(row: dict[str, Any], zone: str) -> str:
    times = "no footage"
    if row["from_us"] is not None and row["to_us"] is not None:
        times = f"{local(row['from_us'], zone)} to {local(row['to_us'], zone)[11:]}"
    damage = f", {row['damaged_bytes']} bytes damaged" if row["damaged_bytes"] else ""
    streams = counted(row["streams"], "stream")
    return f"  {row['number']:>8} {row['bytes'] / 1e6:9.1f} MB  {times}, {streams}{damage}"


def _hold_lines(holds: list[dict[str, Any]], zone: str) -> Iterator[str]:
    cases = [hold["bytes"] for hold in holds if not hold["automatic"]]
    outages = [hold["bytes"] for hold in holds if hold["automatic"]]
    yield (
        f"held: {len(cases)} for cases, {sum(cases) / 1e6:.1f} MB; "
        f"{len(outages)} around outages, {sum(outages) / 1e6:.1f} MB"
    )
    for hold in holds:
        state = "" if hold["state"] == "whole" else f", {hold['state'].upper()} {hold['text']}".rstrip()
        yield (
            f"  {hold['case']:20} {hold['camera']}/{hold['role']}, {local(hold['from_us'], zone)} to "
            f"{local(hold['to_us'], zone)[11:]}, {hold['bytes'] / 1e6:.1f} MB{state}"
        )
