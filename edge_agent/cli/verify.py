"""`verify FILE`: is this package what the box recorded? Works anywhere, without configuration or network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.context import JsonOption, print_json


def verify(
    file: Annotated[Path, typer.Argument(help="The package (.zip) to examine.")],
    trust: Annotated[
        Path | None, typer.Option("--trust", help="Keys that you have from elsewhere: lines of PART KEY.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Examine an evidence package offline.

    Exit code 0: authentic, 3: with gaps, 4: an unanchored tail, 5: not authentic, 6: no package at all.
    """
    from edge_agent.verify.check import verify as examine
    from edge_agent.verify.report import UNUSABLE, Unusable
    from edge_agent.verify.text import lines
    from edge_agent.verify.trust import read_trust

    try:
        if file.is_dir():
            raise Unusable("a directory; name the .zip in it")
        report = examine(file, read_trust(trust) if trust else None)
    except Unusable as error:
        what = str(error) if trust and str(error).startswith(str(trust)) else f"{file}: {error}"
        typer.echo(f"edge-agent: {what}", err=True)
        raise typer.Exit(UNUSABLE) from error
    if json:
        print_json(asdict(report) | {"exit_code": report.exit_code})
    else:
        print("\n".join(lines(report)))
    raise typer.Exit(report.exit_code)
