"""The capture thread: one `selectors` loop for all streams. Sockets in, sealed records out.

It never touches disk or DNS and never blocks. Between two rounds it sleeps `gather_s`, so that data
gathers and is read in large pieces: waking for every packet costs more than handling it.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Event

from edge_agent.capture.compat_pool import CompatPool
from edge_agent.capture.lane import Lane
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.ports import CredentialGate, RecordSink, SealerFactory, StreamStats
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.sessions import SessionBudget
from edge_agent.capture.visit import Pace
from edge_agent.clock import Clock
from edge_agent.events import Inbox
from edge_agent.model import Instant, Keyframe, StreamKey, StreamSpec
from edge_agent.seal.record import Record
from edge_agent.supervisor import Beat, contain
from edge_agent.tap import Tap

log = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_TICK_NS = 100_000_000
_IDLE_S = 0.1
_STANDSTILL_NS = 1_000_000_000
_FAREWELL_NS = 500_000_000  # a TEARDOWN must not be cut off by a reset


class CaptureLoop:
    """Records every started stream. Public methods may be called from any thread and never block."""

    name = "capture"

    def __init__(
        self,
        *,
        clock: Clock,
        inbox: Inbox,
        sink: RecordSink,
        sealer_for: SealerFactory,
        gather_s: float = 0.02,
        fragment_s: float = 0.2,
        silence_s: float = 5.0,
        pulse_s: float = 10.0,
        gate: CredentialGate | None = None,
        compat: CompatPool | None = None,
    ) -> None:
        """`gate` is shared with whoever else logs in to the same devices."""
        self._clock = clock
        self._inbox = inbox
        self._sink = sink
        self._sealer_for = sealer_for
        self._gather_s = gather_s
        self._gate = gate or Lockouts()
        self._budget = SessionBudget()
        self.compat = compat or CompatPool()
        self._pace = Pace(fragment_s, silence_s, pulse_s)
        self._orders: deque[Callable[[Instant], None]] = deque()
        self._lanes: dict[StreamKey, Lane] = {}
        self._taps: dict[StreamKey, Tap[Record]] = {}
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._leaving: dict[socket.socket, int] = {}
        self._buffer = memoryview(bytearray(_READ_BYTES))

    def start_stream(self, spec: StreamSpec) -> None:
        """Open and record a stream; one that runs under the same key is replaced, also after a refusal."""
        self._orders.append(partial(self._start, spec))

    def stop_stream(self, key: StreamKey) -> None:
        """Leave a stream with TEARDOWN; unknown keys are ignored."""
        self._orders.append(partial(self._stop, key, "stopped"))

    def renew_epochs(self) -> None:
        """Begin new epochs at the next keyframes: the recipients changed, or a record was lost."""
        self._orders.append(self._renew)

    def keyframe(self, key: StreamKey) -> Keyframe | None:
        """The newest keyframe in clear; None before the first."""
        lane = self._lanes.get(key)
        return lane.keyframe() if lane else None

    def tap(self, key: StreamKey) -> Tap[Record]:
        """The stream's tap; it holds records from the first time it is asked for."""
        return self._taps.setdefault(key, Tap())

    def stats(self) -> dict[StreamKey, StreamStats]:
        return {key: lane.stats() for key, lane in self._lanes.copy().items()}

    def run(self, stop: Event, beat: Beat) -> None:
        """The thread. On stop every session gets its TEARDOWN."""
        ticked_ns, round_ns = 0, self._clock.now().boot_ns
        try:
            while not stop.is_set():
                now = self._clock.now()
                slept_ns, round_ns = now.boot_ns - round_ns, now.boot_ns
                beat()
                self._obey(now)
                # After a standstill of our own (a frozen or suspended box) what waits in the sockets is
                # read before any camera is called silent.
                if now.boot_ns - ticked_ns >= _TICK_NS and slept_ns < _STANDSTILL_NS:
                    ticked_ns = now.boot_ns
                    self._tick(now)
                if not self._read():
                    time.sleep(self._gather_s)
        finally:
            self._leave_all()

    def _obey(self, now: Instant) -> None:
        while self._orders:
            contain(partial(self._orders.popleft(), now), _ignore)

    def _tick(self, now: Instant) -> None:
        for lane in tuple(self._lanes.values()):
            self._serve(lane, 0, now)
        self.compat.reap(now.boot_ns / 1e9)
        for sock in [s for s, until_ns in self._leaving.items() if now.boot_ns >= until_ns]:
            self._forget(sock)

    def _read(self) -> bool:
        """One round over all ready sockets; True when one of them has more than a round takes."""
        more = False
        ready = self._selector.select(0 if self._lanes else _IDLE_S)
        now = self._clock.now()
        for key, mask in ready:
            if isinstance(key.fileobj, socket.socket) and key.data is None:
                self._drain(key.fileobj)
            elif self._serve(key.data, mask, now):
                more = True
        return more

    def _serve(self, lane: Lane, mask: int, now: Instant) -> bool:
        """One lane's turn, for its socket or (mask 0) for its deadlines; its bug ends its visit only."""
        return contain(partial(_turn, lane, mask, self._buffer, now), partial(self._failed, lane, now))

    def _failed(self, lane: Lane, now: Instant, error: Exception) -> bool:
        contain(partial(lane.fail, now, f"internal error: {error!r}"[:200]), _ignore)
        return False

    def _start(self, spec: StreamSpec, now: Instant) -> None:
        before = self._lanes.get(spec.key)
        self._stop(spec.key, "replaced", now)
        self.compat.forget(spec.key)
        recorder = Recorder(spec, self._sealer_for(spec), self._sink, self._taps, self._clock)
        if before is not None:
            recorder.end_ns = before.recorder.end_ns
        self._lanes[spec.key] = Lane(
            spec,
            recorder,
            self._inbox,
            self._selector,
            self._take_leave,
            self._pace,
            self._gate,
            self._budget,
            self._give_way,
            self.compat,
        )

    def _stop(self, key: StreamKey, reason: str, now: Instant) -> None:
        lane = self._lanes.pop(key, None)
        if lane is not None:
            lane.stop(now, reason)

    def _give_way(self, weaker: StreamKey, reason: str) -> None:
        lane = self._lanes.get(weaker)
        if lane is not None:
            contain(partial(lane.pause, self._clock.now(), reason), _ignore)

    def _renew(self, now: Instant) -> None:
        for lane in self._lanes.values():
            lane.recorder.renew()

    def _take_leave(self, sock: socket.socket) -> None:
        """Read a socket empty before it is closed: a reset would overtake our TEARDOWN."""
        self._leaving[sock] = self._clock.now().boot_ns + _FAREWELL_NS
        self._selector.register(sock, selectors.EVENT_READ, None)

    def _drain(self, sock: socket.socket) -> None:
        try:
            if not sock.recv_into(self._buffer):
                self._forget(sock)
        except BlockingIOError:
            return
        except OSError:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        del self._leaving[sock]
        self._selector.unregister(sock)
        sock.close()

    def _leave_all(self) -> None:
        """The lanes stay: a restarted thread goes on with them."""
        now = self._clock.now()
        for lane in self._lanes.values():
            contain(partial(lane.stop, now, "capture stopped"), _ignore)
        until_s = time.monotonic() + _FAREWELL_NS / 1e9
        while self._leaving and time.monotonic() < until_s:
            for key, _ in self._selector.select(0.05):
                if isinstance(key.fileobj, socket.socket) and key.data is None:
                    self._drain(key.fileobj)
        for sock in tuple(self._leaving):
            self._forget(sock)
        self.compat.close()


def _turn(lane: Lane, mask: int, buffer: memoryview, now: Instant) -> bool:
    if mask:
        return lane.on_ready(mask, buffer, now)
    lane.on_time(now)
    return False


def _ignore(error: Exception) -> None:
    """`contain` has logged it; there is nothing to put right."""
