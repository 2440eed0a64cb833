"""`iccc fetch`: a camera's sealed records as they lie on the box, over any line, through any restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.context import JsonOption, print_json
from edge_agent.cli.export import FromOption, RoleOption, ToOption
from edge_agent.cli.iccc_hold import (
    ByOption,
    CameraArgument,
    ReasonOption,
    SettingsOption,
    SiteArgument,
    wait_for_birth,
)
from edge_agent.cli.moments import window
from edge_agent.model import Role

if TYPE_CHECKING:
    from edge_agent.iccc.clip import Heard

PatienceOption = Annotated[
    int, typer.Option("--patience", min=10, help="Seconds without anything new until it gives up.")
]


def iccc_fetch(
    site: SiteArgument,
    camera: CameraArgument,
    start: FromOption,
    end: ToOption,
    settings: SettingsOption,
    by: ByOption,
    reason: ReasonOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    role: RoleOption = Role.MAIN,
    patience: PatienceOption = 600,
    json: JsonOption = False,
) -> None:
    """Fetch a camera's sealed records, laid end to end, behind everything that somebody watches.

    An interrupted fetch goes on where it was when the same command is given again.
    """
    from edge_agent.iccc.client import IcccClient
    from edge_agent.iccc.clip import ClipOrder, fetch
    from edge_agent.iccc.console.settings import load

    console = load(settings)
    client = IcccClient(console.client(), console.trusted_boxes())
    client.start()
    try:
        from_us, to_us = window(start, end, wait_for_birth(client, site).data.timezone)
        order = ClipOrder(site, camera, role, from_us, to_us, by, reason)
        with _parts() as seen:
            head = fetch(client, order, output, seen, patience_s=patience)
    finally:
        client.stop()
    if json:
        print_json({"file": str(output), **head.model_dump(mode="json")})
        return
    print(f"{output}: {head.size / 1e6:.1f} MB of sealed records of {site} {camera}/{role.value}")
    print(f"sha256 {head.sha256}")


@contextmanager
def _parts() -> Iterator[Callable[[Heard], None]]:
    """How many parts are here, and what is waited for; a new reason to wait is told in any case."""
    from edge_agent.cli.moments import Bar

    shown, said = Bar(0, 100), ""
    with shown.progress:
        task = shown.task("fetching")

        def seen(heard: Heard) -> None:
            nonlocal said
            if heard.waiting not in ("", said):
                typer.echo(f"waiting: {heard.waiting}", err=True)
            said = heard.waiting or said
            shown.reach(task, 100 * heard.here // max(1, heard.parts))

        yield seen
