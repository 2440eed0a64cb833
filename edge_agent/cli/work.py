"""`work`: planned work at the site, so that nobody is sent out for a camera that is being cleaned."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli.context import ConfigOption
from edge_agent.cli.local import ask


def work(
    context: typer.Context,
    reason: Annotated[str, typer.Argument(help="What is done, for the record.")],
    minutes: Annotated[int, typer.Option("--minutes", "-m", min=0, help="For how long; 0 ends it.")] = 60,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this camera; may be repeated. Default: all.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Announce planned work: what happens meanwhile is recorded, and raises no alarm."""
    cameras = list(camera or ())
    ask(context, config, "work", {"cameras": cameras, "minutes": minutes, "reason": reason})
    where = ", ".join(cameras) or "all cameras"
    if minutes:
        print(f"{where}: no alarm for {minutes} minutes; the reason is on record at the command centre")
    else:
        print(f"{where}: announced work is over")
