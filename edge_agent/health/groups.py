"""Which cameras stopped together: the membership of incidents. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Incident, Sight, Verdict
from edge_agent.health.verdict import GONE, Fallen
from edge_agent.health.world import World
from edge_agent.model import Instant

TOGETHER_S = 5.0  # some of a recorder's cameras: the moment alone says that they have a cause in common
SLATES_TOGETHER_S = 15.0  # slates are found one picture after the other, and are not dated better
JOIN_S = 30.0  # all of them: their recorder is the cause in common, and streams may end one by one


@dataclass(slots=True)
class Open:
    """An incident that is not closed. `recovered`: its parent is well again, some cameras may not be.

    `fell` is the beginning of what lasts now: later than the incident's own when it had ended and came again.
    """

    told: Incident
    recorder: str
    fell: Instant
    active: dict[str, CameraWatch] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    recovered: Instant | None = None
    risen_ns: int | None = None
    waiting: bool = False  # all are back, the recorder's word is awaited
    lapsed: Instant | None = None  # when it had ended, before it came again

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


def takes(world: World, incident: Open, camera: CameraWatch) -> bool:
    """Whether an open incident of its recorder also explains this camera."""
    if incident.recovered is not None or incident.turning:
        return False
    if incident.told.again and camera.id not in incident.members:
        return False  # what comes again is of those it befell before
    if incident.verdict in GONE and not camera.flowing:
        return True
    return _near(camera.onset, incident.fell, _reach_s(world, camera))


def swallows(incident: Open, other: Open) -> bool:
    """Whether `other` proves to be part of `incident`, which is of their whole recorder."""
    if other is incident or other.recorder != incident.recorder or not other.active:
        return False
    steady = other.recovered is None and not other.turning
    return steady and _near(other.fell, incident.fell, JOIN_S)


def beside(world: World, camera: CameraWatch) -> list[CameraWatch]:
    """It, and those of its recorder that are silent since the same moment and not explained yet."""
    if camera.flowing:
        return [camera]
    reach_s = _reach_s(world, camera)
    return [
        other
        for other in world.recorder(camera.place.recorder)
        if other is camera or _silent_at(other, camera.onset, reach_s)
    ]


def besides(world: World, incident: Open) -> list[CameraWatch]:
    """Cameras that are about to fall too: silent since the same moment, not yet for long enough."""
    silent = next((camera for camera in incident.active.values() if not camera.flowing), None)
    if silent is None or incident.recovered is not None:
        return []
    return [other for other in beside(world, silent) if other.id not in incident.active]


def fallen_of(world: World, incident: Open) -> Fallen:
    cameras = [*incident.active.values(), *besides(world, incident)]
    return fallen(world, incident.recorder, cameras, incident.fell)


def fallen(world: World, recorder: str, cameras: list[CameraWatch], since: Instant | None = None) -> Fallen:
    """`since`: as it was told already; else since the first of them stopped."""
    names = {camera.id for camera in cameras}
    siblings = world.recorder(recorder)
    whole = all(camera.blind or camera.id in names for camera in siblings)
    first = since or min((camera.onset for camera in cameras), key=lambda at: at.boot_ns)
    return Fallen(recorder, tuple(cameras), whole, len(siblings), first)


def _reach_s(world: World, camera: CameraWatch) -> float:
    """How far apart cameras may have stopped to have one cause. Two that fail within half a minute while
    others see are two failures; cameras of their own have no recorder that could be the cause."""
    siblings = world.recorder(camera.place.recorder)
    if camera.place.recorder and all(other is camera or other.blind for other in siblings):
        return JOIN_S
    return SLATES_TOGETHER_S if camera.flowing else TOGETHER_S


def _silent_at(other: CameraWatch, onset: Instant, reach_s: float) -> bool:
    return not other.flowing and not other.incident and _near(other.onset, onset, reach_s)


def _near(one: Instant, other: Instant, reach_s: float) -> bool:
    return abs(one.boot_ns - other.boot_ns) <= reach_s * 1e9
