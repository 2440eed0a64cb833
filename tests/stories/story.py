"""What a story is, and whether what was told of it is right."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from world import World

from edge_agent.uplink.messages import wall_us

Act = Callable[[World], object]

PACKETS_S, SLATE_S = 15.0, 45.0  # from the event to the command centre
BLIND = ("dark", "unusable")
SETTLE_S = 170.0
STEADY_S = 4.0  # so long must the right word stand
ACCUSING = re.compile(
    r"\b(someone|somebody|person|people|staff|owner|manager|guard|employee|operator|thief|stol\w+|theft"
    r"|deliberate\w*|intention\w*|sabotag\w*|tamper\w*|switched off|unplugged by|hid\w*|culprit|blame\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Told:
    """One incident as it must stand in the end: any of the verdicts, of this scope, with so many cameras."""

    verdicts: str  # separated by |
    scope: str
    cameras: int = 0

    def fits(self, leaf: dict[str, Any]) -> bool:
        return (
            leaf["verdict"] in self.verdicts.split("|")
            and leaf["scope"] == self.scope
            and len(leaf["cameras"]) == self.cameras
        )


@dataclass(frozen=True, slots=True)
class Story:
    """`acts`: (seconds, what befalls). `told`: the incidents while it lasts, none for a disturbance.

    `within_s`: from the first act until the command centre hears; None when it cannot hear before `mend`, or
    when nothing promises a time. `true_s`: how far `since` may lie from the first act. `finally_`: a verdict
    that stands once all is well again. `fell`: the cameras that must be called dark or unusable, no others;
    or how many, where chance chooses.
    `quiet_s`: how long nothing may be told. `later`: judged from what the mirror holds after the mending.
    `last`: the shop is not well again before its day is over.
    """

    name: str
    acts: tuple[tuple[float, Act], ...]
    mend: tuple[Act, ...] = ()
    told: tuple[Told, ...] = ()
    within_s: float | None = None
    by_s: float = 75.0
    true_s: float = 4.0
    finally_: str = ""
    fell: frozenset[str] | int = frozenset()
    never: str = ""
    quiet_s: float = 0.0
    later: bool = False
    planned: bool = False
    last: bool = False
    ups: bool | None = None
    night: bool | None = None


@dataclass(slots=True)
class Outcome:
    name: str
    night: bool
    verdicts: str = ""
    seconds: float | None = None
    late: bool = False
    accuses: bool = False
    wrongs: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)  # all that was told, where something was wrong

    @property
    def right(self) -> bool:
        return not self.wrongs


def play(story: Story, world: World) -> Outcome:
    """The story from a shop that is well to one that is well again."""
    outcome = Outcome(story.name, world.night)
    began, began_us = time.monotonic(), time.time_ns() // 1000
    for at, act in story.acts:
        time.sleep(max(0.0, began + at - time.monotonic()))
        act(world)
    if story.quiet_s:
        time.sleep(max(0.0, began + story.quiet_s - time.monotonic()))
    elif not story.later:
        _wait_until_told(story, world, began)
    during = list(newest(world.heard(began)).values())
    for act in story.mend:
        act(world)
    settled = story.last or world.wait(lambda: _settled(world, began_us), SETTLE_S)
    if not settled:
        outcome.wrongs.append(f"not well again: {world.states()}")
    _judge(story, outcome, world.heard(began), during, world.mirrored(began_us), began_us)
    return outcome


def newest(heard: list[tuple[float, str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The last word of every incident, without those that went on in another."""
    words = {str(leaf["incident"]): leaf for _, kind, leaf in heard if kind == "incident"}
    return {name: leaf for name, leaf in words.items() if "into" not in leaf}


def _wait_until_told(story: Story, world: World, began: float) -> None:
    def right() -> bool:
        return matches(story.told, list(newest(world.heard(began)).values()))

    deadline = began + story.by_s
    while time.monotonic() < deadline:
        if not world.wait(right, deadline - time.monotonic()):
            return
        time.sleep(STEADY_S)
        if right():
            return


def matches(wanted: tuple[Told, ...], found: list[dict[str, Any]]) -> bool:
    """One for one, nothing left over."""
    left = list(found)
    for want in wanted:
        fitting = next((leaf for leaf in left if want.fits(leaf)), None)
        if fitting is None:
            return False
        left.remove(fitting)
    return not left


