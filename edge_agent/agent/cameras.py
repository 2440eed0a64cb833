"""What the owner knows of each camera: where its streams are, whether it sees, what was checked.

Main thread only. Decides; the owner acts on what is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.agent.reach import HostChecked
from edge_agent.capture.device_events import DeviceEvent, EventKind
from edge_agent.config import Capture, Config
from edge_agent.events import StreamLost, StreamStarted
from edge_agent.health import duty, policy, rules
from edge_agent.health.rules import CameraHealth, Changed
from edge_agent.model import Camera, Endpoint, Instant, Role, StreamKey

# Why a camera may be dark, in words that follow "the recorder says:".
HINTS = {
    EventKind.VIDEO_LOSS: "no video at this input",
    EventKind.TAMPER: "the picture was tampered with",
    EventKind.STORAGE: "its disk has failed",
    EventKind.NETWORK: "its network is disturbed",
}


@dataclass(slots=True)
class Watched:
    """One camera. `checked` is the last knock on its host since it fell silent."""

    camera: Camera
    health: CameraHealth
    streams: dict[Role, StreamStarted] = field(default_factory=dict)
    checked: HostChecked | None = None
    hints: dict[EventKind, DeviceEvent] = field(
        default_factory=dict
    )  # what its recorder says, still in force
    pictured: float = float("-inf")  # when it last showed itself unasked, monotonic seconds

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


class Cameras:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._watched: dict[str, Watched] = {}
        self._awake_ns = 0
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
            self._remember(camera, known, frozenset(after), now)
        return Wiring(tuple(stop), tuple(start))

    def started(self, fact: StreamStarted) -> Changed | None:
        watched = self._watched.get(fact.key.camera)
        if watched is None:
            return None
        watched.streams[fact.key.role] = fact
        watched.health, change = rules.stream_started(watched.health, fact.key.role, fact.at)
        if change is not None:
            watched.checked = None
        return change

    def lost(self, fact: StreamLost) -> Changed | None:
        watched = self._watched.get(fact.key.camera)
        if watched is None:
            return None
        watched.streams.pop(fact.key.role, None)
        watched.health, change = rules.stream_lost(
            watched.health, fact.key.role, fact.since, fact.reason, fact.at, self._awake_ns
        )
        return change

    def checked(self, fact: HostChecked) -> None:
        for watched in self._watched.values():
            if watched.host() == (fact.host, fact.port) and not watched.health.flowing:
                watched.checked = fact

    def hinted(self, fact: DeviceEvent) -> None:
        """Keep what a recorder says of an input, or of itself for all its inputs. Motion is no hint."""
        if fact.kind not in HINTS:
            return
        for watched in self._watched.values():
            camera = watched.camera
            if camera.recorder != fact.recorder or fact.channel not in (None, camera.channel):
                continue
            if fact.active:
                watched.hints[fact.kind] = fact
            else:
                watched.hints.pop(fact.kind, None)

    def forget_hints(self, recorder: str) -> None:
        """It tells nothing any more, so what it told last may have passed."""
        for watched in self._watched.values():
            if watched.camera.recorder == recorder:
                watched.hints.clear()

    def woke(self, now: Instant) -> None:
        """The box itself stood still until now: nobody is accused of that time."""
        self._awake_ns = now.boot_ns

    def tick(self, now: Instant) -> list[Changed]:
        changes = []
        for watched in self._watched.values():
            watched.health, change = rules.tick(watched.health, now, self._awake_ns)
            if change is not None:
                changes.append(change)
        return changes

    def due(self, watched: Watched, wall_us: int) -> bool:
        return duty.is_due(self.schedule.of(watched.camera.id), self.schedule.zone, wall_us)

    def _remember(
        self, camera: Camera, known: Watched | None, expected: frozenset[Role], now: Instant
    ) -> None:
        if known is not None:
            known.camera = camera
            return
        self._watched[camera.id] = Watched(camera, rules.begin(camera.id, expected, now))


def opened(camera: Camera, capture: Capture) -> dict[Role, Endpoint]:
    """Which streams of a camera are kept open: one RTSP session each, fanned out locally."""
    streams: dict[Role, Endpoint] = {}
    if camera.main is not None and capture.main == "record":
        streams[Role.MAIN] = camera.main
    if camera.sub is not None and capture.sub in ("record", "warm"):
        streams[Role.SUB] = camera.sub
    return streams
