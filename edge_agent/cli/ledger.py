"""`ledger show`, `ledger verify` and `audit`: read from the files, with or without a running daemon."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, load_config, print_json
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import history, verifier
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.leaf import Leaf

DAY_US = 86_400_000_000
CLOCK_SLACK_US = 3_600_000_000  # leaves are in the order of writing, not of a clock that was stepped

app = typer.Typer(help="The ledger: what this box saw and did.", no_args_is_help=True)


@app.command()
def show(
    context: typer.Context,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many leaves.")] = 20,
    kind: Annotated[str, typer.Option("--kind", "-k", help="Only this kind, e.g. camera.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """The newest leaves, oldest first."""
    from edge_agent.cli.leaves import describe

    settings = load_config(context, config)
    found: list[tuple[int, Leaf | None]] = []
    with _explained(_directory(settings)):
        for index, leaf in _newest_first(settings):
            if kind and (leaf is None or leaf.kind != kind):
                continue
            found.append((index, leaf))
            if len(found) == last:
                break
    found.reverse()
    if json:
        print_json([_leaf_json(index, leaf) for index, leaf in found])
        return
    if not found:
        print(f"no leaf of the kind {kind!r}" if kind else "no leaf yet")
    for index, leaf in found:
        if leaf is None:
            print(f"{index:>8}  cannot be read; only its hash is left")
        else:
            when = _local(leaf.at.wall_us, settings)
            print(f"{index:>8}  {when}  {leaf.kind:<12}  {describe(leaf)}".rstrip())


@app.command()
def verify(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Recompute everything from the leaves; exit code 1, and where, if it does not hold."""
    settings = load_config(context, config)
    cosigners = tuple(key for key in (settings.keys.witness, settings.keys.mirror) if key)
    with _explained(_directory(settings)):
        vkey = _own_key(settings)
        report = verifier.verify_directory(_directory(settings), vkey=vkey, cosigners=cosigners)
    if json:
        print_json(asdict(report) | {"ok": report.ok})
    else:
        _print_report(report, own_key=vkey is not None, cosigners=bool(cosigners))
    if not report.ok:
        raise typer.Exit(1)


def audit(
    context: typer.Context,
    days: Annotated[float, typer.Option("--days", min=0.01, help="How far back.")] = 30,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Who asked this box for what, and why: commands, refused ones too, and looks at the box itself."""
    from edge_agent.cli.leaves import accesses

    settings = load_config(context, config)
    since_us = time.time_ns() // 1000 - round(days * DAY_US)
    recent: list[Leaf] = []
    with _explained(_directory(settings)):
        for _, leaf in _newest_first(settings):
            if leaf is not None and leaf.at.wall_us < since_us - CLOCK_SLACK_US:
                break
            if leaf is not None and leaf.at.wall_us >= since_us:
                recent.append(leaf)
    found = accesses(reversed(recent))
    if json:
        print_json([asdict(access) | {"at": _local(access.wall_us, settings)} for access in found])
        return
    for access in found:
        what = " ".join(filter(None, [access.op, access.camera]))
        why = f'"{access.reason}"' if access.reason else "-"
        print(f"{_local(access.wall_us, settings)}  {access.who:<24}  {what:<24}  {why}  {access.outcome}")
    if not found:
        print(f"nobody asked for anything in the last {days:g} days")


def _newest_first(config: Config) -> Iterator[tuple[int, Leaf | None]]:
    for index, entry in history.newest_first(_directory(config)):
        try:
            yield index, leaves_.decode(entry) if entry is not None else None
        except FormatError:
            yield index, None


def _own_key(config: Config) -> str | None:
    """From the box's key: the one that lies beside the leaves could be exchanged together with them."""
    from edge_agent.seal.keys import BoxKey

    if not config.box_key.exists():
        return None
    public = BoxKey.load_or_create(config.box_key).public
    return Verifier(notes.origin_of(config.site.id, public), public).vkey


def _print_report(report: verifier.Report, *, own_key: bool, cosigners: bool) -> None:
    print(f"{report.origin}: {report.size} leaves, root {report.root}")
    by = "" if cosigners else " (witness and mirror keys are not in the configuration: not checked)"
    print(f"signed by this box: {report.signed}; cosigned by the command centre: {report.cosigned}{by}")
    if report.pruned:
        print(f"the first {report.pruned} leaves are older than is kept; their hashes are here")
    if not own_key:
        print("the box's key is not here: the key beside the leaves was taken")
    for problem in report.problems:
        print(f"DOES NOT HOLD: {problem}")
    if report.ok:
        print("everything holds")


def _leaf_json(index: int, leaf: Leaf | None) -> dict[str, Any]:
    if leaf is None:
        return {"index": index, "unreadable": True}
    return {"index": index, "type": leaf.kind, "ts": leaf.at.wall_us, "clk": int(leaf.at.trust),
            "boot": leaf.boot, "data": leaf.data}  # fmt: skip


def _directory(config: Config) -> Path:
    return config.state.directory / "ledger"


def _local(wall_us: int, config: Config) -> str:
    moment = datetime.fromtimestamp(wall_us / 1e6, ZoneInfo(config.site.timezone))
    return f"{moment:%Y-%m-%d %H:%M:%S}"


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        directory.stat()
        yield
    except FileNotFoundError as error:
        raise EdgeAgentError(f"{directory}: no ledger yet; the agent begins it at its first start") from error
    except PermissionError as error:
        raise EdgeAgentError(
            f"{error.filename or directory}: permission denied; run it with sudo, or as the service's user"
        ) from error
    except OSError as error:
        raise EdgeAgentError(f"{error.filename or directory}: {error.strerror}") from error
