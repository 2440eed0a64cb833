"""`discover`: who is there, without a running daemon."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from edge_agent.capture.wsd import Found
from edge_agent.cli.context import ConfigOption, JsonOption, load_config, print_json
from edge_agent.config import Discovery
from edge_agent.errors import ConfigError


def discover(
    context: typer.Context,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", "-i", help="Ask on this interface only; repeatable.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds to listen for answers.")] = 4.0,
    sweep: Annotated[
        bool | None,
        typer.Option(
            help="If nobody answers, knock at every address of the local /24.",
            show_default="as configured, else --sweep",
        ),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find recorders and cameras on the local network: by ONVIF, else by knocking at every address.

    Interfaces and sweep are those of the configuration, if there is one that can be read.
    """
    from rich.console import Console

    from edge_agent.capture import discovery

    usual = _configured(context, config)
    console = Console(stderr=True)
    with console.status("asking the local network for cameras..."):
        found = discovery.discover(
            tuple(interface or usual.interfaces),
            timeout_s=timeout,
            stop=Event(),
            on_found=lambda device: console.print(f"  {device.address} answered"),
            sweep=usual.sweep if sweep is None else sweep,
            on_sweep=lambda hosts: console.print(f"  nobody answered; knocking at {hosts} addresses"),
        )
        notes = {device.address: note(device) for device in found}
    if json:
        print_json([{**asdict(f), "note": notes[f.address]} for f in found])
        return
    if not found:
        console.print("No device answered. Is the recorder on, in this network, with ONVIF enabled?")
        raise typer.Exit(1)
    _print_table(found, notes)


def _configured(context: typer.Context, own: Path | None) -> Discovery:
    """Often there is no configuration yet, or it is not ours to read; one that was named must be good."""
    try:
        return load_config(context, own).discovery
    except ConfigError:
        if own is not None:
            raise
        return Discovery()


def note(device: Found) -> str:
    """What the technician must know: a device that answers and cannot be reached, or has no ONVIF."""
    from edge_agent.capture import web

    if not device.port:
        return "ONVIF is off or on another port; its cameras are found by the maker's usual URLs"
    if not web.answers(device.address, device.port):
        return "answers, but cannot be reached from here: is it in another subnet?"
    if device.foreign:
        return f"says that it is at {device.xaddrs[0][:60]}; it is reached here all the same"
    return ""


def _print_table(found: list[Found], notes: dict[str, str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("address", "port", "maker", "name or model", "MAC or endpoint", box=box.SIMPLE_HEAD)
    for device in found:
        maker = device.maker or guess(device)
        port = str(device.port or "")
        called = device.hardware or device.name
        table.add_row(device.address, port, maker, called, device.mac or device.epr)
    for column in table.columns:
        column.overflow = "fold"  # a MAC or model that is cut off cannot be compared with a label
    console = Console(highlight=False)
    console.print(table)
    for address, text in notes.items():
        if text:
            console.print(f"{address}: {text}", markup=False)


def guess(device: Found) -> str:
    """The maker by what the device calls itself."""
    from edge_agent.capture import brands

    brand = brands.fingerprint(device.name) or brands.fingerprint(device.hardware)
    return brand.name if brand else ""
