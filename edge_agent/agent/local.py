"""Answers to the people at the box: what the local control socket may ask. Main thread only."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edge_agent import __version__
from edge_agent.agent import reports, works
from edge_agent.capture.pictures import PictureReady
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control import ControlAsked
from edge_agent.uplink.operations import HoldArgs, WorkArgs

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner


log = logging.getLogger(__name__)


def answer(owner: Owner, asked: ControlAsked) -> None:
    """Every question gets exactly one answer, now or when its picture has come."""
    operation = _OPERATIONS.get(asked.op)
    if operation is None:
        asked.reply.refuse(f"no such question: {asked.op}")
        return
    operation(owner, asked)


def _status(owner: Owner, asked: ControlAsked) -> None:
    asked.reply.result(status(owner))


def status(owner: Owner) -> dict[str, Any]:
    """All that `edge-agent status` shows."""
    parts = owner.parts
    now, zone = parts.clock.now(), parts.config.site.timezone
    site = parts.config.site
    colours = {recorder.name: recorder.colour for recorder in parts.config.recorders}
    return {
        "version": __version__,
        "site": {"id": site.id, "name": site.name, "kind": site.kind},
        "link": owner.link.status(),
        "recorders": [
            asdict(recorder) | {"colour": colours.get(recorder.name, "")}
            for recorder in owner.recorders.values()
        ],
        "cameras": reports.status_cameras(owner.cameras, parts.capture.stats(), zone),
        "ring": owner.footage.status(),
        "backup": owner.backup.status(),
        "data": owner.data_use.status(),
        "policy": owner.policy.status(),
        "work": works.status(owner.night.works, zone),
        "ledger": {
            "size": parts.ledger.log.size,
            "cosigned": parts.ledger.acknowledged.size,
            "signing": parts.ledger.signing,
            "refused": parts.ledger.stats()["refused"],
        },
        "clock": {"wall": reports.local_time(now.wall_us, zone), "trust": now.trust.name.lower()},
        "workers": {"restarts": parts.supervisor.restarts(), "stuck": parts.supervisor.stuck()},
        "dropped": {
            "inbox": parts.inbox.dropped,
            "pictures": parts.pictures.dropped,
            "reach": parts.reach.dropped,
        },
        "decode_pid": parts.pictures.child_pid,
    }


def _snapshot(owner: Owner, asked: ControlAsked) -> None:
    camera = str(asked.args.get("camera", ""))
    if owner.cameras.get(camera) is None:
        known = ", ".join(w.camera.id for w in owner.cameras) or "none"
        asked.reply.refuse(f"no camera {camera!r}; known: {known}")
        return
    owner.journal.local("snapshot", str(asked.peer), camera)
    zone = owner.parts.config.site.timezone

    def taken(fact: PictureReady) -> None:
        asked.reply.result(
            {
                "jpeg": base64.b64encode(fact.jpeg).decode("ascii"),
                "stream": str(fact.key),
                "taken": reports.local_time(fact.taken.wall_us, zone),
            }
        )

    owner.snapshots.ask(camera, taken, asked.reply.refuse)


def _rediscover(owner: Owner, asked: ControlAsked) -> None:
    owner.parts.finder.rediscover()
    asked.reply.result({})


_EXPORT_WORDS = ("camera", "role", "by", "reason", "case", "sha256")


def _exported(owner: Owner, asked: ControlAsked) -> None:
    """`ring export` has written a package; who asked is the peer, whatever name was given."""
    told: dict[str, Any] = {word: str(asked.args.get(word, ""))[:128] for word in _EXPORT_WORDS}
    for edge in ("from_us", "to_us"):
        moment = asked.args.get(edge)
        told[edge] = moment if type(moment) is int and abs(moment) < 1 << 53 else None
    owner.journal.exported(told | {"who": str(asked.peer)})
    asked.reply.result({})


def _work(owner: Owner, asked: ControlAsked) -> None:
    """Planned work, announced at the box. `cameras` empty: all; 0 minutes end it."""
    try:
        work = WorkArgs.model_validate(asked.args)
    except ValidationError as error:
        asked.reply.refuse(_first(error))
        return
    unknown = [camera for camera in work.cameras if owner.cameras.get(camera) is None]
    if unknown:
        known = ", ".join(w.camera.id for w in owner.cameras) or "none"
        asked.reply.refuse(f"no camera {', '.join(unknown)}; known: {known}")
        return
    ended = works.ended_by(owner.night.works, work.cameras)
    if work.minutes == 0 and not ended:
        asked.reply.refuse(_nothing_announced(owner, work.cameras))
        return
    owner.night.announce(work.cameras, work.minutes, work.reason, f"local {asked.peer}")
    asked.reply.result({"work": works.status(owner.night.works, owner.parts.config.site.timezone)})


def _nothing_announced(owner: Owner, cameras: tuple[str, ...]) -> str:
    known = "; ".join(", ".join(work.cameras) or "all cameras" for work in owner.night.works)
    return f"no work is announced for {', '.join(cameras) or 'any camera'}; announced: {known or 'none'}"


def _hold(owner: Owner, asked: ControlAsked) -> None:
    """Answered at once: `holds` tells how far it has come."""
    try:
        args = HoldArgs.model_validate(asked.args, strict=False)
        wanted = owner.evidence.stretch(args.camera, args.role, args.from_us, args.to_us, args.case)
    except (ValidationError, EdgeAgentError) as error:
        asked.reply.refuse(_first(error))
        return
    owner.journal.local("hold", str(asked.peer), args.camera)
    owner.evidence.hold(
        wanted, f"local {asked.peer}", lambda _: None, lambda why: log.warning("hold %s: %s", args.case, why)
    )
    asked.reply.result({"hold": wanted.id})


def _holds(owner: Owner, asked: ControlAsked) -> None:
    def listed(holds: list[dict[str, Any]]) -> None:
        asked.reply.result({"holds": holds, "refused": owner.evidence.refused})

    owner.evidence.listing(listed, asked.reply.refuse)


def _first(error: ValidationError | EdgeAgentError) -> str:
    if isinstance(error, EdgeAgentError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


_OPERATIONS: dict[str, Callable[[Owner, ControlAsked], None]] = {
    "status": _status,
    "snapshot": _snapshot,
    "rediscover": _rediscover,
    "work": _work,
    "exported": _exported,
    "hold": _hold,
    "holds": _holds,
}
