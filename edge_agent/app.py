"""The daemon's composition: builds every part once, starts them in a visible order, stops them in reverse."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent import clock as clocks
from edge_agent import config as configuration
from edge_agent import log as logs
from edge_agent.agent.chores import Chores
from edge_agent.agent.config_watch import ConfigWatch
from edge_agent.agent.device_clocks import DeviceClocks
from edge_agent.agent.evidence_worker import EvidenceWorker, evidence_log
from edge_agent.agent.finder import Finder
from edge_agent.agent.owner import Owner
from edge_agent.agent.parts import Parts, Uplink
from edge_agent.agent.probes import PowerProbe, Probes
from edge_agent.agent.reach import Reach
from edge_agent.agent.sealing import Sealing, public_key
from edge_agent.capture import lockout_file
from edge_agent.capture.event_pool import EventPool
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.pictures import Pictures
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Config, RingClass
from edge_agent.errors import EdgeAgentError
from edge_agent.events import BoundedInbox
from edge_agent.host.alive import AliveFile
from edge_agent.host.control import ControlSocket
from edge_agent.host.facts import HostProbe
from edge_agent.host.lock import sole_owner
from edge_agent.host.nodump import forbid_core_dumps
from edge_agent.host.notify import Notifier
from edge_agent.host.timesync import ClockWatch
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.cursor import Cosigners
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import Role
from edge_agent.ring.evidence import Readers
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.reader import RingReader
from edge_agent.ring.scanner import RingScanner
from edge_agent.ring.sink import Rings
from edge_agent.ring.store import Store
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey
from edge_agent.supervisor import Supervisor
from edge_agent.uplink.brokers import Broker
from edge_agent.uplink.commands import CommandVerifier, TrustedKey
from edge_agent.uplink.control import ControlLink
from edge_agent.uplink.flow import Cap
from edge_agent.uplink.link import Link, LinkSettings, Transport, Waker
from edge_agent.uplink.link import Owner as LinkOwner
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.messages import sign_message
from edge_agent.uplink.operations import CommandRole
from edge_agent.uplink.replicate import Replicator
from edge_agent.uplink.settings import control_settings, media_settings

log = logging.getLogger(__name__)

MQTTS_PORT = 8883
DISK_PATIENCE_S = 120  # a dying disk blocks in fdatasync for a minute; that is not a stuck thread
SWITCH_INTERVAL_S = 0.0005  # one busy Python thread delays packets by 143 ms at the default, measured


def run(path: Path) -> int:
    """Run until SIGTERM, SIGINT or an edited configuration; whoever started us starts us again then.

    Returns the exit code. Raises EdgeAgentError when it cannot start.
    """
    config = configuration.load(path)
    notifier = Notifier.from_environment()
    logs.configure(config.log_level, under_systemd=notifier.under_systemd)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    forbid_core_dumps()
    _make_directories(config)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with sole_owner(config.state.directory, config.ring.directory):
        _run(build(config, ClockWatch(), notifier), ConfigWatch(path, config), stop)
    return 0


def _run(parts: Parts, watch: ConfigWatch, stop: Event) -> None:
    owner = Owner(parts, watch)
    _start(parts, parts.config)
    try:
        owner.run(stop)
    finally:
        parts.notifier.stopping()
        _stop(parts, owner)


def build(config: Config, watch: ClockWatch, notifier: Notifier) -> Parts:
    """Every part, connected, none started. Raises EdgeAgentError."""
    clock = SystemClock(watch)
    inbox = BoundedInbox()
    box = BoxKey.load_or_create(config.box_key)
    boot_id, run_id = clocks.boot_id(), os.urandom(16)
    sealing = Sealing(config, box, boot_id)
    rings = _rings(config, clock, inbox, box, run_id) if sealing.possible else {}
    ledger = _ledger(config, clock, watch, inbox, box)
    sealing.beacon = lambda: ledger.acknowledged.beacon
    lockouts = LockoutFile(config.state.directory / lockout_file.NAME, box.sign)
    capture = CaptureLoop(
        clock=clock,
        inbox=inbox,
        sink=Rings(rings),
        sealer_for=lambda spec: sealing.sealer(spec, rings),
        gather_s=config.capture.gather_ms / 1000,
        fragment_s=config.capture.fragment_ms / 1000,
        silence_s=config.capture.silence_s,
        pulse_s=config.watch.pulse_s,
        gate=lockouts.lockouts,
    )
    reader = RingReader(
        {role: config.ring.directory / role.value for role in rings},
        live={role: ring.open_index for role, ring in rings.items()},
    )
    uplink = _uplink(config, clock, inbox, box, ledger)
    return Parts(
        config=config,
        clock=clock,
        inbox=inbox,
        supervisor=Supervisor(clock, inbox),
        box=box,
        boot_id=boot_id,
        run_id=run_id,
        lockouts=lockouts,
        capture=capture,
        rings=rings,
        scanners=tuple(_scanner(ring, config, clock, inbox) for ring in rings.values()),
        reader=reader,
        evidence=EvidenceWorker(evidence_log(config, box.box_id, run_id), reader, clock, inbox),
        footage=Readers(reader, config.evidence_directory),
        still_sealer=sealing.still_sealer(),
        ledger=ledger,
        pictures=Pictures(clock, inbox),
        finder=Finder(config, clock, inbox, lockouts.lockouts),
        events=EventPool(clock, inbox, lockouts.lockouts),
        reach=Reach(clock, inbox, config.watch.knock_s),
        probes=_probes(config, clock, inbox, uplink),
        device_clocks=DeviceClocks(clock, inbox, lockouts.lockouts, every_s=config.watch.device_clock_s),
        chores=Chores(clock, inbox),
        uplink=uplink,
        notifier=notifier,
        alive=AliveFile(config.state.directory, boot_id),
        host=HostProbe(config.ring.directory),
    )


def _rings(
    config: Config, clock: Clock, inbox: BoundedInbox, box: BoxKey, run_id: bytes
) -> dict[Role, RingWriter]:
    wanted: dict[Role, RingClass] = {}
    if config.capture.main == "record":
        wanted[Role.MAIN] = config.ring.main
    if config.capture.sub == "record":
        wanted[Role.SUB] = config.ring.sub
    return {
        role: RingWriter(
            role=role,
            directory=config.ring.directory / role.value,
            policy=_policy(config, bounds),
            box_id=box.box_id,
            run=run_id,
            clock=clock,
            inbox=inbox,
        )
        for role, bounds in wanted.items()
    }


def _scanner(ring: RingWriter, config: Config, clock: Clock, inbox: BoundedInbox) -> RingScanner:
    """Reads what earlier runs left, after recording has begun."""
    store = Store(config.ring.directory / ring.role.value)
    return RingScanner(role=ring.role, store=store, catalogue=ring.catalogue, clock=clock, inbox=inbox)


def _policy(config: Config, bounds: RingClass) -> RingPolicy:
    return RingPolicy(
        max_bytes=bounds.max_bytes,
        min_free_bytes=config.ring.min_free_bytes,
        max_age_days=bounds.max_age_days,
        segment_bytes=config.ring.segment_bytes,
        segment_s=config.ring.segment_seconds,
        sync_s=bounds.sync_s,
        await_leaf=True,
    )


def _ledger(
    config: Config, clock: Clock, watch: ClockWatch, inbox: BoundedInbox, box: BoxKey
) -> LedgerWriter:
    cosigners = None
    if config.keys.witness and config.keys.mirror:
        cosigners = Cosigners(
            witness=Verifier.parse(config.keys.witness), mirror=Verifier.parse(config.keys.mirror)
        )
    try:
        return LedgerWriter(
            directory=config.state.directory / "ledger",
            origin=f"{config.site.id}/{box.box_id.hex()[:16]}",
            sign=box.sign,
            public=box.public,
            clock=clock,
            inbox=inbox,
            cosigners=cosigners,
            told_time=watch.told,
        )
    except OSError as error:
        where = config.state.directory / "ledger"
        raise EdgeAgentError(f"ledger {where}: {error.strerror}; check the disk with the state") from error


def _start(parts: Parts, config: Config) -> None:
    """What others lean on first: the disk, the ledger, then the eyes, then the mouth."""
    supervisor = parts.supervisor
    for ring in parts.rings.values():
        supervisor.start(ring, patience_s=DISK_PATIENCE_S)
    for scanner in parts.scanners:
        supervisor.start(scanner, patience_s=DISK_PATIENCE_S)
    supervisor.start(parts.ledger, patience_s=DISK_PATIENCE_S)
    supervisor.start(parts.chores, patience_s=DISK_PATIENCE_S)
    supervisor.start(parts.evidence, patience_s=DISK_PATIENCE_S)
    supervisor.start(parts.pictures, patience_s=60)
    supervisor.start(parts.capture)
    supervisor.start(parts.reach, patience_s=60)
    supervisor.start(parts.probes, patience_s=60)
    supervisor.start(parts.device_clocks, patience_s=60)
    supervisor.start(parts.finder, patience_s=300)
    supervisor.start(parts.events)
    if parts.uplink is not None:
        supervisor.start(parts.uplink.control, patience_s=60)
        supervisor.start(parts.uplink.media, patience_s=60)
    supervisor.start(ControlSocket(config.control_socket, parts.inbox.put, parts.clock))


def _probes(config: Config, clock: Clock, inbox: BoundedInbox, uplink: Uplink | None) -> Probes:
    brokers = config.uplink.brokers if config.uplink.enabled else ()
    where = urlsplit(brokers[0]) if brokers else None
    return Probes(
        clock,
        inbox,
        PowerProbe(clock, config.power.nut),
        (where.hostname or "", where.port or MQTTS_PORT) if where else None,
        power_every_s=config.watch.power_s,
        net_every_s=config.watch.net_s,
        returned=uplink.kick if uplink else lambda: None,
    )


def _stop(parts: Parts, owner: Owner) -> None:
    owner.goodbye()
    late = parts.supervisor.stop()
    if late:
        log.error("did not stop in time: %s", ", ".join(late))
    parts.alive.goodbye(parts.clock.now())


def _uplink(
    config: Config, clock: Clock, inbox: BoundedInbox, box: BoxKey, ledger: LedgerWriter
) -> Uplink | None:
    control = control_settings(config.site.id, config.uplink)
    media = media_settings(config.site.id, config.uplink)
    if control is None or media is None:
        return None
    replicator = Replicator(ledger.log)
    cap = Cap(config.uplink.max_kbps, clock.monotonic())  # one share of the line for both connections
    return Uplink(
        control=ControlLink(
            site=config.site.id,
            link=Link(control, clock, _mqtt, cap),
            inbox=inbox,
            clock=clock,
            verifier=_command_verifier(config),
            sign=lambda message: sign_message(box.private, config.site.id, message),
            heartbeat_s=config.uplink.heartbeat_s,
            backlog=replicator,
        ),
        media=MediaLink(
            site=config.site.id,
            link=Link(media, clock, _mqtt, cap),
            inbox=inbox,
            clock=clock,
            linger_s=config.uplink.media_linger_s,
        ),
        replicator=replicator,
    )


def _mqtt(settings: LinkSettings, broker: Broker, owner: LinkOwner, clock: Clock, waker: Waker) -> Transport:
    """For the link's thread, which alone waits while paho loads."""
    from edge_agent.uplink.mqtt import MqttConnection

    return MqttConnection(settings, broker, owner, clock, waker)


def _command_verifier(config: Config) -> CommandVerifier:
    keys = {
        entry.kid: TrustedKey(
            CommandRole(entry.role),
            Ed25519PublicKey.from_public_bytes(public_key(f"keys.commands.{entry.kid}", entry.public_key)),
        )
        for entry in config.keys.commands
    }
    return CommandVerifier(keys, config.site.id)


def _make_directories(config: Config) -> None:
    for path in (config.state.directory, config.ring.directory):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeAgentError(f"{path}: {error.strerror}; check owner and mode") from error
