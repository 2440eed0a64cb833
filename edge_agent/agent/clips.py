"""Clips on demand: a range is read once to name and measure it, then again to send what is wanted of it.

Main thread only, but for the survey: gigabytes are read, so it has a thread of its own, which answers as the
chores do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from edge_agent.agent.chores import ChoreDone, ChoreFailed
from edge_agent.errors import EdgeAgentError, UplinkError
from edge_agent.uplink.clip import Clip, ClipChanged, ClipStarted, payloads, survey
from edge_agent.uplink.clip_session import ALL_SENT
from edge_agent.uplink.facts import ViewingEnded
from edge_agent.uplink.lease import LEASE_RAN_OUT, STOPPED
from edge_agent.uplink.media import MAX_CLIPS
from edge_agent.uplink.operations import ClipArgs

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

LEASE_S = 20  # short: the parts of a receiver that died go nowhere
EDGE_US = 5_000_000  # the newest seconds may still be written: a clip ends before them

Failed = Callable[[str, str], None]  # code, text


@dataclass(frozen=True, slots=True)
class ClipBegun:
    started: ClipStarted

    def over(self, done: Callable[..., None], failed: Failed) -> Callable[[ViewingEnded], None]:
        """How the command ends when the sending does."""

        def tell(fact: ViewingEnded) -> None:
            if fact.reason in (ALL_SENT, STOPPED, LEASE_RAN_OUT):
                done(ended=fact.reason, parts=fact.records)
            elif fact.reason == str(ClipChanged()):
                failed("changed", fact.reason)
            else:
                failed("unreadable", fact.reason)

        return tell


class Clips:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._surveys = 0

    def begin(
        self, stream: bytes, args: ClipArgs, lease: str, begun: Callable[[ClipBegun], None], failed: Failed
    ) -> None:
        """Survey the range, then send. Exactly one of `begun` and `failed`. Raises UplinkError when busy."""
        if self._surveys >= MAX_CLIPS:
            raise UplinkError(f"{MAX_CLIPS} clips are being prepared already; wait for one")
        to_us = min(args.to_us, self._owner.parts.clock.now().wall_us - EDGE_US)
        if to_us <= args.from_us:
            raise UplinkError("the range is not recorded yet")
        self._surveys += 1

        def surveyed(clip: Clip) -> None:
            self._surveys -= 1
            try:
                self._send(stream, args, to_us, lease, clip, begun, failed)
            except EdgeAgentError as error:
                failed("refused", str(error))

        def unread(why: str) -> None:
            self._surveys -= 1
            failed("unreadable", why)

        Thread(
            target=self._survey, args=(stream, args.from_us, to_us, surveyed, unread), name="clip-survey",
            daemon=True,
        ).start()  # fmt: skip

    def _survey(
        self, stream: bytes, from_us: int, to_us: int, surveyed: Callable[[Clip], None],
        unread: Callable[[str], None],
    ) -> None:  # fmt: skip
        """In its own thread."""
        parts = self._owner.parts
        try:
            clip = survey(stream, from_us, to_us, parts.footage.records(stream, from_us, to_us))
        except (EdgeAgentError, OSError) as error:
            parts.inbox.put(ChoreFailed(parts.clock.now(), unread, str(error)))
        else:
            parts.inbox.put(ChoreDone(parts.clock.now(), surveyed, clip))

    def _send(
        self, stream: bytes, args: ClipArgs, to_us: int, lease: str, clip: Clip,
        begun: Callable[[ClipBegun], None], failed: Failed,
    ) -> None:  # fmt: skip
        if not clip.size:
            return failed("not_recorded", "nothing is recorded in this range")
        if args.transfer not in (None, clip.transfer.hex()):
            return failed("changed", str(ClipChanged()))
        records = self._owner.parts.footage.records(stream, args.from_us, to_us)
        session = self._owner.link.media.start_clip(
            args.camera, args.role, payloads(clip, records, args.want), lease=lease, lease_s=LEASE_S
        )
        told: dict[str, Any] = {"from_us": args.from_us, "to_us": to_us, "lease_s": LEASE_S}
        begun(ClipBegun(ClipStarted(
            transfer=clip.transfer.hex(), session=session.session, lease=lease, topic=session.topic,
            size=clip.size, parts=clip.parts, records=len(clip.marks), sha256=clip.sha256.hex(), **told,
        )))  # fmt: skip
        return None
