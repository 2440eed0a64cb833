"""A visit through a compatibility process that misbehaves: deadlines, lock-out care, what is left behind."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
from rtsp_world import clip

from edge_agent.capture import compat
from edge_agent.capture.compat import CompatVisit
from edge_agent.capture.compat_pool import DEATHS_ALLOWED, FAREWELL_S, HELD_S, CompatPool
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.login import CredentialsRefused
from edge_agent.capture.ports import Door
from edge_agent.capture.refusals import OnlyThroughCompat, speaks_http
from edge_agent.capture.sessions import NeverPlayed
from edge_agent.capture.stream import Run
from edge_agent.capture.visit import Pace
from edge_agent.clock import SystemClock
from edge_agent.errors import SourceLost, SourceRefused
from edge_agent.model import Credentials, Endpoint, Instant, Role, StreamKey

KEY = StreamKey("cam-01", Role.MAIN)
SUB = StreamKey("cam-01", Role.SUB)
LOGIN = Credentials("admin", "secret")
ENDPOINT = Endpoint("rtsp://10.0.0.9/x", "10.0.0.9", 554, LOGIN)
NEED = OnlyThroughCompat("the device sends MJPEG; switch this stream to H.264")
CHILD = """
import os, signal, sys, time
from edge_agent.capture.compat_wire import *
from edge_agent.model import Codec
def say(m): sys.stdout.buffer.write(m if isinstance(m, bytes) else encode(m)); sys.stdout.flush()
def order():
    size = LENGTH.unpack(sys.stdin.buffer.read(4))[0]
    return decode_order(sys.stdin.buffer.read(size))
def now(): return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
"""
HANGS = "time.sleep(60)"
READY = "say(Ready());"


def command(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", CHILD + script)


def boot() -> Instant:
    return SystemClock().now()


def later(seconds: float) -> Instant:
    now = boot()
    return replace(now, boot_ns=now.boot_ns + int(seconds * 1e9))


@dataclass
class World:
    """A pool and a gate; `visit` begins a visit, `pump` lets it hear what its process says."""

    gate: Lockouts = field(default_factory=Lockouts)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    runs: list[Run] = field(default_factory=list)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(1 << 18)))
    pool: CompatPool = field(default_factory=CompatPool)
    visits: list[CompatVisit] = field(default_factory=list)

    def visit(
        self, script: str, key: StreamKey = KEY, need: OnlyThroughCompat = NEED, endpoint: Endpoint = ENDPOINT
    ) -> CompatVisit:
        self.pool._command = command(script)
        visit = CompatVisit(
            key,
            endpoint,
            need,
            self.pool,
            self.selector,
            self,
            self.runs.append,
            Pace(0.2, 5.0),
            boot(),
            0,
            self.gate,
        )
        self.visits.append(visit)
        return visit

    def pump(self, visit: CompatVisit, seconds: float = 5.0, until: str = "") -> None:
        """Until the visit raises, or reaches the step."""
        end = time.monotonic() + seconds
        while visit.state != until and time.monotonic() < end:
            for _ in self.selector.select(0.02):
                visit.on_ready(selectors.EVENT_READ, self.buffer, boot())
            visit.on_time(boot())

    def close(self, visit: CompatVisit) -> None:
        visit.close(boot())
        self.visits.remove(visit)


@pytest.fixture
def world() -> Iterator[World]:
    world, others = World(), set(psutil.Process().children())  # such as a recorder of other tests
    yield world
    for visit in tuple(world.visits):
        world.close(visit)
    world.pool.close()
    assert set(psutil.Process().children()) <= others


def spelt(clip_units: int = 12, ahead_ns: int = 0) -> str:
    """A process that plays: `ahead_ns` is how far its arrivals lie ahead of the clock."""
    units = clip(count=clip_units).units
    return f"""
{READY} order(); say(Opened(Codec.H264, 'MJPEG', 10.0))
for i, nals in enumerate({units!r}):
    say(Unit(now() + {ahead_ns}, i * 3600, nals)); time.sleep(0.01)
