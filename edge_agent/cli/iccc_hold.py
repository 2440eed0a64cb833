"""`iccc hold`, `holds` and `release`: footage kept for a case, beyond every retention and every key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.context import JsonOption, print_json
from edge_agent.cli.export import FromOption, RoleOption, ToOption
from edge_agent.cli.moments import local, percents, window
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.model import Role

if TYPE_CHECKING:
    from edge_agent.iccc.client import IcccClient
    from edge_agent.iccc.console.settings import ConsoleSettings
    from edge_agent.uplink.messages import Birth

BIRTH_WAIT_S = 10.0
IST = "Asia/Kolkata"

SiteArgument = Annotated[str, typer.Argument(help="The site's id.")]
CameraArgument = Annotated[str, typer.Argument(help="The camera's id, e.g. cam-01.")]
SettingsOption = Annotated[Path, typer.Option("--settings", help="TOML as the console's.")]
CaseOption = Annotated[str, typer.Option("--case", help="The case, e.g. 4711/2026.")]
ByOption = Annotated[str, typer.Option("--by", help="Who orders it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, e.g. the FIR number.")]


def iccc_hold(
    site: SiteArgument,
    camera: CameraArgument,
    start: FromOption,
    end: ToOption,
    case: CaseOption,
    settings: SettingsOption,
    by: ByOption,
    reason: ReasonOption,
    role: RoleOption = Role.MAIN,
    json: JsonOption = False,
) -> None:
    """Have a box keep footage for a case, and keep here what opens it when its key is destroyed."""
    from edge_agent.iccc import hold as holds
    from edge_agent.iccc.console.settings import load
    from edge_agent.iccc.hold_store import HoldStore

    console = load(settings)
    public = console.trusted_boxes().public_key(site)
    if public is None:
        raise ConfigError([f"{settings}: site {site} is not enrolled"])
    known = console.client()
    rewrapper = holds.Rewrapper(known.recipient_id, known.recipient_key, console.evidence())
    with closing(HoldStore(console.hold_store())) as store, _client(console) as client:
        from_us, to_us = window(start, end, wait_for_birth(client, site).data.timezone)
        order = holds.HoldOrder(site, camera, role, from_us, to_us, case, by, reason)
        with percents("holding") as shown:
            held = holds.hold(client, public, order, rewrapper, store, shown)
    if json:
        print_json(asdict(held))
        return
    print(
        f"{held.site} {held.camera}/{held.role.value}: {held.records} records are held for case {held.case}"
    )
    print(f"digest {held.digest}")


def iccc_holds(
    settings: SettingsOption,
    site: Annotated[str, typer.Argument(help="A site's id; default: all.")] = "",
    json: JsonOption = False,
) -> None:
    """List what is held, where and for which case. Asks nobody."""
    from edge_agent.iccc.console.settings import load
    from edge_agent.iccc.hold_store import HoldStore

    with closing(HoldStore(load(settings).hold_store())) as store:
        held = store.holds(site or None)
    if json:
        print_json([asdict(hold) for hold in held])
        return
    for hold in held:
        window_ = f"{local(hold.from_us, IST)} to {local(hold.to_us, IST)} IST"
        print(f"{hold.case:16} {hold.site} {hold.camera}/{hold.role.value}, {window_}, by {hold.by}")
    if not held:
        print("nothing is held")


def iccc_release(
    site: SiteArgument,
    case: CaseOption,
    settings: SettingsOption,
    by: ByOption,
    reason: ReasonOption,
    second_key: Annotated[Path, typer.Option("--second-key", help="Another role's key (Ed25519, PEM).")],
    second_kid: Annotated[str, typer.Option("--second-kid", help="Its name in the boxes' configuration.")],
    json: JsonOption = False,
) -> None:
    """Give up what is held for a case, at the box and here. Needs the keys of two roles."""
    from edge_agent.export import keyfile
    from edge_agent.iccc import hold as holds
    from edge_agent.iccc.console.settings import load
    from edge_agent.iccc.hold_store import HoldStore
    from edge_agent.iccc.orders import SecondKey

    console = load(settings)
    second = SecondKey(keyfile.ed25519(second_key), second_kid)
    with closing(HoldStore(console.hold_store())) as store, _client(console) as client:
        wait_for_birth(client, site)
        size = holds.release(client, site, case, second, store, by=by, reason=reason)
    if json:
        print_json({"site": site, "case": case, "bytes": size})
        return
    print(f"{site}: case {case} is released, {size / 1e6:.1f} MB")


def wait_for_birth(client: IcccClient, site: str) -> Birth:
    """The retained birth comes with the subscription."""
    deadline = time.monotonic() + BIRTH_WAIT_S
    while (birth := client.birth(site)) is None:
        if time.monotonic() > deadline:
            raise EdgeAgentError(f"site {site} has not reported within {BIRTH_WAIT_S:.0f} s; is it online?")
        time.sleep(0.05)
    return birth


@contextmanager
def _client(console: ConsoleSettings) -> Iterator[IcccClient]:
    from edge_agent.iccc.client import IcccClient

    client = IcccClient(console.client(), console.trusted_boxes())
    client.start()
    try:
        yield client
    finally:
        client.stop()
