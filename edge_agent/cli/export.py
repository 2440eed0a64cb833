"""`ring export`: one camera's footage as a package that proves itself, at a box that has a key of its own."""

from __future__ import annotations

import getpass
import itertools
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.agent import roster
from edge_agent.cli.context import ConfigOption, JsonOption, counted, load_config, print_json
from edge_agent.cli.moments import Bar, bar, local, window
from edge_agent.config import Config, Recipient
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.export import certificate as certificates
from edge_agent.export import keyfile, package
from edge_agent.export.box_ledger import BoxLedger
from edge_agent.export.draft import whole_file
from edge_agent.export.manifest import UNKNOWN, CameraFacts, Exported, Facts, RecorderFacts, SiteFacts
from edge_agent.export.package import Request, Written
from edge_agent.export.rows import Keyring
from edge_agent.host.control_wire import ControlError, call
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.model import Role
from edge_agent.ring.evidence import Readers
from edge_agent.ring.reader import RingReader
from edge_agent.seal.keys import BoxKey, stream_id
from edge_agent.seal.record import Record
from edge_agent.seal.tips import tips_stream

FromOption = Annotated[str, typer.Option("--from", help='Site time, e.g. "2026-11-22 20:00", or RFC 3339.')]
ToOption = Annotated[str, typer.Option("--to", help="The end, likewise.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="The package to write.")]
RoleOption = Annotated[Role, typer.Option(help="Which stream.")]
ByOption = Annotated[str, typer.Option("--by", help="Who exports; default: the user who is logged in.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, e.g. the FIR number.")]
CaseOption = Annotated[str, typer.Option("--case", help="The case it belongs to.")]
CertificateOption = Annotated[
    bool, typer.Option("--certificate/--no-certificate", help="Add the certificate under section 63(4).")
]


def ring_export(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(help="The camera's id, e.g. cam-01.")],
    start: FromOption,
    end: ToOption,
    key: Annotated[Path, typer.Option("--key", help="The site's private key (X25519, PEM).")],
    output: OutputOption = None,
    role: RoleOption = Role.MAIN,
    by: ByOption = "",
    reason: ReasonOption = "",
    case: CaseOption = "",
    certificate: CertificateOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Export footage with its proofs as one .zip, which `edge-agent verify` checks anywhere."""
    settings = load_config(context, config)
    zone = settings.site.timezone
    from_us, to_us = window(start, end, zone)
    path = output or Path(
        f"{settings.site.id}_{camera}_{local(from_us, zone).replace(' ', '_')}.zip".replace(":", "")
    )
    if path.exists():
        raise EdgeAgentError(f"{path}: is there already; name another file with --output")
    recipient, private = _site_key(settings, key)
    box = _box(settings)
    facts = _facts(settings, camera, role, Exported(_now_us(), by or _user(), reason, case, "box"))
    origin = Verifier(notes.origin_of(settings.site.id, box.public), box.public)
    stream = stream_id(box.box_id, facts.camera.uid, role)
    reader = Readers(_reader(settings), settings.evidence_directory).best(stream, from_us, to_us)
    with (
        closing(BoxLedger(settings.state.directory / "ledger", origin)) as ledger,
        bar(from_us, to_us) as shown,
    ):
        request = Request(
            facts, stream, from_us, to_us, _footage(reader, stream, from_us, to_us, shown),
            _tips(reader, box, from_us, to_us), ledger.view(),
            Keyring(box.public, recipient.id, private), origin, box.sign, _vkeys(settings, origin),
        )  # fmt: skip
        written = save(path, request, certificates.extras if certificate else None)
    told = {"camera": camera, "role": role.value, "reason": reason, "case": case, "by": facts.exported.by}
    _note(settings, written, from_us=from_us, to_us=to_us, **told)
    tell(path, written, json=json)


def save(path: Path, request: Request, extras: package.Extras | None = None) -> Written:
    """Write the package under its name, whole or not at all. Raises EdgeAgentError with what to do."""
    camera = request.facts.camera
    try:
        with whole_file(path) as file:
            return package.write(file, request, extras)
    except package.NothingRecorded as error:
        text = f"{camera.id}/{camera.role}: {error}; `ring coverage {camera.id}` shows what there is"
        raise EdgeAgentError(text) from error


def tell(path: Path, written: Written, *, json: bool) -> None:
    size = path.stat().st_size
    if json:
        print_json(
            {"file": str(path), "bytes": size, "clips": written.clips, "fragments": written.fragments,
             "gaps": written.gaps, "anchored": written.anchored, "cosigned": written.cosigned,
             "manifest_sha256": written.manifest_sha256}
        )  # fmt: skip
        return
    contents = f"{counted(written.fragments, 'fragment')}, {counted(written.gaps, 'gap')}"
    print(f"{path}: {size / 1e6:.1f} MB, {contents}")
    print(f"manifest SHA-256 {written.manifest_sha256}")
    rest = written.fragments - written.cosigned
    if rest:
        print(
            f"{rest} fragments are not cosigned by the command centre yet: "
            "the verifier will say UNANCHORED_TAIL; export again in ten minutes for a full proof"
        )


def _site_key(settings: Config, path: Path) -> tuple[Recipient, bytes]:
    """The recipient that the box seals to for its own site, and the private key that was brought."""
    recipient = settings.keys.site_recipient
    if recipient is None:
        raise EdgeAgentError(
            "this box is in sealed mode (no keys.site_recipient): only the command centre can open its "
            "footage; ask it for the export"
        )
    private = keyfile.x25519(path)
    if private.public_key().public_bytes_raw() != b64decode(recipient.public_key):
        raise EdgeAgentError(f"{path}: is not the private key of keys.site_recipient {recipient.id!r}")
    return recipient, private.private_bytes_raw()


def _box(settings: Config) -> BoxKey:
    if not settings.box_key.exists():
        raise EdgeAgentError(
            f"{settings.box_key}: no box key; the agent has never run with this configuration"
        )
    return BoxKey.load_or_create(settings.box_key)


def _facts(settings: Config, camera: str, role: Role, exported: Exported) -> Facts:
    known = roster.load(settings.state.directory / roster.NAME)
    uids = {name: uid for uid, name in known.ids}
    uids |= {c.id: f"url:{c.id}" for c in settings.cameras if c.url.get_secret_value()}
    if camera not in uids:
        raise ConfigError([f"no camera {camera!r}; known: {', '.join(sorted(uids)) or 'none'}"])
    seen = next((c for c in known.last if c.id == camera), None)
    told = CameraFacts(camera, uids[camera], role.value, seen.name if seen else camera)
    return Facts(exported, site_facts(settings), _recorder(settings, seen.recorder if seen else ""), told)


def site_facts(settings: Config) -> SiteFacts:
    site = settings.site
    return SiteFacts(
        site.id, site.name, site.kind, site.licence or UNKNOWN, site.address or UNKNOWN, site.timezone
    )


def _recorder(settings: Config, name: str) -> RecorderFacts:
    """What the running agent has learnt of the recorder; a box that does not run knows only its name."""
    if not name:
        return RecorderFacts()
    try:
        listed: list[dict[str, Any]] = call(settings.control_socket, "status", {}, 5.0)["recorders"]
    except (ControlError, KeyError):
        listed = []
    return RecorderFacts.told(name, next((r for r in listed if r.get("name") == name), {}))


def _reader(settings: Config) -> RingReader:
    root = settings.ring.directory
    kept = {role: root / role.value for role in Role if (root / role.value).is_dir()}
    if not kept:
        raise EdgeAgentError(f"{root}: no ring here yet; nothing has been recorded")
    return RingReader(kept)


def _footage(
    reader: RingReader, stream: bytes, from_us: int, to_us: int, shown: Bar
) -> Callable[[], Iterator[Record]]:
    passes: Iterator[str] = itertools.chain(("reading", "writing"), itertools.repeat("again"))

    def walk() -> Iterator[Record]:
        records: Iterable[Record] = reader.records(stream, from_us, to_us + package.POST_ROLL_US)
        return shown.through(records, next(passes))

    return walk


def _tips(reader: RingReader, box: BoxKey, from_us: int, to_us: int) -> list[Record]:
    """The lists behind the minute marks from the window's start until a mark must have come."""
    return list(reader.loose(tips_stream(box.box_id), from_us, to_us + 2 * package.POST_ROLL_US))


def _vkeys(settings: Config, origin: Verifier) -> dict[str, str]:
    cosigners = {"witness": settings.keys.witness, "mirror": settings.keys.mirror}
    return {"box": origin.vkey, "exporter": origin.vkey} | {n: k for n, k in cosigners.items() if k}


def _note(settings: Config, written: Written, **told: str | int) -> None:
    """The export becomes a leaf. Without a running agent there is nobody to write it, and that is said."""
    try:
        call(settings.control_socket, "exported", {**told, "sha256": written.manifest_sha256}, 10.0)
    except ControlError as error:
        typer.echo(f"note: the export is not in the ledger: {error}", err=True)


def _user() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _now_us() -> int:
    return time.time_ns() // 1000
