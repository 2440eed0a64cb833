"""`ring stat` and `ring coverage`: read from the files alone, while the daemon runs and when it does not."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from edge_agent.agent import roster
from edge_agent.cli.context import ConfigOption, JsonOption, length, load_config, print_json
from edge_agent.cli.export import ring_export
from edge_agent.cli.ring_verify import ring_verify
from edge_agent.config import Config
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.model import Role
from edge_agent.ring.reader import RingReader, RingStat, Span
from edge_agent.seal.keys import BoxKey, stream_id

app = typer.Typer(help="The local backup: how much, how far back, which minutes.", no_args_is_help=True)
app.command("export")(ring_export)
app.command("verify")(ring_verify)

DAY_US = 86_400_000_000
WIDE = 130  # columns; a narrower terminal gets half an hour a character instead of a quarter
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Day:
    """One camera's day, local time: microseconds of wall time, and how much of it is recorded."""

    camera: str
    date: str
    from_us: int
    to_us: int
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return sum(s.to_us - s.from_us for s in self.spans) / 1e6


@app.command("stat")
def stat(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Bytes, segments, days held and damage of each ring."""
    settings = load_config(context, config)
    stats = _reader(settings).stat()
    if json:
        print_json([asdict(s) for s in stats])
        return
    for ring in stats:
        print(_stat_line(ring, settings))


@app.command("coverage")
def coverage(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(help="A camera's id; default: all.")] = "",
    days: Annotated[int, typer.Option(min=1, max=60, help="How many days back, today included.")] = 1,
    role: Annotated[Role, typer.Option(help="Which stream.")] = Role.MAIN,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show which parts of each day are recorded, as a picture or as JSON."""
    settings = load_config(context, config)
    ids = _streams(settings, role)
    if camera and camera not in ids:
        raise ConfigError([f"no camera {camera!r}; known: {', '.join(sorted(ids)) or 'none'}"])
    reader = _reader(settings)
    chosen = {name: ids[name] for name in sorted(ids) if camera in ("", name)}
    found = [
        _day(reader, name, stream, day) for name, stream in chosen.items() for day in _days(settings, days)
    ]
    if json:
        print_json([_as_json(day) for day in found])
        return
    _print_days(found)


def _reader(settings: Config) -> RingReader:
    root = settings.ring.directory
    kept = {role: root / role.value for role in Role if (root / role.value).is_dir()}
    if not kept:
        raise EdgeAgentError(f"{root}: no ring here yet; nothing has been recorded")
    return RingReader(kept)


def _stat_line(ring: RingStat, settings: Config) -> str:
    budget = settings.ring.main.max_bytes if ring.role is Role.MAIN else settings.ring.sub.max_bytes
    share = ring.held_bytes / budget
    line = (
        f"{ring.role.value:5} {ring.held_bytes / 1024**3:8.2f} GiB in {ring.segments} segments "
        f"({share:.0%} of its budget), {length(ring.days)}"
    )
    if share > 0 and ring.days > 0:
        line += f", room for about {length(ring.days / share)} (asked for: {_required_days(settings)} days)"
    if ring.damaged_ranges:
        line += f"; {ring.damaged_ranges} damaged ranges, {ring.damaged_bytes} bytes"
    return line


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


def _days(settings: Config, count: int) -> list[tuple[str, int, int]]:
    zone = ZoneInfo(settings.site.timezone)
    today = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=back) for back in reversed(range(count))]
    return [
        (
            f"{start:%Y-%m-%d}",
            int(start.timestamp() * 1e6),
            int((start + timedelta(days=1)).timestamp() * 1e6),
        )
        for start in starts
    ]


def _day(reader: RingReader, camera: str, stream: bytes, day: tuple[str, int, int]) -> Day:
    date, from_us, to_us = day
    return Day(camera, date, from_us, to_us, tuple(reader.coverage(stream, from_us, to_us)))


def _as_json(day: Day) -> dict[str, Any]:
    return {
        "camera": day.camera,
        "date": day.date,
        "seconds": round(day.seconds, 3),
        "spans_us": [[s.from_us, s.to_us] for s in day.spans],
    }


def _print_days(days: list[Day]) -> None:
    cells = 96 if shutil.get_terminal_size().columns >= WIDE else 48
    scale = "".join(f"{hour}h".ljust(cells // 8) for hour in range(0, 24, 3))
    print(f"{'':21} {scale}")
    for day in days:
        hours, rest = divmod(int(day.seconds), 3600)
        print(f"{day.camera:10} {day.date} {picture(day, cells)} {hours:2}:{rest // 60:02} h")


def picture(day: Day, cells: int) -> str:
    """The day in `cells` characters: a full block is recorded whole, a space not at all."""
    width = (day.to_us - day.from_us) / cells
    filled = [0.0] * cells
    for span in day.spans:
        first = int((span.from_us - day.from_us) / width)
        last = min(int((span.to_us - 1 - day.from_us) / width), cells - 1)
        for cell in range(first, last + 1):
            start = day.from_us + cell * width
            filled[cell] += max(0.0, min(span.to_us, start + width) - max(span.from_us, start)) / width
    return "".join(_BLOCKS[_eighths(share)] for share in filled)


def _eighths(share: float) -> int:
    """At least one for anything recorded, eight only for all of it."""
    if share >= 0.999:
        return 8
    return 0 if share <= 0 else max(1, min(7, round(share * 8)))
