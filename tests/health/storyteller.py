"""Nights at a shop: their steps by the second, what the night watch makes of them, what must hold always."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shop import WALL_US, Scene, Shop, World

from edge_agent.health import replay, signal_log
from edge_agent.health.condense import Condenser
from edge_agent.health.decisions import (
    MAX_LEAF_BYTES,
    CameraTurned,
    Decision,
    Incident,
    IncidentClosed,
    Scope,
    Sight,
    Verdict,
)
from edge_agent.health.signals import Ended
from edge_agent.health.watch import NightWatch

Change = Callable[[World], None]
Step = tuple[float, Change]
Expected = tuple[Verdict, Scope, int]  # confidence: at least

PERSONS = re.compile(
    r"\b(owner|shopkeeper|staff|employee|manager|licensee|somebody|someone|person|people|he|she|they|who|"
    r"deliberate\w*|tamper\w*|sabotage\w*|switched off|turned off|unplugged|stole\w*|hid|cut the)\b",
    re.IGNORECASE,
)

# What may befall a shop.


def power_off(world: World) -> None:
    world.set(dvr="off")


def power_on(world: World) -> None:
    world.dvr_starts()


def change(**changes: object) -> Change:
    return lambda world: world.set(**changes)


def unplug(*numbers: int) -> Change:
    return lambda world: world.inputs(False, *numbers)


def plug(*numbers: int) -> Change:
    return lambda world: world.inputs(True, *numbers)


def wires(up: bool, *numbers: int) -> Change:
    return lambda world: world.wires(up, *numbers)


def hint(number: int, active: bool) -> Change:
    return lambda world: world.hint(number, active)


def light(scene: Scene, *numbers: int) -> Change:
    return lambda world: world.light(scene, *numbers)


def work(seconds: float, *numbers: int) -> Change:
    return lambda world: world.work(seconds, *numbers)


def box_dies(world: World) -> None:
    world.box_dies()


def box_starts(ended: Ended) -> Change:
    return lambda world: world.box_starts(ended)


# What is told of it.


@dataclass(frozen=True)
class Story:
    """`told`: the last word on each incident, in the order of opening. `open`: how many last to the end."""

    name: str
    shop: Shop
    steps: tuple[Step, ...]
    told: tuple[Expected, ...] = ()
    open: int = 0
    until: float = 1500.0
    within_s: float = 15.0  # from the last packet, or the last sight, to the decision

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass
class Told:
    """Everything decided, and the log it can be decided from again."""

    decisions: list[Decision] = field(default_factory=list)
    log: list[bytes] = field(default_factory=list)
    watch: NightWatch = field(default_factory=NightWatch)

    @property
    def incidents(self) -> list[Incident]:
        """The last word on each, in the order of opening; those merged into others left out."""
        newest: dict[str, Incident] = {}
        merged = set()
        for decision in self.decisions:
            if isinstance(decision, CameraTurned):
                continue
            newest[decision.incident.id] = decision.incident
            if isinstance(decision, IncidentClosed) and decision.into:
                merged.add(decision.incident.id)
        return [incident for id_, incident in newest.items() if id_ not in merged]

    @property
    def verdicts(self) -> list[Verdict]:
        return [incident.cause.verdict for incident in self.incidents]

    @property
    def turns(self) -> list[CameraTurned]:
        return [decision for decision in self.decisions if isinstance(decision, CameraTurned)]

    def turned(self, state: Sight, camera: str = "") -> list[CameraTurned]:
        return [turn for turn in self.turns if turn.state is state and camera in ("", turn.camera)]


def tell(shop: Shop, steps: Sequence[Step], until: float) -> Told:
    """Live: signals are condensed, logged and observed as they come."""
    world, told, condenser = World(shop), Told(), Condenser()
    for second, do in steps:
        world.at(second, lambda do=do: do(world))  # type: ignore[misc]
    for signal in world.signals(until):
        if condenser.keep(signal):
            told.log.append(signal_log.encode(signal, told.watch.now_ns))
            told.decisions += told.watch.observe(signal)
    told.decisions += told.watch.advance(world.moment(until))
    return told


def lines(decisions: Sequence[Decision]) -> list[bytes]:
    return [replay.line(decision) for decision in decisions]


def check(story: Story) -> Told:
    """Tell it; the verdicts are as expected, and what must hold in every night holds in this one."""
    told = tell(story.shop, story.steps, story.until)
    found = [(i.cause.verdict, i.scope) for i in told.incidents]
    assert found == [(verdict, scope) for verdict, scope, _ in story.told], told.incidents
    for incident, (_, _, confidence) in zip(told.incidents, story.told, strict=True):
        assert confidence <= incident.cause.confidence <= 99, incident
    assert len(told.watch.incidents) == story.open
    _in_time(story, told)
    accuses_nobody(told)
    in_order(told)
    again = lines(list(replay.replay(told.log)))
    assert again == lines(told.decisions)[: len(again)]
    assert len(told.decisions) - len(again) <= len(told.watch.incidents) + 2, "the tail after the last signal"
    return told


def _in_time(story: Story, told: Told) -> None:
    """Soon enough, and never dated before the first thing that befell the shop."""
    began_us = WALL_US + min((second for second, _ in story.steps), default=0.0) * 1e6
    for turn in told.turns:
        if turn.state in (Sight.DARK, Sight.UNUSABLE) and turn.before is Sight.UP:
            assert (turn.at.boot_ns - turn.since.boot_ns) / 1e9 <= story.within_s, turn
            assert turn.since.wall_us >= began_us, turn


def accuses_nobody(told: Told) -> None:
    for decision in told.decisions:
        leaf = decision.to_leaf()
        assert len(json.dumps(leaf, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_LEAF_BYTES
        cause = decision.cause if isinstance(decision, CameraTurned) else decision.incident.cause
        for evidence in cause.evidence if cause else ():
            assert not PERSONS.search(evidence.says), evidence
            assert len(evidence.says) < 140


def in_order(told: Told) -> None:
    """Within a run, decisions follow each other in time, and a camera's turns join without a hole."""
    newest: dict[str, CameraTurned] = {}
    run, before_ns = "", 0
    for decision in told.decisions:
        named = decision.incident if isinstance(decision, CameraTurned) else decision.incident.id
        if named and named.rpartition(".")[0] != run:
            run, before_ns, newest = named.rpartition(".")[0], 0, {}
        assert decision.at.boot_ns >= before_ns
        before_ns = decision.at.boot_ns
        if isinstance(decision, CameraTurned):
            last = newest.get(decision.camera)
            if last is not None:
                assert (decision.before, decision.before_since) == (last.state, last.since)
            newest[decision.camera] = decision