def _settled(world: World, began_us: int) -> bool:
    if not (world.seeing() and world.linked() and world.told_all()):
        return False
    words = newest([(0.0, kind, leaf) for kind, leaf in world.mirrored(began_us)])
    return all(leaf["step"] != "opened" and leaf["until"] for leaf in words.values())


def _judge(
    story: Story,
    outcome: Outcome,
    heard: list[tuple[float, str, dict[str, Any]]],
    during: list[dict[str, Any]],
    mirrored: list[tuple[str, dict[str, Any]]],
    began_us: int,
) -> None:
    ended = list(newest([(0.0, kind, leaf) for kind, leaf in mirrored]).values())
    judged = ended if story.later or story.planned else during
    outcome.verdicts = ", ".join(sorted(_word(leaf) for leaf in judged)) or "nothing"
    if story.finally_ and not story.later:
        outcome.verdicts += " > " + ", ".join(sorted(leaf["verdict"] for leaf in ended))
    _judge_words(story, outcome, judged, ended)
    _judge_cameras(story, outcome, mirrored, began_us)
    outcome.seconds = None if story.later else first_word(heard)
    if story.within_s is not None:
        outcome.late = outcome.seconds is None or outcome.seconds > story.within_s
    if story.planned and any(
        leaf.get("step", leaf.get("state")) in ("opened", *BLIND) for _, _, leaf in heard
    ):
        outcome.wrongs.append("raised an alarm for announced work")
    if outcome.wrongs:
        outcome.history = [_line(kind, leaf) for kind, leaf in mirrored]
    said = [e["says"] for _, leaf in mirrored for e in leaf.get("evidence", ())]
    outcome.accuses = any(ACCUSING.search(text) for text in said)


def _judge_words(
    story: Story, outcome: Outcome, judged: list[dict[str, Any]], ended: list[dict[str, Any]]
) -> None:
    if not matches(story.told, judged):
        outcome.wrongs.append(f"told {[_word(leaf) for leaf in judged]}, expected {list(story.told)}")
    if story.finally_ and not any(leaf["verdict"] in story.finally_.split("|") for leaf in ended):
        outcome.wrongs.append(f"in the end {[_word(leaf) for leaf in ended]}, expected {story.finally_}")
    if story.planned and not all(leaf.get("planned") for leaf in ended):
        outcome.wrongs.append("the work is not on record")
    if forbidden := [leaf["verdict"] for leaf in ended if leaf["verdict"] in story.never.split("|")]:
        outcome.wrongs.append(f"must not be said: {forbidden}")


def _judge_cameras(
    story: Story, outcome: Outcome, mirrored: list[tuple[str, dict[str, Any]]], began_us: int
) -> None:
    blind = [leaf for kind, leaf in mirrored if kind == "camera" and leaf["state"] in BLIND]
    names = {str(leaf["camera"]) for leaf in blind}
    if (len(names) if isinstance(story.fell, int) else names) != story.fell:
        outcome.wrongs.append(f"fell {sorted(names)}, not {story.fell}")
    for leaf in {str(leaf["camera"]): leaf for leaf in reversed(blind)}.values():
        off_s = (wall_us(leaf["since"]) - began_us) / 1e6
        if not -2 <= off_s <= story.true_s:
            outcome.wrongs.append(f"{leaf['camera']} since {off_s:+.0f} s of the event")


def first_word(heard: list[tuple[float, str, dict[str, Any]]]) -> float | None:
    """Seconds until the first camera was told to be down; without one, until the first incident."""
    falls = [s for s, kind, leaf in heard if kind == "camera" and leaf["state"] in BLIND]
    return min(falls or [s for s, kind, _ in heard if kind == "incident"], default=None)


def _word(leaf: dict[str, Any]) -> str:
    return f"{leaf['verdict']} ({leaf['scope']}, {len(leaf['cameras'])})"


def _line(kind: str, leaf: dict[str, Any]) -> str:
    who = leaf["camera"] if kind == "camera" else f"{leaf['incident']} {leaf['step']} {leaf['cameras']}"
    says = [e["says"] for e in leaf.get("evidence", ())]
    state, scope = leaf.get("state", ""), leaf.get("scope", "")
    return f"{kind} {who} {state}{scope} since {leaf['since']} {leaf.get('verdict')} {says}"
