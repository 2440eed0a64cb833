"""`ring verify`: every byte of the local backup, held against its own chain and the marks in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from edge_agent.agent import roster
from edge_agent.cli.context import ConfigOption, JsonOption, load_config, print_json
from edge_agent.cli.moments import local
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError, LedgerError
from edge_agent.export import proofs
from edge_agent.export.box_ledger import BoxLedger
from edge_agent.host.control_wire import ControlError, call
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.model import Role
from edge_agent.ring.evidence import list_holds, read_back
from edge_agent.ring.hold import HoldState
from edge_agent.ring.reader import RingReader
from edge_agent.ring.verification import Examined, Examiner, Finding, tips_by_identity
from edge_agent.seal.keys import BoxKey, stream_id
from edge_agent.seal.record import Tip
from edge_agent.seal.tips import tips_stream

EVER = (-(1 << 62), 1 << 62)
SHOWN = 20


def ring_verify(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Read the whole backup and say what is damaged, missing or wrong; exit code 1 if anything is.

    Needs no key that opens footage. Takes about as long as the disk takes to read it.
    """
    settings = load_config(context, config)
    root = settings.ring.directory
    kept = {role: root / role.value for role in Role if (root / role.value).is_dir()}
    if not kept or not settings.box_key.exists():
        raise EdgeAgentError(f"{root}: no ring here yet; nothing has been recorded")
    box = BoxKey.load_or_create(settings.box_key)
    tips, word = _named(settings, box, RingReader(kept))
    examiners = {role: _examined(path, box, tips, settings) for role, path in kept.items()}
    altered = _altered(settings)
    if json:
        found_json = {role.value: _as_json(found) for role, found in examiners.items()}
        print_json(found_json | {"ledger": word, "altered_holds": altered})
    else:
        _print(examiners, word, settings, box)
        for case in altered:
            print(f"WRONG hold {case}: its records are not the ones that were held")
    if altered or any(found.findings for found in examiners.values()):
        raise typer.Exit(1)


def _altered(settings: Config) -> list[str]:
    """The holds whose records do not give the digest that was noted when they were whole."""
    directory = settings.evidence_directory
    whole = [hold for hold in list_holds(directory) if hold.state is HoldState.WHOLE]
    return [
        f"{hold.stretch.case} of {hold.stretch.camera} ({hold.id})"
        for hold in whole
        if read_back(directory, hold)[0] != hold.digest
    ]


def _named(settings: Config, box: BoxKey, reader: RingReader) -> tuple[list[Tip], str]:
    """What the ledger's marks name. A list in the ring that no mark has signed names nothing."""
    origin = Verifier(notes.origin_of(settings.site.id, box.public), box.public)
    try:
        with closing(BoxLedger(settings.state.directory / "ledger", origin)) as ledger:
            view = ledger.view()
            size = notes.open_checkpoint(view.own, view.key)[0].size
            walked = proofs.walk_back(view, size, EVER[0])
            marked = proofs.marked_tips(walked, reader.loose(tips_stream(box.box_id), *EVER))
    except LedgerError as error:
        return [], f"not held against the ledger: {error}"
    tips = [tip for _, listed in marked.values() for tip in listed]
    return tips, f"held against {len(marked)} marks in the ledger"


def _examined(path: Path, box: BoxKey, tips: list[Tip], settings: Config) -> Examined:
    from rich.console import Console
    from rich.progress import Progress

    examiner = Examiner(box.public, tips_by_identity(tips))
    total = sum(p.stat().st_size for p in path.glob("seg-*.ear"))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"reading {path.name}", total=total)
        for size in examiner.examine(path, growing=_runs(settings)):
            progress.advance(task, size)
    return examiner.result()


def _runs(settings: Config) -> bool:
    try:
        call(settings.control_socket, "status", {}, 5.0)
    except ControlError:
        return False
    return True


def _print(found: dict[Role, Examined], word: str, settings: Config, box: BoxKey) -> None:
    known = roster.load(settings.state.directory / roster.NAME)
    uids = {*known.ids, *((f"url:{c.id}", c.id) for c in settings.cameras if c.url.get_secret_value())}
    names = {stream_id(box.box_id, uid, role): f"{name}/{role}" for uid, name in uids for role in Role}
    for role, examined in found.items():
        print(
            f"{role.value}: {examined.records} records in {examined.segments} segments, "
            f"{examined.bytes / 1e9:.2f} GB; the minute marks name {examined.named} of them and bind the rest"
        )
        for line in _lines(examined, names, settings.site.timezone):
            print(f"  {line}")
    print(word)
    if not any(examined.findings for examined in found.values()):
        print("everything holds")


def _lines(examined: Examined, names: dict[bytes, str], timezone: str) -> Iterator[str]:
    for finding in examined.findings[:SHOWN]:
        where = f"segment {finding.segment} at {finding.offset}"
        if finding.epoch:
            camera = names.get(finding.stream, f"stream {finding.stream.hex()[:8]}")
            at = local(finding.wall_us, timezone)
            where += f", {camera} {at}, epoch {finding.epoch.hex()[:8]} record {finding.n}"
        yield f"{finding.sort.upper()} {where}: {finding.text}"
    if len(examined.findings) > SHOWN:
        sorts = Counter(f.sort for f in examined.findings)
        yield "in all: " + ", ".join(f"{count} {sort}" for sort, count in sorted(sorts.items()))


def _as_json(examined: Examined) -> dict[str, Any]:
    return asdict(examined) | {"findings": [_finding(f) for f in examined.findings]}


def _finding(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"stream": finding.stream.hex(), "epoch": finding.epoch.hex()}
