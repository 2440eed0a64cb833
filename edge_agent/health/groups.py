"""Which cameras stopped together: the membership of incidents. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Incident, Sight, Verdict
from edge_agent.health.verdict import GONE, Fallen
from edge_agent.health.world import World
from edge_agent.model import Instant

JOIN_S = 30.0  # what stops within it stopped together; slates are found one picture after the other


@dataclass(slots=True)
class Open:
    """An incident that is not closed. `recovered`: its parent is well again, some cameras may not be."""

    told: Incident
    recorder: str
    active: dict[str, CameraWatch] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    recovered: Instant | None = None
    risen_ns: int | None = None
    waiting: bool = False  # all are back, the recorder's word is awaited

    @property
    def id(self) -> str:
        return self.told.id

    @property
    def turning(self) -> bool:
        """A camera that showed nothing has fallen silent too: soon something else explains it."""
        return any(c.told is Sight.UNUSABLE and not c.flowing for c in self.active.values())

    @property
    def verdict(self) -> Verdict:
        return self.told.cause.verdict


def takes(incident: Open, camera: CameraWatch) -> bool:
    """Whether an open incident of its recorder also explains this camera."""
    if incident.recovered is not None or incident.turning:
        return False
    if incident.verdict in GONE and not camera.flowing:
        return True
    apart_ns = abs(camera.onset.boot_ns - incident.told.since.boot_ns)
    return apart_ns <= JOIN_S * 1e9


def beside(world: World, camera: CameraWatch) -> list[CameraWatch]:
    """It, and those of its recorder that are silent since about the same moment and not explained yet."""
    if camera.flowing:
        return [camera]
    onset_ns = camera.onset.boot_ns
    return [
        other
        for other in world.recorder(camera.place.recorder)
        if other is camera or _silent_at(other, onset_ns)
    ]


def besides(world: World, incident: Open) -> list[CameraWatch]:
    """Cameras that are about to fall too: silent since the same moment, not yet for long enough."""
    silent = next((camera for camera in incident.active.values() if not camera.flowing), None)
    if silent is None or incident.recovered is not None:
        return []
    return [other for other in beside(world, silent) if other.id not in incident.active]


def fallen_of(world: World, incident: Open) -> Fallen:
    cameras = [*incident.active.values(), *besides(world, incident)]
    return fallen(world, incident.recorder, cameras, incident.told.since)


def fallen(world: World, recorder: str, cameras: list[CameraWatch], since: Instant | None = None) -> Fallen:
    """`since`: as it was told already; else since the first of them stopped."""
    names = {camera.id for camera in cameras}
    siblings = world.recorder(recorder)
    whole = all(camera.blind or camera.id in names for camera in siblings)
    first = since or min((camera.onset for camera in cameras), key=lambda at: at.boot_ns)
    return Fallen(recorder, tuple(cameras), whole, len(siblings), first)


def _silent_at(other: CameraWatch, onset_ns: int) -> bool:
    if other.flowing or other.incident:
        return False
    return abs(other.onset.boot_ns - onset_ns) <= JOIN_S * 1e9
