"""Evidence at the command centre: sealed records pulled from the box, proofs from the mirror's own store."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import EdgeAgentError, LedgerError, UplinkError
from edge_agent.export import package, proofs
from edge_agent.export.draft import whole_file
from edge_agent.export.manifest import UNKNOWN, CameraFacts, Exported, Facts, RecorderFacts, SiteFacts
from edge_agent.export.package import Extras, Request, Written
from edge_agent.export.proofs import LedgerView
from edge_agent.export.rows import Keyring
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.export_spool import Spool
from edge_agent.iccc.playback import PlaybackEnd
from edge_agent.iccc.store import LedgerStore
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.wire import WitnessNote
from edge_agent.model import Role
from edge_agent.seal.epoch import Wrap
from edge_agent.seal.keys import box_id
from edge_agent.seal.record import Record
from edge_agent.seal.tips import tips_stream
from edge_agent.uplink.messages import Birth

SPEEDS = (40.0, 20.0, 8.0, 8.0)  # a broker that drops gets it slower; brokers queue some MiB for a reader
IN_HAND = 4096  # records between the link's thread and the disk
LISTS_AT_MOST, LIST_US = 16, 1_000_000
HOLES_AT_ONCE = 16
NO_LIST = leaves.mark(0, (), bytes(32), (), leaves.tips_root([]))["tips"]  # of a minute without a record

Seen = Callable[[int], None]  # wall time that the pull has reached
Shown = Callable[[Iterable[Record]], Iterable[Record]]


@dataclass(frozen=True, slots=True)
class Desk:
    """What this command centre exports with: its recipient key, its signing key, its cosigners' names."""

    recipient_id: str
    recipient_key: bytes
    exporter: Verifier
    private: Ed25519PrivateKey
    witness: str = ""
    mirror: str = ""
    rewrapped: Mapping[bytes, Wrap] = field(default_factory=dict)  # by epoch: what a hold made openable


@dataclass(frozen=True, slots=True)
class Wanted:
    """One export as it was ordered."""

    site: str
    camera: str
    role: Role
    from_us: int
    to_us: int
    exported: Exported


def pull(client: IcccClient, wanted: Wanted, spool: Spool, seen: Seen) -> bool:
    """Bring the records that the spool does not have. True when all came that the box has.

    A session that came to its end may have lost records on its way: the spool's numbers decide. What a whole
    further pass does not bring, the box does not have. May be called again after any failure. Raises as
    `IcccClient.playback`, and OSError for the spool's disk.
    """
    until_us = wanted.to_us + package.POST_ROLL_US
    ended = False
    for speed in SPEEDS:
        holes = _fewer(spool.holes(wanted.from_us, until_us))
        had = spool.records
        ends = [_pull_once(client, wanted, spool, hole, speed, seen) for hole in holes]
        ended = all(ends)
        missing = len(spool.holes(wanted.from_us, until_us)) > 1  # the last one is the time after all records
        if ended and not missing:
            return True
        if had and spool.records == had:
            return ended
    return False


