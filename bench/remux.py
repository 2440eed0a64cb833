"""The recording half of the agent alone, with or without sealing: `python -m bench.remux [--seal] CONFIG`.

Capture loop and ring as `edge-agent run` has them, and nothing else: no owner, no ledger, no control
socket. Without `--seal` fragments go to disk as they were muxed, neither encrypted nor hashed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

from edge_agent import clock as clocks
from edge_agent import config as configuration
from edge_agent.agent.finder import camera_by_hand
from edge_agent.agent.sealing import Sealing
from edge_agent.app import SWITCH_INTERVAL_S
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.ports import Sealer
from edge_agent.clock import SystemClock
from edge_agent.config import Config
from edge_agent.events import BoundedInbox
from edge_agent.model import Fragment, InitSegment, Instant, Role, StreamKey, StreamSpec
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.sink import Rings
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.keys import BoxKey
from edge_agent.seal.record import AEAD_TAG_BYTES, NO_DIGEST, Header, Kind, Record, sealed_size
from edge_agent.supervisor import Supervisor

EPOCH = bytes(16)


class PlainSealer:
    """Stands where a StreamSealer does, and passes bytes through. Not a ring that anybody could read."""

    def __init__(self, spec: StreamSpec, boot_id: bytes) -> None:
        self._stream = spec.stream_id
        self._boot_id = boot_id
        self._n = 0

    def begin_epoch(self, init: InitSegment, at: Instant) -> tuple[Record, Record]:
        return self._pass(Kind.KEY, bytes(sealed_size(0)), at), self._pass(Kind.INIT, init.data, at)

    def rotation_due(self, fragment: Fragment) -> bool:
        return False

    def seal(self, fragment: Fragment) -> Record:
        return self._pass(Kind.FRAGMENT, fragment.data, fragment.start, fragment.duration_us)

    def seal_gap(self, reason: str, since: Instant, at: Instant) -> Record:
        return self._pass(Kind.GAP, bytes(sealed_size(0)), since)

    def _pass(self, kind: Kind, plain: bytes, at: Instant, duration_us: int = 0) -> Record:
        body = len(plain) + AEAD_TAG_BYTES - sealed_size(0)  # so that header and bytes agree on the size
        header = Header(
            kind, self._stream, EPOCH, self._n, body, body, at.wall_us, at.boot_ns, self._boot_id, NO_DIGEST,
            duration_us=duration_us,
        )  # fmt: skip
        self._n += 1
        return Record(header, plain, NO_DIGEST)


def main() -> None:
    *options, path = sys.argv[1:]
    config = configuration.load(Path(path))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clock, inbox = SystemClock(), BoundedInbox()
    box, boot_id, run = BoxKey.load_or_create(config.box_key), clocks.boot_id(), os.urandom(16)
    ring = _ring(config, box, run, clock, inbox)
    sealing = Sealing(config, box, boot_id)
    sealer_for: Callable[[StreamSpec], Sealer] = (
        (lambda spec: sealing.sealer(spec, {Role.MAIN: ring}))
        if "--seal" in options
        else (lambda spec: PlainSealer(spec, boot_id))
    )
    capture = CaptureLoop(clock=clock, inbox=inbox, sink=Rings({Role.MAIN: ring}), sealer_for=sealer_for)
    record(config, ring, capture, clock, inbox, stop)


def record(
    config: Config,
    ring: RingWriter,
    capture: CaptureLoop,
    clock: SystemClock,
    inbox: BoundedInbox,
    stop: Event,
) -> None:
    supervisor = Supervisor(clock, inbox)
    supervisor.start(ring)
    supervisor.start(capture)
    for entry in config.cameras:
        camera = camera_by_hand(entry)
        if camera.main is not None:
            key = StreamKey(camera.id, Role.MAIN)
            capture.start_stream(StreamSpec(key, camera.main, os.urandom(16)))
    while not stop.is_set():
        inbox.take(0.5)
    supervisor.stop()


def _ring(config: Config, box: BoxKey, run: bytes, clock: SystemClock, inbox: BoundedInbox) -> RingWriter:
    bounds = config.ring.main
    return RingWriter(
        role=Role.MAIN,
        directory=config.ring.directory / "main",
        policy=RingPolicy(bounds.max_bytes, config.ring.min_free_bytes, sync_s=bounds.sync_s),
        box_id=box.box_id,
        run=run,
        clock=clock,
        inbox=inbox,
    )


if __name__ == "__main__":
    main()
