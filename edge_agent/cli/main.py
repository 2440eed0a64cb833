"""`edge-agent`: one command for the technician, the service and the demo.

Sub-commands import what they need when they are called: the whole import set costs half a second.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import __version__
from edge_agent.cli import camera, city, discover, ledger, local, ring, tools
from edge_agent.errors import EdgeAgentError
from edge_agent.log import redact

DEFAULT_CONFIG = Path("/etc/edge-agent/edge-agent.toml")

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
        typer.Option("--config", "-c", envvar="EDGE_AGENT_CONFIG", help="The configuration file."),
    ] = DEFAULT_CONFIG,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = config


app.command()(local.run)
app.command()(local.status)
app.command()(local.snapshot)
app.command()(discover.discover)
app.command()(city.demo)
app.command()(ledger.audit)
app.add_typer(camera.app, name="camera")
app.add_typer(tools.config_app, name="config")
app.add_typer(ring.app, name="ring")
app.add_typer(ledger.app, name="ledger")


def main() -> None:
    """Console script: an explained error is one message on stderr and exit code 1."""
    try:
        app()
    except EdgeAgentError as error:
        for line in redact(str(error)).splitlines():
            print(f"edge-agent: {line}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