def _fewer(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """At most HOLES_AT_ONCE, those together that are nearest: each costs a session. The last stays alone."""
    *inner, rest = holes
    while len(inner) >= HOLES_AT_ONCE:
        near = min(range(1, len(inner)), key=lambda i: inner[i][0] - inner[i - 1][1])
        inner[near - 1 : near + 1] = [(inner[near - 1][0], inner[near][1])]
    return [*inner, rest]


def write(
    path: Path, client: IcccClient, wanted: Wanted, desk: Desk, spool: Spool, store: LedgerStore,
    public: bytes, shown: Shown, extras: Extras | None = None, recorder: RecorderFacts | None = None,
) -> Written:  # fmt: skip
    """Pack what was pulled. `extras` may add files, as the certificate, from the manifest so far.

    Raises EdgeAgentError with what to do.
    """
    birth = client.birth(wanted.site)
    if birth is None:
        raise UplinkError(f"site {wanted.site} has not reported yet")
    view = ledger_view(store, wanted.site)
    _pull_lists(client, wanted, spool, view)
    request = Request(
        _facts(birth, wanted, recorder), stream_of(birth, wanted), wanted.from_us, wanted.to_us,
        lambda: shown(spool.footage()), spool.tips(), view,
        Keyring(public, desk.recipient_id, desk.recipient_key, desk.rewrapped),
        desk.exporter, desk.private.sign,
        _vkeys(store, wanted.site, desk),
    )  # fmt: skip
    try:
        with whole_file(path) as file:
            return package.write(file, request, extras)
    except package.NothingRecorded as error:
        raise EdgeAgentError(f"{wanted.site} {wanted.camera}/{wanted.role.value}: {error}") from error


def open_spool(path: Path, birth: Birth, wanted: Wanted, public: bytes) -> closing[Spool]:
    return closing(Spool(path, stream_of(birth, wanted), tips_stream(box_id(public))))


def stream_of(birth: Birth, wanted: Wanted) -> bytes:
    """The stream that the box's signed birth names. Raises UplinkError for a camera it does not have."""
    named = next((c.streams.get(wanted.role) for c in birth.data.cameras if c.id == wanted.camera), None)
    if named is None:
        known = ", ".join(c.id for c in birth.data.cameras) or "none"
        raise UplinkError(f"{wanted.site} has no {wanted.camera}/{wanted.role.value}; known: {known}")
    return bytes.fromhex(named)


def recorder_of(client: IcccClient, wanted: Wanted) -> RecorderFacts | None:
    """What the box's signed status says of the camera's recorder; None when it does not answer."""
    birth = client.birth(wanted.site)
    cameras = birth.data.cameras if birth else ()
    name = next((camera.recorder for camera in cameras if camera.id == wanted.camera), "")
    told = wanted.exported
    try:
        reply = client.command(wanted.site, "diagnose", operator=told.by, reason=told.reason)
    except UplinkError:
        return None
    listed = reply.data.result.get("recorders")
    known = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
    return next(
        (RecorderFacts.told(name, status) for status in known if name and status.get("name") == name), None
    )


def ledger_view(store: LedgerStore, site: str) -> LedgerView:
    """The mirror's own leaves; the newest cosigned note where there is one."""
    origin = store.of_site(site)
    if not origin.checkpoint:
        raise LedgerError(f"{site}: the mirror has no signed checkpoint yet")
    note = WitnessNote.decode(origin.note) if origin.note else WitnessNote("", "", 0)
    return LedgerView(
        origin.key, lambda first, count: store.leaves(origin.name, first, count), store.nodes(origin.name),
        origin.checkpoint, note.mirror, note.witness,
    )  # fmt: skip


def _pull_lists(client: IcccClient, wanted: Wanted, spool: Spool, view: LedgerView) -> None:
    """Bring the lists that the marks of the time name and the spool lacks. Footage has numbers, and a lost
    record leaves a hole; a list that was lost on the way shows only here."""
    asked: set[int] = set()
    with contextlib.suppress(UplinkError):  # what is not proved is named so
        while len(asked) < LISTS_AT_MOST:
            lacking = [us for us in unlisted(wanted, spool.tips(), view) if us not in asked]
            if not lacking:
                return
            asked.add(lacking[0])
            window = (lacking[0] - LIST_US, lacking[0] + LIST_US)
            _pull_once(client, wanted, spool, window, SPEEDS[-1], lambda _: None)


def unlisted(wanted: Wanted, tips: Sequence[Record], view: LedgerView) -> list[int]:
    """When the marks of the time were made that no list among `tips` belongs to, in order."""
    walked = proofs.walk_back(view, proofs.Heads(view).size, wanted.from_us)
    known = proofs.marked_tips(walked, tips)
    until_us = wanted.to_us + package.POST_ROLL_US
    return [
        chosen.leaf.at.wall_us
        for chosen in walked
        if chosen.leaf.kind == "mark" and chosen.leaf.data.get("tips") != NO_LIST
        if chosen.index not in known and wanted.from_us <= chosen.leaf.at.wall_us <= until_us
    ]


def _pull_once(
    client: IcccClient, wanted: Wanted, spool: Spool, hole: tuple[int, int], speed: float, seen: Seen
) -> bool:
    came: queue.Queue[Record] = queue.Queue(IN_HAND)
    dropped = False

    def keep(record: Record) -> None:
        nonlocal dropped
        try:
            came.put_nowait(record)
        except queue.Full:
            dropped = True  # its number is missing in the spool: the next pull asks for it

    with client.playback(
        wanted.site, wanted.camera, wanted.role, *hole, speed=speed, keep=keep,
        operator=wanted.exported.by, reason=wanted.exported.reason,
    ) as stream:  # fmt: skip
        end: PlaybackEnd | None = None
        for item in stream:
            for record in _waiting(came):
                spool.add(record)
                seen(record.header.wall_us)
            end = item if isinstance(item, PlaybackEnd) else end
    for record in _waiting(came):
        spool.add(record)
    return end is not None and end.complete and not dropped


def _waiting(came: queue.Queue[Record]) -> Iterator[Record]:
    while True:
        try:
            yield came.get_nowait()
        except queue.Empty:
            return


def _facts(birth: Birth, wanted: Wanted, recorder: RecorderFacts | None) -> Facts:
    """As the box's signed birth tells them. A birth names no uid: the stream id stands for it."""
    told = birth.data
    camera = next(c for c in told.cameras if c.id == wanted.camera)
    recorder = recorder or (RecorderFacts(name=camera.recorder) if camera.recorder else RecorderFacts())
    site = SiteFacts(
        wanted.site, told.name or wanted.site, told.kind, told.licence or UNKNOWN, told.address or UNKNOWN,
        told.timezone,
    )  # fmt: skip
    named = CameraFacts(wanted.camera, "", wanted.role.value, camera.name or wanted.camera)
    return Facts(wanted.exported, site, recorder, named)


def _vkeys(store: LedgerStore, site: str, desk: Desk) -> dict[str, str]:
    keys = {"box": store.of_site(site).key.vkey, "exporter": desk.exporter.vkey}
    return keys | {part: key for part, key in (("witness", desk.witness), ("mirror", desk.mirror)) if key}
