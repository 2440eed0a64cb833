"""What is over and comes again soon is the same failure: a loose plug is one incident, not sixty. Pure.

The first end of an incident is told at once. When it comes again within `CALM_S` the incident goes on, and
from then on its end is told only after a calm, which doubles with every relapse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from edge_agent.health import says
from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Cause, Incident, IncidentRevised
from edge_agent.health.groups import Open
from edge_agent.health.verdict import GONE, Ruling
from edge_agent.health.world import World
from edge_agent.model import Instant

CALM_S, LONGEST_CALM_S = 60.0, 600.0
REMEMBERED = 64  # incidents that ended last


class Lapses:
    """Those that have ended lately; which of them a camera that falls belongs to."""

    def __init__(self) -> None:
        self._ended: deque[tuple[Open, Instant]] = deque(maxlen=REMEMBERED)

    def ended(self, incident: Open, until: Instant) -> None:
        self._ended.append((incident, until))

    def again(self, camera: CameraWatch, ruling: Ruling, still_open: Iterable[Open]) -> Open | None:
        """The incident that comes again with this camera, if its cause looks the same."""
        for incident, until in self._candidates(still_open):
            passed_s = (camera.onset.boot_ns - until.boot_ns) / 1e9
            known = incident.recorder == camera.place.recorder and camera.id in incident.members
            if known and 0 <= passed_s <= calm_s(incident) and _alike(incident.told, ruling):
                self._ended = deque((e for e in self._ended if e[0] is not incident), REMEMBERED)
                return incident
        return None

    def _candidates(self, still_open: Iterable[Open]) -> Iterator[tuple[Open, Instant]]:
        """Those that wait for calm, then the closed ones, the newest first."""
        for incident in still_open:
            if incident.recovered is not None and not incident.active:
                yield incident, incident.recovered
        yield from reversed(self._ended)


def calm_s(incident: Open) -> float:
    """How long it must be well to be over."""
    return float(min(CALM_S * 2 ** min(incident.told.again, 8), LONGEST_CALM_S))


def relapse(world: World, incident: Open, cause: Cause, fell: Instant) -> None:
    """It lasts again since `fell`; told is that it had ended before."""
    for name in ("word", "calm"):
        world.deadlines.clear(f"{name}:{incident.id}")
    times = incident.told.again + 1
    incident.lapsed = incident.recovered or fell
    incident.fell, incident.recovered, incident.risen_ns, incident.waiting = fell, None, None, False
    again = says.again(times, incident.told.since)
    cause = replace(cause, evidence=(again, *cause.evidence))
    planned = world.site.planned(incident.told.cameras, world.now.wall_us)
    incident.told = replace(incident.told, cause=cause, planned=planned, again=times)
    world.decided.append(IncidentRevised(world.now, incident.told))


def _alike(told: Incident, ruling: Ruling) -> bool:
    """A recorder that is gone is gone; whether off or unreachable, it tells when it is back."""
    if told.scope is not ruling.scope:
        return False
    before, now = told.cause.verdict, ruling.cause.verdict
    return before is now or (before in GONE and now in GONE)
