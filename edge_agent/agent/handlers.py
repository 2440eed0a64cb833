"""One function per remote command. Every check on the signature, session, time and role has passed.

Main thread only. Each answers `accepted` at once and then exactly one end; both are leaves of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from edge_agent.agent import local
from edge_agent.agent.clips import ClipBegun
from edge_agent.agent.evidence import pages
from edge_agent.agent.evidence_worker import Held
from edge_agent.agent.task import CommandFailed, Task
from edge_agent.agent.viewings import Playing
from edge_agent.capture.pictures import PictureReady
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Role, StreamKey
from edge_agent.seal.tips import tips_stream
from edge_agent.uplink.commands import Command
from edge_agent.uplink.facts import ViewingEnded
from edge_agent.uplink.lease import LEASE_RAN_OUT, STOPPED
from edge_agent.uplink.operations import (
    CameraArgs,
    ClipArgs,
    HoldArgs,
    LiveRenewArgs,
    LiveStartArgs,
    LiveStopArgs,
    PlaybackSeekArgs,
    PlaybackStartArgs,
    PlaybackStopArgs,
    RangeArgs,
    ReleaseArgs,
    WorkArgs,
)
from edge_agent.uplink.playback import END_OF_FOOTAGE

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

MARK_TIME_US = 75_000_000  # a minute mark names a record no later than this
LEASE_S = 60  # of a playback; every seek and every `live.renew` begins it anew


def obey(owner: Owner, command: Command) -> None:
    """Carry out a verified command."""
    task = Task(owner, command)
    handler = _HANDLERS.get(command.op)
    if handler is None:
        task.fail("unsupported", f"{command.op} is not built into this version")
        return
    task.accept()
    try:
        handler(owner, task)
    except CommandFailed as failure:
        task.fail(failure.code, str(failure))
    except EdgeAgentError as error:
        task.fail("refused", str(error))


def operations() -> tuple[str, ...]:
    """What this version can do, for the birth."""
    return tuple(sorted(_HANDLERS))


def _snapshot(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, CameraArgs)
    _known(owner, args.camera)

    def taken(fact: PictureReady) -> None:
        if owner.link.publish_snapshot(fact):
            task.done(taken=fact.taken.wall_us, stream=str(fact.key))
        else:
            task.fail("busy", "too many snapshots are waiting to be sent")

    owner.snapshots.ask(args.camera, taken, lambda why: task.fail("no_picture", why))


def _live_start(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, LiveStartArgs)
    _known(owner, args.camera)
    choice = owner.viewings.choose(StreamKey(args.camera, args.role))
    key = StreamKey(args.camera, choice.role)
    owner.viewings.open_stream(key)
    started = owner.link.media.start_live(
        args.camera, choice.role, owner.parts.capture.tap(key), lease=task.command.id, lease_s=args.lease_s,
        smaller=owner.viewings.smaller(key),
    )  # fmt: skip
    owner.viewings.begun(started.session, key)
    started = started.model_copy(update={"role": choice.role, "note": choice.note or None})
    task.done(**started.model_dump(mode="json", exclude_none=True))


def _live_renew(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, LiveRenewArgs)
    if not owner.link.media.renew(args.session, args.lease, args.lease_s):
        raise CommandFailed("no_session", "this viewing has ended; start it again")
    task.done()


def _live_stop(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, LiveStopArgs)
    owner.link.media.stop(args.session, args.lease)
    task.done()


def _playback_start(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, PlaybackStartArgs)
    stream = _stream_id(owner, args.camera, args.role)
    footage = owner.parts.footage
    records = footage.records(stream, args.from_us, args.to_us)
    if args.proofs:
        tips = tips_stream(owner.parts.box.box_id)
        records = chain(footage.loose(tips, stream, args.from_us, args.to_us + MARK_TIME_US), records)
    started = owner.link.media.start_playback(
        args.camera,
        args.role,
        records,
        lease=task.command.id,
        lease_s=LEASE_S,
        speed=args.speed,
    )
    owner.viewings.playing(
        started.session, Playing(stream, task.command.id, args.to_us, args.speed, partial(_played, task))
    )
    task.under_way(**started.model_dump(mode="json", exclude_none=True))


def _played(task: Task, fact: ViewingEnded) -> None:
    """The number of records is signed: whoever receives fewer knows that some were lost on the way."""
    if fact.reason in (END_OF_FOOTAGE, STOPPED, LEASE_RAN_OUT):
        task.done(ended=fact.reason, records=fact.records)
    else:
        task.fail("unreadable", fact.reason)


def _playback_seek(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, PlaybackSeekArgs)
    playing = owner.viewings.playback(args.session)
    if playing is None:
        raise CommandFailed("no_session", "this playback has ended; start it again")
    media = owner.link.media
    speed = args.speed or playing.speed
    records = owner.parts.footage.records(playing.stream, args.from_us, playing.to_us)
    first = media.seek_playback(args.session, records, speed=speed)
    if first is None:
        raise CommandFailed("no_session", "this playback has ended; start it again")
    media.renew(args.session, playing.lease, LEASE_S)
    owner.viewings.playing(args.session, replace(playing, speed=speed))
    task.done(record=first)


def _playback_stop(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, PlaybackStopArgs)
    playing = owner.viewings.playback(args.session)
    if playing is not None:
        owner.link.media.stop(args.session, playing.lease)
    task.done()


def _clip_fetch(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, ClipArgs)
    stream = _stream_id(owner, args.camera, args.role)

    def begun(found: ClipBegun) -> None:
        key = Playing(stream, task.command.id, found.started.to_us, None, found.over(task.done, task.fail))
        owner.viewings.playing(found.started.session, key)
        task.under_way(**found.started.model_dump(mode="json"))

    owner.viewings.clips.begin(stream, args, task.command.id, begun, task.fail)


def _coverage(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, RangeArgs)
    stream = _stream_id(owner, args.camera, args.role)
    owner.footage.coverage(
        stream,
        args.camera,
        args.from_us,
        args.to_us,
        lambda found: task.done(**found),
        lambda why: task.fail("unreadable", why),
    )


def _hold(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, HoldArgs)
    _known(owner, args.camera)
    wanted = owner.evidence.stretch(args.camera, args.role, args.from_us, args.to_us, args.case)

    def held(fact: Held) -> None:
        for page in pages(fact):
            task.under_way(keys=list(page))
        hold = fact.hold
        task.done(
            hold=hold.id, case=args.case, records=hold.records, bytes=hold.bytes, digest=hold.digest,
            epochs=len(fact.keys), fresh=fact.fresh,
        )  # fmt: skip

    owner.evidence.hold(
        wanted, task.command.operator, held, lambda why: task.fail("not_held", why), task.reached
    )


def _release(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, ReleaseArgs)
    owner.evidence.release(
        args.case, task.command.operator,
        lambda size: task.done(case=args.case, bytes=size), lambda why: task.fail("not_held", why),
    )  # fmt: skip


def _cameras_list(owner: Owner, task: Task) -> None:
    task.done(cameras=local.status(owner)["cameras"])


def _rediscover(owner: Owner, task: Task) -> None:
    owner.parts.finder.rediscover()
    task.done()


def _work_announce(owner: Owner, task: Task) -> None:
    args = task.command.typed_args()
    assert isinstance(args, WorkArgs)
    for camera in args.cameras:
        _known(owner, camera)
    owner.night.announce(args.cameras, args.minutes, args.reason, task.command.operator)
    task.done()


def _diagnose(owner: Owner, task: Task) -> None:
    task.done(**local.status(owner))


def _clock_report(owner: Owner, task: Task) -> None:
    now = owner.parts.clock.now()
    task.done(wall_us=now.wall_us, boot_ms=now.boot_ns // 1_000_000, trust=int(now.trust))


def _known(owner: Owner, camera: str) -> None:
    if owner.cameras.get(camera) is None:
        raise CommandFailed("no_camera", f"this site has no camera {camera}")


def _stream_id(owner: Owner, camera: str, role: Role) -> bytes:
    _known(owner, camera)
    stream = owner.stream_ids.get(StreamKey(camera, role))
    if stream is None or not owner.footage.records(role):
        raise CommandFailed("not_recorded", f"{camera}/{role.value} is not recorded here")
    return stream


_HANDLERS: dict[str, Callable[[Owner, Task], None]] = {
    "snapshot": _snapshot,
    "live.start": _live_start,
    "live.renew": _live_renew,
    "live.stop": _live_stop,
    "playback.start": _playback_start,
    "playback.seek": _playback_seek,
    "playback.stop": _playback_stop,
    "clip.fetch": _clip_fetch,
    "ring.coverage": _coverage,
    "ring.hold": _hold,
    "ring.release": _release,
    "cameras.list": _cameras_list,
    "cameras.rediscover": _rediscover,
    "work.announce": _work_announce,
    "diagnose": _diagnose,
    "clock.report": _clock_report,
}
