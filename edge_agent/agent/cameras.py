"""What the owner knows of each camera: where its streams are, whether it sees, what was checked.

Main thread only. Decides; the owner acts on what is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.agent import senses
from edge_agent.agent.reach import HostChecked
from edge_agent.capture.device_events import DeviceEvent, EventKind
from edge_agent.config import Capture, Config
from edge_agent.events import StreamLost, StreamStarted
from edge_agent.health import duty, policy
from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Cause
from edge_agent.health.signals import CameraKnown
from edge_agent.model import Camera, Endpoint, Instant, Role, StreamKey

# Why a camera may be dark, in words that follow "the recorder says:".
HINTS = {
    EventKind.VIDEO_LOSS: "no video at this input",
    EventKind.TAMPER: "its alarm for a changed picture is on",
    EventKind.STORAGE: "its disk has failed",
    EventKind.NETWORK: "its network is disturbed",
}


@dataclass(slots=True)
class Watched:
    """One camera. `checked` is the last knock on its host since it fell silent."""

    camera: Camera
    sight_of: Callable[[str], CameraWatch | None]
    cause: Cause | None = None  # why it does not see, as it was told last
    streams: dict[Role, StreamStarted] = field(default_factory=dict)
    checked: HostChecked | None = None
    hints: dict[EventKind, DeviceEvent] = field(
        default_factory=dict
    )  # what its recorder says, still in force
    pictured: float = float("-inf")  # when it last showed itself unasked, monotonic seconds

    @property
    def health(self) -> CameraWatch:
        """What the night watch knows of it."""
        health = self.sight_of(self.camera.id)
        assert health is not None, f"the night watch was never told of {self.camera.id}"
        return health

    def endpoint(self, role: Role) -> Endpoint | None:
        return self.camera.main if role is Role.MAIN else self.camera.sub

    def host(self) -> tuple[str, int] | None:
        endpoint = self.camera.main or self.camera.sub
        return (endpoint.host, endpoint.port) if endpoint else None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What must change in capture after cameras were (re)found; a moved stream is stopped and started."""

    stop: tuple[StreamKey, ...]
    start: tuple[tuple[StreamKey, Camera, Endpoint], ...]
    known: tuple[CameraKnown, ...] = ()  # to tell the night watch first


class Cameras:
    def __init__(self, config: Config, sight_of: Callable[[str], CameraWatch | None]) -> None:
        """`sight_of(camera)` is the night watch's word, had once it was told of the camera."""
        self._config = config
        self._sight_of = sight_of
        self._watched: dict[str, Watched] = {}
        self.schedule = policy.demand(config).schedule

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    def __len__(self) -> int:
        return len(self._watched)

    def get(self, camera_id: str) -> Watched | None:
        return self._watched.get(camera_id)

    def admit(self, cameras: Iterable[Camera], now: Instant) -> Wiring:
        """Take what a recorder reports. Cameras it no longer reports stay: gone is a fact to watch."""
        stop: list[StreamKey] = []
        start: list[tuple[StreamKey, Camera, Endpoint]] = []
        news: list[CameraKnown] = []
        for camera in cameras:
            known = self._watched.get(camera.id)
            before = opened(known.camera, self._config.capture) if known else {}
            after = opened(camera, self._config.capture)
            for role in Role:
                if before.get(role) == after.get(role):
                    continue
                key = StreamKey(camera.id, role)
                stop += [key] if role in before else []
                start += [(key, camera, after[role])] if role in after else []
            news.append(senses.known(camera, tuple(sorted(after)), now))
            if known is None:
                self._watched[camera.id] = Watched(camera, self._sight_of)
            else:
                known.camera = camera
        return Wiring(tuple(stop), tuple(start), tuple(news))

    def started(self, fact: StreamStarted) -> None:
        watched = self._watched.get(fact.key.camera)
        if watched is not None:
            watched.streams[fact.key.role] = fact
            watched.checked = None

    def lost(self, fact: StreamLost) -> None:
        watched = self._watched.get(fact.key.camera)
        if watched is not None:
            watched.streams.pop(fact.key.role, None)

    def silent_hosts(self) -> frozenset[tuple[str, int]]:
        """Where to knock: the hosts of cameras whose every stream was tried and gives nothing."""
        return frozenset(
            host
            for watched in self._watched.values()
            if not watched.health.flowing and watched.health.words and (host := watched.host())
        )

    def silent_recorders(self) -> frozenset[str]:
        """Recorders without a camera that sends anything."""
        speaking = {w.camera.recorder for w in self._watched.values() if w.health.flowing}
        return frozenset({w.camera.recorder for w in self._watched.values()} - speaking)

    def at(self, recorder: str, channel: int | None) -> list[Watched]:
        """The camera at a recorder's channel; all of them for None."""
        places = ((w, w.camera) for w in self._watched.values())
        return [w for w, c in places if c.recorder == recorder and channel in (None, c.channel)]

    def checked(self, fact: HostChecked) -> None:
        for watched in self._watched.values():
            if watched.host() == (fact.host, fact.port) and not watched.health.flowing:
                watched.checked = fact

    def hinted(self, fact: DeviceEvent) -> None:
        """Keep what a recorder says of an input, or of itself for all its inputs. Motion is no hint."""
        if fact.kind not in HINTS:
            return
        for watched in self.at(fact.recorder, fact.channel):
            if fact.active:
                watched.hints[fact.kind] = fact
            else:
                watched.hints.pop(fact.kind, None)

    def forget_hints(self, recorder: str) -> None:
        """It tells nothing any more, so what it told last may have passed."""
        for watched in self._watched.values():
            if watched.camera.recorder == recorder:
                watched.hints.clear()

    def due(self, watched: Watched, wall_us: int) -> bool:
        return duty.is_due(self.schedule.of(watched.camera.id), self.schedule.zone, wall_us)


def opened(camera: Camera, capture: Capture) -> dict[Role, Endpoint]:
    """Which streams of a camera are kept open: one RTSP session each, fanned out locally."""
    streams: dict[Role, Endpoint] = {}
    if camera.main is not None and capture.main == "record":
        streams[Role.MAIN] = camera.main
    if camera.sub is not None and capture.sub in ("record", "warm"):
        streams[Role.SUB] = camera.sub
    return streams
