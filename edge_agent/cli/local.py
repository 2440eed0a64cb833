"""`run`, and the commands that ask the running daemon over its Unix socket."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, config_path, load_config, print_json


def run(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the agent in the foreground, as the service does."""
    from edge_agent import app

    raise typer.Exit(app.run(config_path(context, config)))


def status(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show what the running agent sees: cameras, ring, link, clock."""
    document = ask(context, config, "status", {})
    if json:
        print_json(document)
        return
    from edge_agent.cli.show import print_status

    print_status(document)


def snapshot(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(help="The camera's id, e.g. cam-01.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the JPEG.")],
    config: ConfigOption = None,
) -> None:
    """Save what a camera sees right now as a JPEG file."""
    answer = ask(context, config, "snapshot", {"camera": camera})
    output.write_bytes(base64.b64decode(answer["jpeg"]))
    print(f"{output}: {answer['stream']} at {answer['taken']}")


def ask(context: typer.Context, config: Path | None, op: str, args: dict[str, Any]) -> dict[str, Any]:
    """One question to the daemon. Raises EdgeAgentError when it is not running or refuses."""
    from edge_agent.host.control import call

    return call(load_config(context, config).control_socket, op, args, timeout_s=15.0)
