"""What sub-commands share: the configuration file's path, tables, and JSON output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent import config as configuration

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", envvar="EDGE_AGENT_CONFIG", readable=False, help="The configuration file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def config_path(context: typer.Context, own: Path | None) -> Path:
    """The path given to the sub-command, else the one given before it, else the default."""
    path: Path = own or context.obj
    return path


def load_config(context: typer.Context, own: Path | None = None) -> configuration.Config:
    return configuration.load(config_path(context, own))


def length(days: float) -> str:
    """How long footage goes back: `42 min`, `7.5 h`, `31.2 days`."""
    if days >= 2:
        return f"{days:.1f} days"
    return f"{days * 24:.1f} h" if days >= 0.125 else f"{days * 24 * 60:.0f} min"


def amount(count: int) -> str:
    """`1.8 MB`, `47.31 GiB`."""
    return f"{count / 1024**3:.2f} GiB" if count >= 1024**3 // 10 else f"{count / 1e6:.1f} MB"


def counted(count: int, thing: str) -> str:
    """`1 stream`, `2 streams`."""
    return f"{count} {thing}{'s' * (count != 1)}"


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False, default=str)
    print()
