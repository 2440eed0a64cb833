"""`config check`: what works without a running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import config as configuration
from edge_agent.cli.context import ConfigOption, JsonOption, config_path, print_json
from edge_agent.errors import ConfigError

config_app = typer.Typer(help="Check the configuration.", no_args_is_help=True)


@config_app.command("check")
def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The file to check; default: as in --config.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say everything that is wrong with the configuration at once; exit code 1 if anything is."""
    path = config_path(context, file or config)
    try:
        found = configuration.load(path)
        _refuse(
            path, [f"{key}: {named}: {why}" for key, named in _files(found) if (why := _unreadable(named))]
        )
    except ConfigError as error:
        if not json:
            raise
        print_json({"file": path, "good": False, "problems": error.problems, "notes": []})
        raise typer.Exit(1) from None
    if json:
        print_json({"file": path, "good": True, "problems": [], "notes": _notes(found)})
        return
    print(f"{path}: good. Site {found.site.id} ({found.site.name}), {_sources(found)}.")
    for note in _notes(found):
        print(f"note: {note}")


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise ConfigError([f"{path}: {problem}" for problem in problems])


def _files(config: configuration.Config) -> Iterator[tuple[str, Path]]:
    """The files that the configuration names and that somebody must have put there, by their key."""
    for recorder in config.recorders:
        if recorder.password_file is not None:
            yield f"recorders.{recorder.name}.password_file", recorder.password_file
    if config.uplink.enabled and config.uplink.brokers:
        for key in ("ca", "certificate", "key", "media_certificate", "media_key"):
            if (path := getattr(config.uplink, key)) is not None:
                yield f"uplink.{key}", path


def _unreadable(path: Path) -> str:
    """Why it cannot be used; empty if it can. A running agent may still lack the right: see the guide."""
    try:
        return "" if path.read_bytes() else "is empty"
    except PermissionError:
        return "not readable for you; use sudo"
    except OSError as error:
        return error.strerror or str(error)


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
