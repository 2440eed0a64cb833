"""What is kept of the moment at which a camera ceased to see: two pictures, and where its footage lies."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.agent.eyes import Eyes, Thumbnail
from edge_agent.health.decisions import CameraTurned, Sight
from edge_agent.seal.record import Record
from edge_agent.uplink.messages import timestamp

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

AROUND_US = 30_000_000
MAX_KEPT = 400  # files of about 12 KB each
DIRECTORY = "darkness"


def evidence(owner: Owner, eyes: Eyes, turn: CameraTurned) -> dict[str, Any]:
    """Fields for the leaf: `footage` is the time around the change, `pictures` the last good one and the
    first bad one. Each picture is sealed, kept in the state directory and sent as a snapshot; its `digest`
    is the sealed record's, by which it is known again wherever it comes from."""
    around = {
        "from": timestamp(turn.since.wall_us - AROUND_US),
        "to": timestamp(turn.since.wall_us + AROUND_US),
    }
    kept = {"good": eyes.last_before(turn.camera, turn.since)}
    if turn.state is Sight.UNUSABLE:
        kept["bad"] = eyes.first_after(turn.camera, turn.since)
    pictures = [_keep(owner, turn, which, picture) for which, picture in kept.items() if picture is not None]
    return {"footage": around, "pictures": [each for each in pictures if each is not None]}


def _keep(owner: Owner, turn: CameraTurned, which: str, picture: Thumbnail) -> dict[str, Any] | None:
    sealer = owner.parts.still_sealer
    if sealer is None:
        return None
    records = sealer.seal_still(picture.jpeg, picture.taken)
    name = f"{turn.since.wall_us:016d}-{turn.camera}-{which}.still"
    path = owner.parts.config.state.directory / DIRECTORY / name
    owner.parts.chores.ask(lambda: _write(path, records), _ignore, _complain)
    owner.link.publish_still(turn.camera, records)
    return {"what": which, "taken": timestamp(picture.taken.wall_us), "digest": records[-1].digest.hex()}


def _write(path: Path, records: tuple[Record, ...]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(b"".join(record.raw for record in records))
    for old in sorted(path.parent.glob("*.still"))[:-MAX_KEPT]:
        old.unlink(missing_ok=True)


def _ignore(_: object) -> None: ...


def _complain(reason: str) -> None:
    log.warning("a picture of the moment of darkness cannot be kept: %s", reason)
