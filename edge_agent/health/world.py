"""What the parts of the night watch share: the cameras, what is known of the site, time, decisions. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.health.camera import CameraWatch
from edge_agent.health.deadlines import Deadlines
from edge_agent.health.decisions import CameraTurned, Cause, Decision, Sight
from edge_agent.health.site import Site
from edge_agent.model import Instant


@dataclass(slots=True)
class World:
    """`now` follows the signals and the deadlines; it never runs back."""

    now: Instant = field(default_factory=lambda: Instant(0, 0))
    cameras: dict[str, CameraWatch] = field(default_factory=dict)
    site: Site = field(default_factory=Site)
    deadlines: Deadlines = field(default_factory=Deadlines)
    decided: list[Decision] = field(default_factory=list)
    run: str = ""  # begins the ids of this run's incidents
    opened: int = 0

    def move(self, to_ns: int) -> None:
        """Let the time be `to_ns`, on the wall clock as the newest signal had it."""
        passed_ns = to_ns - self.now.boot_ns
        if passed_ns > 0:
            self.now = Instant(self.now.wall_us + passed_ns // 1000, to_ns, self.now.trust)

    def follow(self, at: Instant) -> None:
        """Take the wall clock from a signal, unless it comes late."""
        if at.boot_ns >= self.now.boot_ns:
            self.now = at

    def after(self, seconds: float) -> int:
        return self.now.boot_ns + int(seconds * 1e9)

    def recorder(self, name: str) -> list[CameraWatch]:
        return [camera for camera in self.cameras.values() if camera.place.recorder == name]

    def turn(
        self,
        camera: CameraWatch,
        state: Sight,
        since: Instant,
        cause: Cause | None,
        incident: str,
        again: int = 0,
    ) -> None:
        """Tell a camera's new state, or the new incident that explains it, which may have come `again`."""
        before, before_since = camera.told, camera.told_since
        camera.state = camera.told = state
        camera.since = camera.told_since = since
        camera.incident = incident
        if state is Sight.UP:
            camera.blind_since = None
        planned = self.site.planned((camera.id,), self.now.wall_us) if state is not Sight.UP else None
        self.decided.append(
            CameraTurned(
                self.now, camera.id, before, before_since, state, since, cause, incident, planned, again
            )
        )
