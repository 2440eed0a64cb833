"""`demo`: the whole way on one machine, to look at or to measure."""

from __future__ import annotations

import json
import logging
import signal
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent import log
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.demo.city import City, CityOptions


class BrandChoice(StrEnum):
    dahua = "dahua"
    hikvision = "hikvision"
    tvt = "tvt"
    xm = "xm"
    uniview = "uniview"


class BrokerChoice(StrEnum):
    auto = "auto"
    mosquitto = "mosquitto"
    embedded = "embedded"


def demo(
    cameras: Annotated[int, typer.Option(min=1, max=16, help="How many cameras the DVR has.")] = 4,
    state: Annotated[Path, typer.Option(help="Keys, footage and logs; kept for the next time.")] = Path(
        "state"
    ),
    broker: Annotated[BrokerChoice, typer.Option(help="Which MQTT broker.")] = BrokerChoice.auto,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the console's page.")] = 8000,
    headless: Annotated[bool, typer.Option("--headless", help="Measure and end; no table.")] = False,
    for_s: Annotated[float, typer.Option("--for", min=5, help="Seconds to run with --headless.")] = 40,
    report: Annotated[Path | None, typer.Option(help="Where --headless writes its JSON report.")] = None,
    footage: Annotated[Path | None, typer.Option(help="Folder with H.264 clips for the cameras.")] = None,
    brand: Annotated[BrandChoice, typer.Option(help="How the DVR names things.")] = BrandChoice.dahua,
) -> None:
    """Start a virtual DVR, a broker, the command centre and an agent; Ctrl-C stops them all."""
    from edge_agent.demo.city import CityOptions

    log.configure("WARNING")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: everything is stopped in order
    options = CityOptions(cameras, state, broker.value, port, brand.value, footage)
    raise typer.Exit(_headless(options, for_s, report) if headless else _show(options))


def _headless(options: CityOptions, for_s: float, path: Path | None) -> int:
    from edge_agent.demo import report as reports
    from edge_agent.demo.city import City

    with City(options, lambda text: typer.echo(text, err=True)) as city:
        report = reports.measure(city, for_s)
    reports.read_footage(city, report)
    reports.read_ledger(city, report)
    text = json.dumps(asdict(report), indent=1)
    if path is None:
        print(text)
    else:
        path.write_text(text + "\n", encoding="utf-8")
    for error in report.errors:
        typer.echo(f"not measured or not good: {error}", err=True)
    return 0 if report.complete else 1


def _show(options: CityOptions) -> int:
    from edge_agent.demo.city import City

    with City(options, typer.echo) as city:
        typer.echo(f"\n  Open {city.url} in a browser. Ctrl-C stops everything.\n")
        try:
            _watch(city)
        except KeyboardInterrupt:
            typer.echo("\nstopping: agent, console, broker, DVR")
    return 0


def _watch(city: City) -> None:
    """The live table, from the agent's own status command."""
    from rich.console import Console
    from rich.live import Live

    from edge_agent.cli.show import status_view
    from edge_agent.demo.city import agent_status

    console = Console()
    with Live(console=console, refresh_per_second=2, transient=False) as live:
        while True:
            city.tend()
            try:
                live.update(status_view(agent_status(city.layout.agent_config)))
            except EdgeAgentError as error:
                logging.getLogger(__name__).debug("%s", error)
            time.sleep(2.0)