time.sleep(60)
"""


def test_a_process_that_does_not_start_is_given_up(world: World) -> None:
    visit = world.visit(HANGS)
    with pytest.raises(SourceLost, match="did not start"):
        visit.on_time(later(compat.START_S + 1))


def test_a_process_that_hangs_over_opening_is_given_up_and_its_login_given_back(world: World) -> None:
    visit = world.visit(READY + HANGS)
    world.pump(visit, until="opening")
    assert len(world.gate._claims) == 1
    with pytest.raises(SourceLost, match="hung"):
        visit.on_time(later(compat.OPEN_S + 1))
    assert not world.gate._claims


@pytest.mark.parametrize(
    "script",
    [
        "say(b'RTSP/1.0 200 OK\\r\\n\\r\\n' * 100);" + HANGS,
        "say(Opened(Codec.H264, '', 10.0));" + HANGS,
        READY + "say(Ready());" + HANGS,
        READY + "order(); say(Opened(Codec.H264, '', 10.0)); say(Unit(now(), 0, (b'gg', b'hh')));" + HANGS,
    ],
)
def test_a_process_that_talks_nonsense_is_given_up(world: World, script: str) -> None:
    with pytest.raises(SourceLost, match="nonsense"):
        world.pump(world.visit(script))


def test_a_process_that_dies_is_a_lost_source(world: World) -> None:
    with pytest.raises(SourceLost, match="ended without a word"):
        world.pump(world.visit(READY + "order(); os.kill(os.getpid(), signal.SIGKILL)"))


def test_silence_after_opening_is_told_apart_from_silence_after_pictures(world: World) -> None:
    visit = world.visit(READY + "order(); say(Opened(Codec.H264, '', 25.0));" + HANGS)
    world.pump(visit, until="playing")
    with pytest.raises(NeverPlayed):
        visit.on_time(later(6))
    world.close(visit)
    visit = world.visit(spelt())
    world.pump(visit, seconds=0.5)
    with pytest.raises(SourceLost, match="no video packets for 5 s") as told:
        visit.on_time(later(6))
    assert not isinstance(told.value, NeverPlayed)


@pytest.mark.parametrize("ahead_ns", [0, 3_600_000_000_000, -3_600_000_000_000])
def test_arrivals_are_held_within_what_is_possible(world: World, ahead_ns: int) -> None:
    began = boot()
    visit = world.visit(spelt(ahead_ns=ahead_ns))
    world.pump(visit, seconds=0.8)
    world.close(visit)
    placed = [unit for run in world.runs for unit in run.units]
    assert len(placed) == 12
    earliest_ns = began.boot_ns - (compat.LONGEST_DELAY_NS if ahead_ns < 0 else 0)
    assert all(earliest_ns <= p.boot_ns <= boot().boot_ns for p in placed)


def test_pictures_that_are_missing_after_a_pause_are_missing_since_the_last_one(world: World) -> None:
    units = clip(count=4).units
    visit = world.visit(f"""
{READY} order(); say(Opened(Codec.H264, 'MJPEG', 10.0)); units = {units!r}
say(Unit(now(), 0, units[0])); time.sleep(0.7); say(Unit(now(), 63000, units[0], True))
time.sleep(60)
""")
    world.pump(visit, seconds=1.2)
    world.close(visit)
    first, second = world.runs
    assert second.lost_since_ns == first.units[0].boot_ns


def test_what_is_converted_says_so_in_its_stats_and_in_its_file(world: World) -> None:
    visit = world.visit(spelt())
    world.pump(visit, seconds=0.8)
    assert visit.converted == "converted from MJPEG, 10 pictures a second"
    init = world.runs[0].init
    assert init is not None
    assert b"converted from MJPEG\x00" in init.data


def test_the_password_waits_for_its_turn_and_is_not_sent_when_the_account_is_spent(world: World) -> None:
    others = object(), object()
    for other in others:
        world.gate.ask(ENDPOINT.host, LOGIN, other, door=Door.RTSP)
    visit = world.visit(READY + "order(); say(Opened(Codec.H264, '', 25.0));" + HANGS)
    world.pump(visit, seconds=0.5)
    assert visit.state == "login"
    world.gate.wrong(ENDPOINT.host, LOGIN, "", others[0], Door.RTSP)
    world.gate.wrong(ENDPOINT.host, LOGIN, "", others[1], Door.RTSP)
    with pytest.raises(CredentialsRefused) as told:
        world.pump(visit)
    assert told.value.final


def test_a_refused_password_counts_against_the_device(world: World) -> None:
    script = READY + "order(); say(Failed(Cause.UNAUTHORIZED, 'no'));" + HANGS
    for final in (False, True):
        visit = world.visit(script)
        with pytest.raises(CredentialsRefused) as told:
            world.pump(visit)
        assert told.value.final is final
        world.close(visit)
    assert world.gate.standing(ENDPOINT.host, LOGIN).wrong == 2


def test_a_web_server_where_no_tunnel_is_gets_the_sentence_that_cures_it(world: World) -> None:
    visit = world.visit(READY + "order(); say(Failed(Cause.LOST, 'Bad Request'))", need=speaks_http())
    with pytest.raises(SourceRefused, match="enter the device's RTSP port"):
        world.pump(visit)


def test_only_so_many_run_at_a_time_and_main_streams_go_first(world: World) -> None:
    world.visit(HANGS, SUB)
    second = world.visit(HANGS, StreamKey("cam-02", Role.MAIN))
    assert world.pool.rival(KEY) == SUB
    assert world.pool.rival(StreamKey("cam-03", Role.SUB)) is None
    with pytest.raises(SourceRefused, match="2 streams are converted already"):
        world.visit(HANGS)
    world.close(second)
    assert world.pool.rival(KEY) is None
    world.visit(HANGS)


def test_a_stream_whose_processes_keep_dying_rests_and_its_neighbour_does_not(world: World) -> None:
    for _ in range(DEATHS_ALLOWED + 1):
        visit = world.visit("sys.exit(1)")
        with pytest.raises(SourceLost):
            world.pump(visit)
        world.close(visit)
    now_s = boot().boot_ns / 1e9
    with pytest.raises(SourceRefused, match="failed again and again"):
        world.pool.begin(KEY, str(NEED), now_s)
    world.visit(HANGS, StreamKey("cam-02", Role.MAIN))
    world.pool.end(world.pool.begin(KEY, str(NEED), now_s + HELD_S), now_s)
    world.pool.forget(KEY)


def test_a_process_that_will_not_go_is_killed_after_its_farewell(world: World) -> None:
    visit = world.visit("signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY + HANGS)
    world.pump(visit, until="opening")
    pid = world.pool.pids[KEY]
    world.close(visit)
    now_s = boot().boot_ns / 1e9
    world.pool.reap(now_s)
    assert psutil.pid_exists(pid)
    world.pool.reap(now_s + FAREWELL_S + 0.1)
    until = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < until:
        world.pool.reap(now_s)
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_twenty_restarts_leave_neither_descriptors_nor_zombies(world: World) -> None:
    before, others = len(list(Path("/proc/self/fd").iterdir())), set(psutil.Process().children())
    for turn in range(20):
        visit = world.visit("", StreamKey(f"cam-{turn}", Role.MAIN))
        if turn % 2:
            os.kill(world.pool.pids[StreamKey(f"cam-{turn}", Role.MAIN)], signal.SIGKILL)
        world.close(visit)
        world.pool.reap(boot().boot_ns / 1e9)
    world.pool.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert set(psutil.Process().children()) <= others


def test_the_password_is_in_no_argument_and_no_environment(world: World) -> None:
    os.environ["EDGE_AGENT_TEST_SECRET"] = LOGIN.password
    try:
        visit = world.visit(READY + "order();" + HANGS)
        world.pump(visit, until="opening")
        place = Path("/proc", str(world.pool.pids[KEY]))
        assert (
            LOGIN.password.encode() not in (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        )
    finally:
        del os.environ["EDGE_AGENT_TEST_SECRET"]
