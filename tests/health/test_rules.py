"""The camera's state machine: hiccups are nothing, silence is an outage from its last packet on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.health import rules
from edge_agent.health.rules import DARK_AFTER_S, CameraHealth, Sight
from edge_agent.model import Role

BOTH = frozenset({Role.MAIN, Role.SUB})


def seeing(clock: ManualClock) -> CameraHealth:
    health = rules.begin("cam-01", BOTH, clock.now())
    for role in BOTH:
        health, _ = rules.stream_started(health, role, clock.now())
    return health


def test_first_packet_brings_a_camera_up() -> None:
    clock = ManualClock()
    health, change = rules.stream_started(rules.begin("cam-01", BOTH, clock.now()), Role.SUB, clock.now())
    assert health.state is Sight.UP
    assert change is not None
    assert change.before is Sight.UNKNOWN


def test_one_silent_stream_of_two_leaves_the_camera_up() -> None:
    clock = ManualClock()
    health, change = rules.stream_lost(seeing(clock), Role.SUB, clock.now(), "no packets", clock.now())
    clock.advance(60)
    health, later = rules.tick(health, clock.now())
    assert (health.state, change, later) == (Sight.UP, None, None)


def test_outage_begins_at_the_last_packet_not_when_it_was_noticed() -> None:
    clock = ManualClock()
    health = seeing(clock)
    last_packet = clock.now()
    clock.advance(5)
    for role in (Role.MAIN, Role.SUB):
        health, _ = rules.stream_lost(health, role, last_packet, "no packets for 5 s", clock.now())
    assert health.state is Sight.SUSPECT
    clock.advance(DARK_AFTER_S - 5)
    health, change = rules.tick(health, clock.now())
    assert change is not None
    assert change.before is Sight.SUSPECT
    assert (health.state, health.since) == (Sight.DARK, last_packet)


def test_reconnect_within_ten_seconds_is_no_outage() -> None:
    clock = ManualClock()
    health = seeing(clock)
    for role in BOTH:
        health, _ = rules.stream_lost(health, role, clock.now(), "connection reset", clock.now())
    clock.advance(9.9)
    health, _ = rules.tick(health, clock.now())
    health, change = rules.stream_started(health, Role.MAIN, clock.now())
    assert health.state is Sight.UP
    assert change is not None
    assert change.before is Sight.SUSPECT


def test_failed_retries_do_not_move_the_beginning_of_an_outage() -> None:
    clock = ManualClock()
    health = seeing(clock)
    began = clock.now()
    for _ in range(5):
        for role in BOTH:
            health, _ = rules.stream_lost(health, role, clock.now(), "refused", clock.now())
        clock.advance(4)
    assert (health.state, health.since) == (Sight.DARK, began)


def test_wall_clock_step_neither_makes_nor_hides_an_outage() -> None:
    clock = ManualClock()
    health = seeing(clock)
    for role in BOTH:
        health, _ = rules.stream_lost(health, role, clock.now(), "no packets", clock.now())
    clock.step_wall(7 * 3600)
    clock.advance(3)
    health, _ = rules.tick(health, clock.now())
    assert health.state is Sight.SUSPECT
    clock.step_wall(-20 * 365 * 86400)
    clock.advance(DARK_AFTER_S)
    health, _ = rules.tick(health, clock.now())
    assert health.state is Sight.DARK


def test_a_standstill_of_the_box_itself_is_no_cameras_outage() -> None:
    clock = ManualClock()
    health = seeing(clock)
    last_packet = clock.now()
    clock.advance(30)  # the box was frozen
    awake = clock.now()
    for role in BOTH:
        health, _ = rules.stream_lost(
            health, role, last_packet, "no packets for 30 s", clock.now(), awake.boot_ns
        )
    assert health.state is Sight.SUSPECT
    clock.advance(DARK_AFTER_S - 1)
    health, _ = rules.tick(health, clock.now(), awake.boot_ns)
    assert health.state is Sight.SUSPECT
    clock.advance(1)
    health, _ = rules.tick(health, clock.now(), awake.boot_ns)
    assert (health.state, health.since) == (Sight.DARK, last_packet)


@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "lose", "tick"]), st.sampled_from(list(Role)), st.floats(0, 30)),
        max_size=60,
    )
)
def test_a_camera_is_up_exactly_while_a_stream_flows(steps: list[tuple[str, Role, float]]) -> None:
    clock = ManualClock()
    health = rules.begin("cam-01", BOTH, clock.now())
    flowing: set[Role] = set()
    for what, role, pause in steps:
        if what == "start":
            health, _ = rules.stream_started(health, role, clock.now())
            flowing.add(role)
        elif what == "lose":
            health, _ = rules.stream_lost(health, role, clock.now(), "gone", clock.now())
            flowing.discard(role)
        else:
            health, _ = rules.tick(health, clock.now())
        assert (health.state is Sight.UP) == bool(flowing)
        assert health.since.boot_ns <= clock.now().boot_ns
        clock.advance(pause)
