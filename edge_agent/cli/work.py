"""`work`: planned work at the site, so that nobody is sent out for a camera that is being cleaned."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, print_json
from edge_agent.cli.local import ask
from edge_agent.errors import EdgeAgentError


def work(
    context: typer.Context,
    reason: Annotated[str, typer.Argument(help="What is done, for the record.")],
    minutes: Annotated[int, typer.Option("--minutes", "-m", min=0, help="For how long; 0 ends it now.")] = 60,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this camera; may be repeated. Default: all.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Announce planned work: what happens meanwhile is recorded, and raises no alarm.

    `edge-agent status` tells what is announced. `--minutes 0` ends it early: for the cameras that it was
    announced for, or without `--camera` all of it; the night's record mutes no longer than that."""
    if not (reason := reason.strip())[2:]:
        raise EdgeAgentError("say what is done in three letters or more: the reason goes on record")
    cameras = list(camera or ())
    told = ask(context, config, "work", {"cameras": cameras, "minutes": minutes, "reason": reason})
    if json:
        print_json(told)
        return
    where = ", ".join(cameras) or "all cameras"
    if minutes:
        print(f"{where}: no alarm for {minutes} minutes; the reason is on record at the command centre")
    else:
        print(f"{where}: announced work is over")
