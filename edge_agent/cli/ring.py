"""The `ring` commands. What only looks reads the files alone, while the daemon runs and when it does not."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.agent import roster
from edge_agent.agent.backup import reach
from edge_agent.cli.context import ConfigOption, JsonOption, amount, counted, length, load_config, print_json
from edge_agent.cli.export import ring_export
from edge_agent.cli.moments import local
from edge_agent.cli.ring_coverage import as_json, days_back, print_days, read_day
from edge_agent.cli.ring_hold import ring_hold, ring_ls
from edge_agent.cli.ring_verify import ring_verify
from edge_agent.config import Config
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.model import Role
from edge_agent.ring.evidence import list_holds
from edge_agent.ring.hold import Hold
from edge_agent.ring.reader import RingReader, RingStat
from edge_agent.seal.keys import BoxKey, stream_id

app = typer.Typer(help="The local backup: how much, how far back, which minutes.", no_args_is_help=True)
app.command("export")(ring_export)
app.command("verify")(ring_verify)
app.command("hold")(ring_hold)
app.command("ls")(ring_ls)


@app.command("stat")
def stat(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Bytes, segments, days held and damage of each ring."""
    settings = load_config(context, config)
    stats = _reader(settings).stat()
    free = shutil.disk_usage(settings.ring.directory).free
    figures = [_figures(ring, settings, free) for ring in stats]
    holds = list_holds(settings.evidence_directory)
    if json:
        print_json([asdict(ring) | more for ring, more in zip(stats, figures, strict=True)])
        return
    for ring, more in zip(stats, figures, strict=True):
        print("\n".join(_stat_lines(ring, more, settings)))
    print("\n".join(_held_lines(holds, settings)))


@app.command("coverage")
def coverage(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(help="A camera's id; default: all.")] = "",
    named: Annotated[str, typer.Option("--camera", help="Likewise.")] = "",
    days: Annotated[int, typer.Option(min=1, max=60, help="How many days back, today included.")] = 1,
    role: Annotated[Role, typer.Option(help="Which stream.")] = Role.MAIN,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show which parts of each day are recorded, as a picture or as JSON."""
    settings = load_config(context, config)
    ids = _streams(settings, role)
    camera = camera or named
    if camera and camera not in ids:
        raise ConfigError([f"no camera {camera!r}; known: {', '.join(sorted(ids)) or 'none'}"])
    reader = _reader(settings)
    chosen = {name: ids[name] for name in sorted(ids) if camera in ("", name)}
    now_us, zone = time.time_ns() // 1000, settings.site.timezone
    found = [
        read_day(reader, name, stream, day, now_us)
        for name, stream in chosen.items()
        for day in days_back(zone, days, now_us)
    ]
    if json:
        print_json([as_json(day) for day in found])
        return
    print_days(found, zone)


def _reader(settings: Config) -> RingReader:
    root = settings.ring.directory
    kept = {role: root / role.value for role in Role if (root / role.value).is_dir()}
    if not kept:
        raise EdgeAgentError(f"{root}: no ring here yet; nothing has been recorded")
    return RingReader(kept)


def _figures(ring: RingStat, settings: Config, free_bytes: int) -> dict[str, Any]:
    """What follows from a ring's figures: its budget, how fast it fills, how far back it will reach."""
    bounds = settings.ring.main if ring.role is Role.MAIN else settings.ring.sub
    room = free_bytes - settings.ring.min_free_bytes
    told = reach(ring, bounds.max_bytes, room, bounds.max_age_days, _required_days(settings))
    rate = ring.held_bytes / (ring.days * 86_400) if ring.days else None
    return {
        "budget_bytes": bounds.max_bytes,
        "bytes_per_s": None if rate is None else round(rate),
        "will_hold_days": told.will_hold_days,
        "required_days": told.required_days,
    }


def _stat_lines(ring: RingStat, more: dict[str, Any], settings: Config) -> Iterator[str]:
    budget, rate, will = more["budget_bytes"], more["bytes_per_s"], more["will_hold_days"]
    yield (
        f"{ring.role.value:5} {amount(ring.held_bytes)} of {amount(budget)} "
        f"({ring.held_bytes / budget:.0%}) in {ring.segments} segments"
    )
    if ring.oldest_us is not None:
        yield f"      reaches back {length(ring.days)}, to {local(ring.oldest_us, settings.site.timezone)}"
    if rate is not None:
        wanted = f"{more['required_days']} days are demanded"
        told = (
            "too early to tell how far it will reach" if will is None else f"will reach back {length(will)}"
        )
        yield f"      written at {rate * 8 / 1e6:.2f} Mbit/s on average; {told}, {wanted}"
    if ring.damaged_ranges:
        yield f"      {ring.damaged_ranges} damaged ranges, {ring.damaged_bytes} bytes; see `ring verify`"


def _held_lines(holds: list[Hold], settings: Config) -> Iterator[str]:
    bounds = settings.ring.evidence
    kinds = ((False, "for cases", bounds.max_bytes), (True, "around outages", bounds.automatic_bytes))
    for automatic, what, room in kinds:
        mine = [hold.bytes for hold in holds if hold.stretch.automatic is automatic]
        begin = "     " if automatic else "held "
        yield f"{begin} {amount(sum(mine))} of {amount(room)} {what}, {counted(len(mine), 'hold')}"


def _required_days(settings: Config) -> int:
    from edge_agent.agent.policy_file import kept_demand

    return kept_demand(settings).required_days


def _streams(settings: Config, role: Role) -> dict[str, bytes]:
    """Stream ids by camera, from the roster and the box's public identity."""
    known = roster.load(settings.state.directory / roster.NAME)
    by_hand = [(f"url:{c.id}", c.id) for c in settings.cameras if c.url.get_secret_value()]
    box = _box_id(settings.box_key)
    return {name: stream_id(box, uid, role) for uid, name in (*known.ids, *by_hand)}


def _box_id(path: Path) -> bytes:
    if not path.exists():
        raise EdgeAgentError(f"{path}: no box key; the agent has never run with this configuration")
    return BoxKey.load_or_create(path).box_id
