"""The camera's state machine: hiccups are nothing, silence is an outage from its last packet on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.health import replay, signal_log
from edge_agent.health.camera import DARK_AFTER_S
from edge_agent.health.decisions import CameraTurned, Decision, IncidentClosed, Sight, Verdict
from edge_agent.health.replay import Replay
from edge_agent.health.signals import (
    BoxStoodStill,
    CameraKnown,
    ClockStepped,
    DeviceClock,
    DeviceSaid,
    HostKnocked,
    Mains,
    MainsSeen,
    NetSeen,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
    WorkAnnounced,
)
from edge_agent.health.watch import NightWatch
from edge_agent.model import Instant, Role

CAMERA = "cam-01"
BOTH = (Role.MAIN, Role.SUB)


def known(at: Instant, number: int = 1, recorder: str = "dvr") -> CameraKnown:
    return CameraKnown(at, f"cam-{number:02d}", recorder, number, "10.0.0.9", BOTH)


def flows(at: Instant, role: Role = Role.MAIN, number: int = 1) -> StreamFlows:
    return StreamFlows(at, f"cam-{number:02d}", role, 1920, 1080)


def silent(at: Instant, since: Instant, role: Role = Role.MAIN, number: int = 1) -> StreamSilent:
    return StreamSilent(at, f"cam-{number:02d}", role, since, "no packets", False, False)


def seeing(clock: ManualClock) -> NightWatch:
    watch = NightWatch()
    watch.observe(known(clock.now()))
    for role in BOTH:
        watch.observe(flows(clock.now(), role))
    return watch


def state(watch: NightWatch) -> tuple[Sight, Instant]:
    camera = watch.state(CAMERA)
    assert camera is not None
    return camera.state, camera.since


def turns(decisions: list[Decision]) -> list[CameraTurned]:
    return [d for d in decisions if isinstance(d, CameraTurned)]


def test_first_packet_brings_a_camera_up() -> None:
    clock, watch = ManualClock(), NightWatch()
    watch.observe(known(clock.now()))
    (turn,) = turns(watch.observe(flows(clock.now(), Role.SUB)))
    assert (turn.before, turn.state, turn.incident) == (Sight.UNKNOWN, Sight.UP, "")


def test_one_silent_stream_of_two_leaves_the_camera_up() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    told = watch.observe(silent(clock.now(), clock.now(), Role.SUB))
    clock.advance(60)
    assert told + watch.advance(clock.now()) == []
    assert state(watch)[0] is Sight.UP


def test_outage_begins_at_the_last_packet_not_when_it_was_noticed() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    last_packet = clock.now()
    clock.advance(5)
    for role in BOTH:
        assert watch.observe(silent(clock.now(), last_packet, role)) == []
    assert state(watch) == (Sight.SUSPECT, last_packet)
    clock.advance(DARK_AFTER_S - 5)
    (turn,) = turns(watch.advance(clock.now()))
    assert (turn.before, turn.state, turn.since) == (Sight.UP, Sight.DARK, last_packet)


def test_a_recorders_time_of_day_does_not_stand_for_its_start() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    began = clock.now()
    for role in BOTH:
        watch.observe(silent(clock.now(), began, role))
    clock.advance(20)
    watch.observe(HostKnocked(clock.now(), "10.0.0.9", 554, True, True, "refused", refuses=True))
    clock.advance(10)
    told = watch.observe(flows(clock.now()))
    told += watch.observe(DeviceClock(clock.now(), "dvr", 0.0, None))
    clock.advance(5)
    assert not [d for d in told if isinstance(d, IncidentClosed)]
    started_us = clock.now().wall_us - 12_000_000
    told = watch.observe(DeviceClock(clock.now(), "dvr", 0.0, started_us))
    (closed,) = (d for d in told if isinstance(d, IncidentClosed))
    assert closed.incident.cause.verdict is Verdict.DVR_REBOOT


def test_a_late_call_decides_at_the_moment_that_was_due() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    began = clock.now()
    for role in BOTH:
        watch.observe(silent(clock.now(), began, role))
    clock.advance(500)
    (turn,) = turns(watch.advance(clock.now()))
    assert (turn.at.boot_ns - began.boot_ns) / 1e9 == DARK_AFTER_S


def test_reconnect_within_ten_seconds_is_no_outage() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    told: list[Decision] = []
    for role in BOTH:
        told += watch.observe(silent(clock.now(), clock.now(), role))
    clock.advance(9.9)
    told += watch.advance(clock.now())
    told += watch.observe(flows(clock.now()))
    clock.advance(60)
    assert told + watch.advance(clock.now()) == []
    assert state(watch)[0] is Sight.UP


def test_failed_retries_do_not_move_the_beginning_of_an_outage() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    began = clock.now()
    for _ in range(5):
        for role in BOTH:
            watch.observe(silent(clock.now(), clock.now(), role))
        clock.advance(4)
    assert state(watch) == (Sight.DARK, began)


def test_wall_clock_step_neither_makes_nor_hides_an_outage() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    for role in BOTH:
        watch.observe(silent(clock.now(), clock.now(), role))
    clock.step_wall(7 * 3600)
    watch.observe(ClockStepped(clock.now(), 7 * 3600))
    clock.advance(3)
    watch.advance(clock.now())
    assert state(watch)[0] is Sight.SUSPECT
    clock.step_wall(-20 * 365 * 86400)
    watch.observe(ClockStepped(clock.now(), -20 * 365 * 86400))
    clock.advance(DARK_AFTER_S)
    watch.advance(clock.now())
    assert state(watch)[0] is Sight.DARK


def test_a_standstill_of_the_box_itself_is_no_cameras_outage() -> None:
    clock = ManualClock()
    watch = seeing(clock)
    last_packet = clock.now()
    clock.advance(30)  # the box was frozen
    told = watch.observe(BoxStoodStill(clock.now(), 30))
    for role in BOTH:
        told += watch.observe(silent(clock.now(), last_packet, role))
    clock.advance(DARK_AFTER_S - 1)
    assert turns(told + watch.advance(clock.now())) == []
    assert state(watch)[0] is Sight.SUSPECT
    clock.advance(1)
    (turn,) = turns(watch.advance(clock.now()))
    assert (turn.state, turn.since) == (Sight.DARK, last_packet)


# Anything in any order.

CAMERAS = (1, 2, 3, 4)
HOSTS = ("10.0.0.9", "10.0.0.8")
numbers = st.sampled_from(CAMERAS)
roles = st.sampled_from(BOTH)
maybe = st.sampled_from([True, False, None])


def _signal(draw: st.DrawFn, clock: ManualClock) -> Signal:
    at, number, role, flag = clock.now(), draw(numbers), draw(roles), draw(st.booleans())
    camera, recorder = f"cam-{number:02d}", "dvr" if number < 3 else ""
    match draw(st.integers(0, 11)):
        case 0:
            return known(at, number, recorder)
        case 1 | 2:
            return flows(at, role, number)
        case 3 | 4:
            since = Instant(at.wall_us - 5_000_000, at.boot_ns - 5_000_000_000, at.trust)
            return StreamSilent(at, camera, role, since, "gone", flag, flag and draw(st.booleans()))
        case 5:
            size = draw(st.sampled_from([0, 100, 9000]))
            return StreamPulse(at, camera, role, 10.0, 250, 5, 60_000, size)
        case 6:
            mean, flat = draw(st.sampled_from([(17.0, 0.98), (46.0, 0.95), (110.0, 0.2)]))
            detail = 0.01 if flat > 0.5 else 0.1
            return PictureMeasured(at, camera, mean, 5.0, detail, 0.0, flat, 0.0, f"{mean}")
        case 7:
            return DeviceSaid(at, "dvr", draw(st.sampled_from([None, 1, 2])), "video_loss", flag)
        case 8:
            return HostKnocked(at, draw(st.sampled_from(HOSTS)), 554, flag, draw(maybe), "")
        case 9:
            return MainsSeen(at, draw(st.sampled_from(list(Mains))), "ups", None)
        case 10:
            return NetSeen(at, draw(maybe), draw(maybe), draw(maybe), draw(maybe))
        case _:
            return WorkAnnounced(at, (camera,) if flag else (), at.wall_us + 60_000_000, "work", "x")


@st.composite
def nights(draw: st.DrawFn) -> list[Signal]:
    clock = ManualClock()
    signals: list[Signal] = [known(clock.now(), n, "dvr" if n < 3 else "") for n in CAMERAS]
    for _ in range(draw(st.integers(0, 80))):
        clock.advance(draw(st.sampled_from([0.0, 0.3, 2.0, 11.0, 70.0, 700.0])))
        signals.append(_signal(draw, clock))
    return signals


@settings(max_examples=60, deadline=None)  # a busy machine takes its time
@given(nights())
def test_any_order_of_signals_leaves_a_consistent_watch(signals: list[Signal]) -> None:
    watch = NightWatch()
    before_ns = 0
    for signal in signals:
        for decision in watch.observe(signal):
            assert decision.at.boot_ns >= before_ns
            before_ns = decision.at.boot_ns
            decision.to_leaf()
        _is_consistent(watch)


def _is_consistent(watch: NightWatch) -> None:
    open_ids = {incident.id for incident in watch.incidents}
    for camera in watch.cameras:
        if camera.state is Sight.UP:
            assert camera.flowing
        if camera.told is Sight.DARK and camera.state is Sight.DARK:
            assert not camera.flowing
        if camera.told is Sight.UNUSABLE and camera.state is Sight.UNUSABLE:
            assert camera.flowing
        if camera.told in (Sight.DARK, Sight.UNUSABLE):
            assert camera.incident in open_ids
        if camera.told is Sight.UP:
            assert camera.incident == ""


@settings(max_examples=60, deadline=None)  # a busy machine takes its time
@given(nights())
def test_every_incident_closes_when_all_is_well_again(signals: list[Signal]) -> None:
    watch = NightWatch()
    for signal in signals:
        watch.observe(signal)
    clock = ManualClock(signals[-1].at.wall_us, signals[-1].at.boot_ns)
    well: list[Signal] = [
        NetSeen(clock.now(), True, True, True, True),
        MainsSeen(clock.now(), Mains.ON, "ups", 100),
        *(DeviceSaid(clock.now(), "dvr", channel, "video_loss", False) for channel in (None, 1, 2)),
        *(flows(clock.now(), role, n) for n in CAMERAS for role in BOTH),
    ]
    for signal in well:
        watch.observe(signal)
    for _ in range(3):
        clock.advance(700)
        for n in CAMERAS:
            name = f"cam-{n:02d}"
            watch.observe(
                PictureMeasured(clock.now(), name, 110.0, 40.0, 0.1, 9.0, 0.2, 0.3, f"{clock.now()}")
            )
            for role in BOTH:
                watch.observe(StreamPulse(clock.now(), name, role, 10.0, 250, 5, 60_000, 9000))
    assert watch.incidents == ()
    assert {camera.told for camera in watch.cameras} == {Sight.UP}


@settings(max_examples=60, deadline=None)  # a busy machine takes its time
@given(nights(), st.lists(st.floats(0, 30), min_size=1, max_size=8))
def test_a_replay_of_any_night_decides_alike(signals: list[Signal], late_s: list[float]) -> None:
    """Also when time was let pass beyond a signal that then came late."""
    watch, log, told = NightWatch(), [], []
    for number, signal in enumerate(signals):
        log.append(signal_log.encode(signal, watch.now_ns))
        told += watch.observe(signal)
        ahead_s = late_s[number % len(late_s)]
        told += watch.advance(ManualClock(signal.at.wall_us, signal.at.boot_ns + int(ahead_s * 1e9)).now())
    again = [replay.line(decision) for decision in Replay(log)]
    assert again == [replay.line(decision) for decision in told][: len(again)]
