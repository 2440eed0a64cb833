"""The owner's side of the uplink: births, heartbeats, replies, snapshots, and the ledger's way out.

Main thread only. Without a configured broker everything here is quietly a no-op, but for viewing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_agent import __version__
from edge_agent.agent import handlers, reports
from edge_agent.agent.ledger import LedgerDesk
from edge_agent.capture.pictures import PictureReady
from edge_agent.errors import UplinkError
from edge_agent.events import Fact
from edge_agent.host.alive import LastRun
from edge_agent.ledger.leaf import RateLimitedLeaf
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.uplink import messages
from edge_agent.uplink.brief import Brief
from edge_agent.uplink.facts import (
    CommandRefused,
    LinkDown,
    LinkUp,
    MessageRefused,
    ViewingEnded,
)
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.messages import (
    BirthData,
    ClockState,
    HeartbeatData,
    HostState,
    KeyInfo,
    Lifecycle,
    ReplyData,
    RingState,
)

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)


class LinkDesk:
    def __init__(self, owner: Owner, last: LastRun) -> None:
        self._owner = owner
        self._uplink = owner.parts.uplink
        self._last = last
        self._up = False
        self._reason = "" if self._uplink else "no broker is configured (uplink.brokers)"
        self._broker = ""
        self._ledger: LedgerDesk | None = None
        self._strangers = RateLimitedLeaf()
        self._brief = Brief()
        self.reactions: dict[type[Fact], Callable[..., None]] = {
            LinkUp: self._link_up,
            LinkDown: self._link_down,
            MessageRefused: self._message_refused,
            ViewingEnded: owner.viewings.ended,
        }
        if self._uplink is None:
            owner.parts.ledger.witnessed(None)
        else:
            self._ledger = LedgerDesk(owner, self._uplink, self._not_believed)
            self.reactions |= self._ledger.reactions

    @property
    def media(self) -> MediaLink:
        """Raises UplinkError when no broker is configured."""
        if self._uplink is None:
            raise UplinkError("no broker is configured")
        return self._uplink.media

    @property
    def carried(self) -> int:
        """IP bytes of both connections since the start."""
        return self._uplink.control.carried + self._uplink.media.carried if self._uplink else 0

    def say_who_is_here(self) -> None:
        """The birth: once after every connect, and when cameras were found."""
        if self._uplink is not None and self._up:
            self._uplink.control.send_birth(self._birth())

    def heartbeat(self) -> None:
        if self._uplink is None or self._ledger is None or not self._up:
            return
        now = self._owner.parts.clock.now()
        full = HeartbeatData(
            cameras=reports.camera_states(self._owner.cameras, now),
            ring=self._ring(),
            host=self._host(),
            clock=ClockState(trust=int(now.trust)),
            ledger=self._ledger.heartbeat_part(now.boot_ns / 1e9),
        )
        self._uplink.control.send_heartbeat(self._brief.shorten(full, now.boot_ns / 1e9))

    def reply(self, data: ReplyData) -> None:
        if self._uplink is not None:
            self._uplink.control.send_reply(data)

    def publish_snapshot(self, fact: PictureReady) -> bool:
        """Seal a picture and send it; False when it could not be queued."""
        sealer = self._owner.parts.still_sealer
        if self._uplink is None or sealer is None:
            return False
        return self._uplink.control.send_snapshot(fact.key.camera, sealer.seal_still(fact.jpeg, fact.taken))

    def publish_still(self, camera: str, records: Sequence[Record]) -> bool:
        """Send a picture that is sealed already; False when it could not be queued."""
        return self._uplink is not None and self._uplink.control.send_snapshot(camera, records)

    def refused(self, fact: CommandRefused) -> None:
        """A stranger's bytes share one leaf a minute; a known key's command has a leaf and a reply."""
        if not fact.kid:
            self._note_strangers(self._strangers.note(fact.text, fact.at.boot_ns / 1e9))
            return
        self._owner.journal.refused(fact)
        if fact.command_id:
            self.reply(
                ReplyData(
                    command=fact.command_id,
                    op=fact.op,
                    status=Lifecycle.REJECTED,
                    code=fact.code.value,
                    text=fact.text[:512],
                )
            )

    def tick(self) -> None:
        now_s = self._owner.parts.clock.monotonic()
        self._note_strangers(self._strangers.due(now_s))
        if self._ledger is not None:
            self._ledger.tick(now_s)

    def summary(self) -> str:
        if self._uplink is None:
            return "no command centre configured"
        return f"connected to {self._broker}" if self._up else f"not connected: {self._reason or 'trying'}"

    def status(self) -> dict[str, Any]:
        up: dict[str, Any] = {"up": self._up, "reason": self._reason, "broker": self._broker}
        if self._uplink is not None:
            control, media = self._uplink.control.stats(), self._uplink.media.stats()
            up |= {
                "waiting_leaves": self._uplink.replicator.waiting(),
                "waiting_messages": control.waiting,
                "dropped": control.dropped,
                "live": media.live,
                "playback": media.playback,
                "clips": media.clips,
                "media_connected": media.connected,
                "dropped_records": media.dropped,
            }
        return up

    # Facts.

    def _link_up(self, fact: LinkUp) -> None:
        self._up, self._reason, self._broker = True, "", fact.broker
        self._owner.parts.probes.link(up=True)
        if self._uplink is not None:
            self._uplink.media.kick()  # whoever watches need not wait out its own pause
        self._brief.forget()
        if self._ledger is not None:
            self._ledger.link_up(fact.at.boot_ns / 1e9)
        self.say_who_is_here()
        self._owner.beats.soon()

    def _link_down(self, fact: LinkDown) -> None:
        self._up, self._reason = False, fact.reason
        self._owner.parts.probes.link(up=False)
        if self._ledger is not None:
            self._ledger.link_down()

    def _message_refused(self, fact: MessageRefused) -> None:
        log.error("the broker refused a message on %s: %s", fact.topic, fact.reason)
        self._note_strangers(self._strangers.note(f"broker: {fact.reason}", fact.at.boot_ns / 1e9))

    def _not_believed(self, what: str, error: Exception) -> None:
        now_s = self._owner.parts.clock.monotonic()
        self._note_strangers(self._strangers.note(f"{what}: {error}", now_s))

    def _note_strangers(self, leaf: dict[str, Any] | None) -> None:
        if leaf is not None:
            self._owner.journal.strangers(leaf)

    # Parts of what is sent.

    def _birth(self) -> BirthData:
        owner, site = self._owner, self._owner.parts.config.site
        return BirthData(
            site=site.id,
            name=site.name,
            kind=site.kind,
            boot=owner.parts.boot_id.hex(),
            software=__version__,
            timezone=site.timezone,
            coordinates=site.coordinates,
            address=site.address[:512],
            contact=site.contact[:512],
            licence=site.licence[:128],
            clean_shutdown=self._last.clean,
            last_alive=messages.timestamp(self._last.alive.wall_us) if self._last.alive else None,
            cameras=reports.camera_infos(owner.cameras, owner.stream_ids),
            keys=(KeyInfo(use="box", kid=site.id, public=reports.base64_text(owner.parts.box.public)),),
            operations=handlers.operations(),
        )

    def _ring(self) -> RingState | None:
        """Of the ring that holds the evidence."""
        figures = self._owner.footage.status().get(Role.MAIN.value)
        if figures is None:
            return None
        oldest = figures["oldest_us"]
        return RingState(
            used_bytes=figures["bytes"],
            budget_bytes=figures["max_bytes"],
            oldest=messages.timestamp(oldest) if oldest else None,
            dropped=figures["refused"],
            faults=figures["faults"],
            **self._reach(),
        )

    def _reach(self) -> dict[str, Any]:
        backup = self._owner.backup
        if backup.reach is None:
            return {}
        told = backup.reach.leaf(short=backup.short)
        names = ("holds_days", "will_hold_days", "required_days")
        return {name: told[name] for name in names} | {"short": backup.short}

    def _host(self) -> HostState:
        facts = self._owner.parts.host.read(self._owner.parts.clock.monotonic())
        return HostState(
            uptime_s=facts.uptime_s,
            cpu_percent=round(facts.cpu_percent, 1),
            memory_mb=facts.process_rss_bytes // 1024**2,
            temperature_c=facts.temperature_c,
            disk_free_bytes=facts.disk_free_bytes,
        )
