"""A month of healthy cameras and everything that disturbs them without darkening one. Seeded, pure.

Sixteen cameras on one recorder that restarts for three minutes each night. Streams reconnect, the infrared
switches, smart codecs go quiet, headlights and shadows pass, the internet and the UPS have their moods, the
box sleeps for seconds and is updated, clocks are set.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from shop import Shop, World
from storyteller import Change, Step, box_dies, box_starts, change, light, power_off, wires

from edge_agent.health import signal_log
from edge_agent.health.condense import Condenser
from edge_agent.health.signals import DeviceSaid, Ended, Signal
from edge_agent.health.watch import NightWatch

DAY_S = 86_400.0
HOUR_S = 3600.0
CAMERAS = 16
REBOOT_AT_S = 3 * HOUR_S


def shop(look_s: float) -> Shop:
    return Shop(cameras=CAMERAS, ups=True, seed=7, look_s=look_s)


def steps(days: int, seed: int = 7) -> list[Step]:
    """What happens, the first day beginning at midnight."""
    found: list[Step] = []
    rng = random.Random(seed)
    for day in range(days):
        found += [(day * DAY_S + second, do) for second, do in _day(rng, day)]
    return sorted(found, key=lambda step: step[0])


def signals(days: int, look_s: float) -> Iterator[Signal]:
    """As the senses give them: eight million in a month."""
    world = World(shop(look_s))
    for second, do in steps(days):
        world.at(second, lambda do=do: do(world))  # type: ignore[misc]
    return world.signals(days * DAY_S)


def record(days: int, look_s: float = 10.0) -> list[bytes]:
    """The signal log that a box keeps of it."""
    condenser, watch, log = Condenser(), NightWatch(), []
    for signal in signals(days, look_s):
        if condenser.keep(signal):
            log.append(signal_log.encode(signal, watch.now_ns))
            watch.observe(signal)
    return log


def _day(rng: random.Random, day: int) -> Iterator[Step]:
    yield from _restart(rng)
    yield from _lights(rng)
    yield from _reconnects(rng)
    yield from _link(rng, day)
    yield from _box(rng, day)
    for _ in range(40):
        yield rng.uniform(0, DAY_S), _motion(rng.randint(1, CAMERAS))


def _restart(rng: random.Random) -> Iterator[Step]:
    off = REBOOT_AT_S + rng.uniform(0, 60)
    yield off, power_off
    yield off + 20, lambda world: world.dvr_starts(160)


def _lights(rng: random.Random) -> Iterator[Step]:
    """Night until six, then day, dusk at once for all; shadows and headlights on single cameras."""
    yield 0.5, light("infrared")
    dawn, dusk = 6.2 * HOUR_S, 18.1 * HOUR_S
    yield dawn, light("day")
    yield dusk, light("unlit")  # the second that an infrared filter takes to fall, and the sensor to settle
    yield dusk + rng.uniform(2, 12), light("infrared")
    yield dusk + 600, light("wall", 16)  # its shutter is down
    for _ in range(3):
        number, at = rng.randint(1, 15), rng.uniform(19 * HOUR_S, 22 * HOUR_S)
        yield at, light("unlit", number)
        yield at + rng.uniform(3, 40), light("infrared", number)


def _reconnects(rng: random.Random) -> Iterator[Step]:
    for number in range(1, CAMERAS + 1):
        for _ in range(3):
            at = rng.uniform(4 * HOUR_S, DAY_S - 60)
            yield at, wires(False, number)
            yield at + rng.uniform(0.5, 8.0), wires(True, number)
    at = rng.uniform(7 * HOUR_S, 17 * HOUR_S)  # the switch takes a breath
    yield at, change(cable=False)
    yield at + rng.uniform(1, 7), change(cable=True)


def _link(rng: random.Random, day: int) -> Iterator[Step]:
    for _ in range(2):
        at = rng.uniform(4 * HOUR_S, 20 * HOUR_S)
        yield at, change(internet=False)
        yield at + rng.uniform(5, 18), change(internet=True)
    if day % 5 == 2:
        yield 21 * HOUR_S, change(internet=False)
        yield 22 * HOUR_S, change(internet=True)
    if day % 14 == 3:
        yield 11 * HOUR_S, change(mains=False)
        yield 11 * HOUR_S + 15, change(mains=True)


def _box(rng: random.Random, day: int) -> Iterator[Step]:
    if day % 3 == 1:
        yield rng.uniform(7 * HOUR_S, 9 * HOUR_S), lambda world: world.stands_still(5.0)
    if day % 7 == 4:
        yield rng.uniform(9 * HOUR_S, 10 * HOUR_S), lambda world: world.stands_still(45.0)
    if day % 7 == 6:
        yield 12 * HOUR_S, box_dies
        yield 12 * HOUR_S + 20, box_starts(Ended.STOPPED)
    if day % 10 == 5:
        yield 13 * HOUR_S, lambda world: world.clock_steps(3.5)
    if day % 10 == 6:
        yield 14 * HOUR_S, change(dvr_ahead=rng.uniform(-3, 3))


def _motion(number: int) -> Change:
    def moves(world: World) -> None:
        for active in (True, False):
            world.tell(DeviceSaid(world.moment(), world.shop.recorder, number, "motion", active))

    return moves
