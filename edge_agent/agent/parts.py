"""What the owner works with: built by `app.py`, run by their own threads, spoken to from the main one."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.agent.chores import Chores
from edge_agent.agent.device_clocks import DeviceClocks
from edge_agent.agent.evidence_worker import EvidenceWorker
from edge_agent.agent.finder import Finder
from edge_agent.agent.probes import Probes
from edge_agent.agent.reach import Reach
from edge_agent.capture.event_pool import EventPool
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.pictures import Pictures
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.events import BoundedInbox
from edge_agent.host.alive import AliveFile
from edge_agent.host.facts import HostProbe
from edge_agent.host.notify import Notifier
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import Role
from edge_agent.ring.evidence import Readers
from edge_agent.ring.reader import RingReader
from edge_agent.ring.scanner import RingScanner
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey
from edge_agent.seal.sealer import StreamSealer
from edge_agent.supervisor import Supervisor
from edge_agent.uplink.control import ControlLink
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.replicate import Replicator


@dataclass(frozen=True, slots=True)
class Uplink:
    """The way to the command centre; absent when no broker is configured."""

    control: ControlLink
    media: MediaLink
    replicator: Replicator

    def kick(self) -> None:
        """The box's own way out is back: both connections are tried now. Any thread."""
        self.control.kick()
        self.media.kick()


@dataclass(frozen=True, slots=True)
class Parts:
    config: Config
    clock: Clock
    inbox: BoundedInbox
    supervisor: Supervisor
    box: BoxKey
    boot_id: bytes
    run_id: bytes
    lockouts: LockoutFile
    capture: CaptureLoop
    rings: dict[Role, RingWriter]
    scanners: tuple[RingScanner, ...]
    reader: RingReader
    evidence: EvidenceWorker
    footage: Readers  # from the ring, or from a hold that outlived it
    still_sealer: StreamSealer | None  # None: no recipient, so nothing may be sealed
    ledger: LedgerWriter
    pictures: Pictures
    finder: Finder
    events: EventPool
    reach: Reach
    probes: Probes
    device_clocks: DeviceClocks
    chores: Chores
    uplink: Uplink | None
    notifier: Notifier
    alive: AliveFile
    host: HostProbe
