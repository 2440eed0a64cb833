"""`iccc export`: a site's footage as evidence, at the command centre."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.context import JsonOption
from edge_agent.cli.export import (
    CaseOption,
    CertificateOption,
    FromOption,
    OutputOption,
    RoleOption,
    ToOption,
    tell,
)
from edge_agent.cli.iccc_fetch import iccc_fetch
from edge_agent.cli.iccc_hold import iccc_hold, iccc_holds, iccc_release, wait_for_birth
from edge_agent.cli.moments import bar, local, window
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.model import Role

if TYPE_CHECKING:
    from edge_agent.iccc.console.settings import ConsoleSettings
    from edge_agent.iccc.export import Desk
    from edge_agent.seal.epoch import Wrap

EvidenceKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--evidence-key", help="Open what is held with this key (X25519, PEM), not the recipient's."
    ),
]
_SAFE = str.maketrans({" ": "_", ":": ""})

app = typer.Typer(help="At the command centre.", no_args_is_help=True)
app.command("fetch")(iccc_fetch)
app.command("hold")(iccc_hold)
app.command("holds")(iccc_holds)
app.command("release")(iccc_release)


@app.callback()
def _group() -> None:
    """At the command centre."""


@app.command("export")
def export(
    site: Annotated[str, typer.Argument(help="The site's id.")],
    camera: Annotated[str, typer.Argument(help="The camera's id, e.g. cam-01.")],
    start: FromOption,
    end: ToOption,
    settings: Annotated[
        Path, typer.Option("--settings", help="TOML as the console's, with a certificate of its own.")
    ],
    by: Annotated[str, typer.Option("--by", help="Who exports.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, e.g. the FIR number.")],
    output: OutputOption = None,
    role: RoleOption = Role.MAIN,
    case: CaseOption = "",
    certificate: CertificateOption = True,
    evidence_key: EvidenceKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Pull a camera's sealed footage, open it, and write it with its proofs as one .zip.

    An interrupted export goes on where it was when the same command is given again.
    """
    from edge_agent.export import certificate as certificates
    from edge_agent.export.manifest import Exported
    from edge_agent.iccc import export as exports
    from edge_agent.iccc.client import IcccClient
    from edge_agent.iccc.console.settings import load
    from edge_agent.iccc.store import LedgerStore

    console = load(settings)
    rewrapped = _rewrapped(console, site) if evidence_key else {}
    desk = _desk(console, evidence_key, rewrapped)
    boxes = console.trusted_boxes()
    public = boxes.public_key(site)
    if public is None or console.mirror is None:
        raise ConfigError([f"{settings}: site {site} is not enrolled, or `mirror` does not name the store"])
    client = IcccClient(console.client(evidence_key), boxes, lambda _: rewrapped)
    client.start()
    try:
        birth = wait_for_birth(client, site)
        from_us, to_us = window(start, end, birth.data.timezone)
        path = output or Path(f"{site}_{camera}_{local(from_us, birth.data.timezone)}.zip".translate(_SAFE))
        if path.exists():
            raise EdgeAgentError(f"{path}: is there already; name another file with --output")
        told = Exported(time.time_ns() // 1000, by, reason, case, "iccc")
        wanted = exports.Wanted(site, camera, role, from_us, to_us, told)
        spooled = path.with_name(path.name + ".records")
        with bar(from_us, to_us) as shown, exports.open_spool(spooled, birth, wanted, public) as spool:
            task = shown.task("fetching")
            if not exports.pull(client, wanted, spool, lambda us: shown.reach(task, us)):
                typer.echo("note: not all that the box has came; what is missing is listed as gaps", err=True)
            with closing(LedgerStore(console.mirror)) as store:
                written = exports.write(
                    path, client, wanted, desk, spool, store, public,
                    lambda r: shown.through(r, "packing"),
                    certificates.extras if certificate else None,
                    exports.recorder_of(client, wanted),
                )  # fmt: skip
        spooled.unlink()
    finally:
        client.stop()
    tell(path, written, json=json)


def _rewrapped(console: ConsoleSettings, site: str) -> dict[bytes, Wrap]:
    from edge_agent.iccc.hold_store import HoldStore

    with closing(HoldStore(console.hold_store())) as store:
        return store.wraps(site)


def _desk(console: ConsoleSettings, evidence_key: Path | None, rewrapped: dict[bytes, Wrap]) -> Desk:
    """The keys that a package is opened and signed with. Raises ConfigError that names what is missing."""
    from edge_agent.export import keyfile
    from edge_agent.iccc.export import Desk
    from edge_agent.ledger.checkpoint import Verifier

    if console.export_key is None:
        raise ConfigError(["export_key is not set: a package must be signed by the command centre"])
    private = keyfile.ed25519(console.export_key)
    exporter = Verifier(console.export_name, private.public_key().public_bytes_raw())
    client = console.client(evidence_key)
    return Desk(
        client.recipient_id,
        client.recipient_key,
        exporter,
        private,
        console.witness_vkey,
        console.mirror_vkey,
        rewrapped,
    )
