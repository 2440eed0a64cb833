"""`edge-agent`: one command for the technician and the demo (the service's `run` begins in entry.py).

Sub-commands import what they need when they are called: the whole import set costs half a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent import __version__
from edge_agent.cli import (
    camera,
    city,
    discover,
    doctor,
    iccc_export,
    ledger,
    local,
    nights,
    replay,
    ring,
    tools,
    verify,
    work,
)
from edge_agent.cli.entry import CONFIG_VARIABLE, DEFAULT_CONFIG

app = typer.Typer(
    name="edge-agent",
    help="Watches this site's cameras, keeps a sealed backup, reports to the command centre.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edge-agent {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", envvar=CONFIG_VARIABLE, readable=False, help="The configuration file."
        ),
    ] = DEFAULT_CONFIG,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = config


app.command()(local.run)
app.command()(local.status)
app.command()(local.snapshot)
app.command()(work.work)
app.command()(discover.discover)
app.command()(city.demo)
app.command()(ledger.audit)
app.command()(verify.verify)
app.command()(nights.nights)
app.command()(replay.replay)
app.add_typer(camera.app, name="camera")
app.add_typer(tools.config_app, name="config")
app.add_typer(doctor.app, name="doctor")
app.add_typer(ring.app, name="ring")
app.add_typer(iccc_export.app, name="iccc")
app.add_typer(ledger.app, name="ledger")
