"""`nights`: what each camera saw of each night, from the ledger's files, with or without a running daemon."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, load_config, print_json
from edge_agent.config import Config
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.health import duty
from edge_agent.health import nights_words as words
from edge_agent.health.chronicle import Chronicle
from edge_agent.health.nights import NightRecord, night_record
from edge_agent.health.policy import Demand

MAX_NIGHTS = 62
CELLS = 48  # half an hour a character


def nights(
    context: typer.Context,
    month: Annotated[str, typer.Option(help="All nights of a month, e.g. 2026-11.")] = "",
    night: Annotated[str, typer.Option(help="The night that begins in this evening, e.g. 2026-11-21.")] = "",
    so_far: Annotated[bool, typer.Option("--so-far", help="The night under way, with its day.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write a table for spreadsheets; - for the screen.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to look at and to print.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What each camera saw of the last night, of another, or of a month; and why not of the rest.

    On the first day, while no night is over, the one under way is shown."""
    settings = load_config(context, config)
    now_us = time.time_ns() // 1000
    demand = _demand(settings)
    told, records = _records(settings, demand, _evenings(demand, month, night, so_far, now_us), now_us)
    note = ""
    if not (month or night or so_far) and not (records and told.begun_us):
        note = _first_night(demand, told, now_us)
        under_way = duty.under_way(demand.schedule.zone, now_us, demand.schedule.night)
        records = [night_record(told, demand.schedule, under_way, now_us)]
    elif not records and told.installed_us:
        note = words.not_before(told.installed_us, demand.schedule.zone)
    names = _names(settings)
    if csv is not None:
        _write_csv(csv, settings, names, records)
    if html is not None:
        _write_html(html, settings, names, records, now_us, note)
    if json:
        from edge_agent.health.nights_leaf import as_document

        print_json([as_document(record) for record in records])
    elif csv is None and html is None:
        _print(records, names, note)
    elif note:
        print(note, file=sys.stderr)


def _demand(settings: Config) -> Demand:
    from edge_agent.agent.policy_file import kept_demand

    return kept_demand(settings)


def _first_night(demand: Demand, told: Chronicle, now_us: int) -> str:
    schedule = demand.schedule
    first = duty.under_way(schedule.zone, told.installed_us or now_us, schedule.night)
    return words.first_night(schedule.zone, duty.night(schedule.zone, first, schedule.night))


def _evenings(demand: Demand, month: str, night: str, so_far: bool, now_us: int) -> list[date]:
    """Of those whose day has begun. Without a wish: the newest whose night is over."""
    zone, span = demand.schedule.zone, demand.schedule.night
    today = duty.local_day(zone, now_us)
    if bool(month) + bool(night) + so_far > 1:
        raise ConfigError(["--month, --night and --so-far exclude each other"])
    if so_far:
        return [duty.under_way(zone, now_us, span)]
    if night:
        return [_date(night, "--night", "2026-11-21")]
    if month:
        first = _date(f"{month}-01", "--month", "2026-11")
        days = [first + timedelta(days=n) for n in range(31)]
        return [d for d in days if d.month == first.month and duty.window(zone, d, span)[0] < now_us]
    return [next(d for n in range(3) if duty.night(zone, d := today - timedelta(days=n), span)[1] <= now_us)]


def _date(text: str, option: str, example: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError([f"{option}: {text.removesuffix('-01')!r} is not like {example}"]) from error


def _records(
    settings: Config, demand: Demand, evenings: Sequence[date], now_us: int
) -> tuple[Chronicle, list[NightRecord]]:
    """What the ledger tells, and the records of these evenings; none of a time before the box was there."""
    from edge_agent.agent.nights_reading import leaves_since
    from edge_agent.health.scribe import chronicle
    from edge_agent.ledger import history

    directory = settings.state.directory / "ledger"
    if not directory.is_dir():
        raise EdgeAgentError(f"{directory}: no ledger yet; the agent begins it at its first start")
    if not evenings:
        return Chronicle(), []
    from_us = duty.window(demand.schedule.zone, evenings[0], demand.schedule.night)[0]
    newest_first = (entry for _, entry in history.newest_first(directory))
    try:
        told = chronicle(leaves_since(newest_first, from_us))
    except PermissionError as error:
        raise EdgeAgentError(
            f"{error.filename}: permission denied; run it with sudo, or as the service's user"
        ) from error
    records = [night_record(told, demand.schedule, evening, now_us) for evening in evenings]
    return told, [record for record in records if not record.before_its_time]


def _names(settings: Config) -> dict[str, str]:
    return {camera.id: camera.name for camera in settings.cameras if camera.name}


def _write_csv(path: Path, settings: Config, names: dict[str, str], records: Sequence[NightRecord]) -> None:
    from edge_agent.agent.nights_table import COLUMNS, csv_text, rows

    text = csv_text(COLUMNS, rows(settings.site.id, names, records))
    if str(path) == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path.write_bytes(text.encode())
    print(f"{path}: {len(text.splitlines()) - 1} rows", file=sys.stderr)


def _write_html(
    path: Path,
    settings: Config,
    names: dict[str, str],
    records: Sequence[NightRecord],
    now_us: int,
    note: str,
) -> None:
    from edge_agent.agent import reports
    from edge_agent.agent.nights_page import About, page

    site = settings.site
    made = f"made at {reports.local_time(now_us, site.timezone)}"
    about = About(
        site.id, site.name, site.kind, site.address, tuple(names.items()), made, "from the box's own ledger",
        note=note,
    )  # fmt: skip
    text = page(about, records)
    if str(path) == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(records)} night{'s' * (len(records) != 1)}", file=sys.stderr)


def _print(records: Sequence[NightRecord], names: dict[str, str], note: str) -> None:
    from edge_agent.cli.nights_view import view

    if note:
        print(f"{note}\n")
    for line in view(records, names, CELLS):
        print(line)
    if not records and not note:
        print("no night of that month has begun")
