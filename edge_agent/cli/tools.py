"""`config check`: what works without a running daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent import config as configuration
from edge_agent.cli.context import ConfigOption, config_path

config_app = typer.Typer(help="Check the configuration.", no_args_is_help=True)


@config_app.command("check")
def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The file to check; default: as in --config.")] = None,
    config: ConfigOption = None,
) -> None:
    """Say everything that is wrong with the configuration at once; exit code 1 if anything is."""
    path = config_path(context, file or config)
    found = configuration.load(path)
    print(f"{path}: good. Site {found.site.id} ({found.site.name}), {_sources(found)}.")
    for note in _notes(found):
        print(f"note: {note}")


def _sources(config: configuration.Config) -> str:
    recorders = len(config.recorders)
    by_hand = sum(1 for c in config.cameras if c.url.get_secret_value())
    return f"{recorders} recorder{'s' * (recorders != 1)}, {by_hand} camera{'s' * (by_hand != 1)} by URL"


def _notes(config: configuration.Config) -> list[str]:
    """Things that are allowed, but that the person who installs should know."""
    notes = []
    if not config.uplink.brokers:
        notes.append("uplink.brokers is empty: nothing will be reported to the command centre")
    if not config.keys.recipients and config.keys.site_recipient is None:
        notes.append("keys.recipients is empty: footage cannot be sealed, so nothing will be recorded")
    if not config.recorders and not config.cameras:
        notes.append("no recorder and no camera is configured: run `edge-agent discover`")
    return notes
