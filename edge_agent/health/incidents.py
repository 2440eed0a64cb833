"""One failure, one incident: what fell together is told together, revised, and closed. Pure.

Every camera that is down belongs to exactly one open incident. A failure of the recorder, the power or the
box's own network takes its cameras along; when that parent has recovered and a camera has not, the incident
ends and the camera gets one of its own from that moment on.
"""

from __future__ import annotations

from dataclasses import replace

from edge_agent.health import groups
from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import (
    Incident,
    IncidentClosed,
    IncidentOpened,
    IncidentRevised,
    Scope,
    Sight,
    Verdict,
)
from edge_agent.health.groups import Open
from edge_agent.health.lapses import Lapses, calm_s, relapse
from edge_agent.health.rising import is_rising, is_unpowered
from edge_agent.health.verdict import AWAY, GONE, Fallen, Ruling, on_return, rule, turned
from edge_agent.health.world import World
from edge_agent.model import Instant

GATHER_S = 2.0  # one revision for what comes in together
GATHER_SLATES_S = 10.0  # pictures are looked at one camera after the other
WORD_S = 90.0  # after a return: the recorder is given that long to say since when it runs
SURER = 10  # points of confidence worth a revision of their own
GRACE_S = {Verdict.POWER_CUT: 600.0, Verdict.LAN_DOWN: 30.0}  # a recorder takes minutes to start
GRACE_OTHERS_S = 60.0
PARENTS = (AWAY - {Verdict.POWER_CUT}) | {Verdict.ALL_CAMERAS_OFF, Verdict.LAN_DOWN}  # one back: it is well


class Incidents:
    """Owned by the night watch; decisions go to `world.decided`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, Open] = {}
        self._lapses = Lapses()

    @property
    def open(self) -> tuple[Incident, ...]:
        return tuple(incident.told for incident in self._open.values())

    # Cameras fall and come back.

    def fell(self, camera: CameraWatch) -> None:
        """`camera` is down now: put it into the incident that explains it, and tell its new state."""
        joined = self._that_took(camera)
        if joined is None:
            fallen = groups.fallen(self._world, camera.place.recorder, groups.beside(self._world, camera))
            ruling = rule(fallen, self._world.site)
            joined = self._shared(ruling) or self._relapsed(camera, ruling, fallen)
            joined = joined or self.start(ruling, fallen)
        else:
            fallen = groups.fallen(self._world, joined.recorder, [*joined.active.values(), camera])
        joined.active[camera.id] = camera
        joined.members.add(camera.id)
        if camera.id not in joined.told.cameras:
            self.touch(joined)
        sight = turned(replace(fallen, cameras=(camera,)), self._world.site)
        self._world.turn(camera, sight, camera.onset, joined.told.cause, joined.id, joined.told.again)

    def returned(self, camera: CameraWatch, back: Instant) -> None:
        """`camera` sees again; tells it, and what that means for its incident."""
        incident = self._open.get(camera.incident)
        self._world.turn(camera, Sight.UP, back, None, "", incident.told.again if incident else 0)
        if incident is None:
            return
        incident.active.pop(camera.id, None)
        if incident.verdict in PARENTS and incident.recovered is None:
            self._recover(incident, back)
        if not incident.active:
            self._all_back(incident, back)

    def leave(self, camera: CameraWatch) -> None:
        """What it was down for is over, though it does not see: something else explains it from now on."""
        incident = self._open.get(camera.incident)
        camera.incident, camera.blind_since = "", None
        if incident is not None:
            incident.active.pop(camera.id, None)
            if not incident.active:
                self._all_back(incident, camera.last_packet)

    def start(self, ruling: Ruling, fallen: Fallen, until: Instant | None = None) -> Open:
        """Open an incident; with `until` it is over already and closed at once."""
        world = self._world
        world.opened += 1
        told = Incident(
            f"{world.run}{world.opened}",
            ruling.scope,
            ruling.subject,
            ruling.cause,
            tuple(sorted(camera.id for camera in fallen.cameras)),
            fallen.since,
        )
        told = replace(told, planned=world.site.planned(told.cameras, world.now.wall_us))
        incident = Open(told, fallen.recorder, fallen.since)
        self._open[told.id] = incident
        world.decided.append(IncidentOpened(world.now, told))
        if until is not None:
            self.close(incident, until)
        return incident

    def close(self, incident: Open, until: Instant, into: str = "") -> None:
        del self._open[incident.id]
        for name in ("revise", "orphans", "word", "calm"):
            self._world.deadlines.clear(f"{name}:{incident.id}")
        cameras = tuple(sorted(incident.members)) or incident.told.cameras
        told = replace(incident.told, until=until, cameras=cameras)
        if incident.members and not into:
            self._lapses.ended(incident, until)
        self._world.decided.append(IncidentClosed(self._world.now, told, into))

    # What came to be known since.

    def touch(self, incident: Open) -> None:
        """Look at its verdict again, soon: several news often come together."""
        name = f"revise:{incident.id}"
        if not self._world.deadlines.has(name):
            seen = any(camera.flowing for camera in incident.active.values())
            self._world.deadlines.set(name, self._world.after(GATHER_SLATES_S if seen else GATHER_S))

    def touch_recorder(self, recorder: str) -> None:
        for incident in self._open.values():
            if incident.active and incident.recorder == recorder:
                self.touch(incident)

    def touch_all(self) -> None:
        for incident in list(self._open.values()):
            if incident.active or incident.told.planned:
                self.touch(incident)

    def told_its_start(self, recorder: str) -> None:
        """A recorder said since when it runs: an outage that waited for that can be closed."""
        for incident in list(self._open.values()):
            if incident.waiting and incident.recorder == recorder:
                self._finish(incident)

    def parent_recovered(self, verdict: Verdict, at: Instant) -> None:
        """Mains or the box's own link is back: what it took along has a while to come back too."""
        for incident in list(self._open.values()):
            if incident.verdict is not verdict or incident.recovered is not None:
                continue
            if incident.active:
                self._recover(incident, at)
            else:
                self.close(incident, at)

    def parent_failed(self, verdict: Verdict) -> None:
        for incident in self._open.values():
            if incident.verdict is verdict:
                incident.recovered = None
                self._world.deadlines.clear(f"orphans:{incident.id}")

    def overtaken(self, at: Instant) -> None:
        """The box sees nothing any more: whether these cameras are still dark, nobody can tell."""
        for incident in list(self._open.values()):
            if incident.verdict in GRACE_S or not incident.active or incident.turning:
                continue
            cameras = list(incident.active.values())
            incident.active.clear()
            self.close(incident, at)
            self._explain_anew(cameras, at)

    def due(self, what: str, id_: str) -> None:
        """A deadline of an incident has come."""
        incident = self._open.get(id_)
        if incident is None:
            return
        if what == "revise":
            self._revise(incident)
        elif what == "orphans":
            self._leave_orphans(incident)
        elif what in ("word", "calm"):
            self._finish(incident)

    def find(self, scope: Scope, *verdicts: Verdict) -> Open | None:
        """The open incident of that scope, of any of these verdicts."""
        for incident in self._open.values():
            if incident.told.scope is scope and incident.verdict in verdicts:
                return incident
        return None

    def find_of(self, recorder: str, verdict: Verdict) -> Open | None:
        for incident in self._open.values():
            if incident.recorder == recorder and incident.verdict is verdict:
                return incident
        return None

    def retell(self, incident: Open, ruling: Ruling) -> None:
        """Tell another verdict, scope or set of cameras; nothing if nothing worth telling changed."""
        told = incident.told
        cameras = tuple(sorted(incident.members | {c.id for c in groups.besides(self._world, incident)}))
        planned = self._world.site.planned(cameras, self._world.now.wall_us)
        surer = ruling.cause.confidence - told.cause.confidence >= SURER
        same = ruling.cause.verdict is told.cause.verdict and ruling.scope is told.scope
        cause = told.cause if same and not surer else ruling.cause
        fresh = replace(
            told, scope=ruling.scope, subject=ruling.subject, cause=cause, cameras=cameras, planned=planned
        )
        if fresh != told:
            incident.told = fresh
            self._world.decided.append(IncidentRevised(self._world.now, fresh))

    def _revise(self, incident: Open) -> None:
        if incident.waiting or not incident.active or incident.turning:
            return
        told = Ruling(incident.told.scope, incident.told.subject, incident.told.cause)
        if incident.recovered is not None:
            self.retell(incident, told)
            return
        if self._world.site.carrier_lost is not None and incident.verdict in GONE:
            return  # knocks through a dead port tell nothing
        fallen = groups.fallen_of(self._world, incident)
        ruling = rule(fallen, self._world.site)
        if is_rising(self._world, incident, ruling) or is_unpowered(self._world, incident):
            ruling = told
        other = self._shared(ruling)
        if other is not None and other is not incident:
            self._absorb(incident, other)
            return
        several = len(incident.members) > 1
        if (several and ruling.scope is Scope.CAMERA) or (incident.told.again and not several):
            ruling = told  # the last of several is no other failure; what comes again is the same one
        if ruling.scope is Scope.RECORDER and fallen.whole:
            self._swallow(incident)
        self.retell(incident, ruling)
        self._retell_states(incident)

    def _retell_states(self, incident: Open) -> None:
        """A camera is dark or unknown by whether the box itself could have seen it."""
        fallen = groups.fallen_of(self._world, incident)
        for camera in list(incident.active.values()):
            sight = turned(replace(fallen, cameras=(camera,)), self._world.site)
            if sight is not camera.told and camera.told is not Sight.UNKNOWN:  # nobody could tell: still so
                self._world.turn(camera, sight, camera.onset, incident.told.cause, incident.id)

    def _absorb(self, incident: Open, other: Open) -> None:
        moved, incident.active = incident.active, {}
        for camera in moved.values():
            camera.incident = other.id
        other.active.update(moved)
        ended = incident.lapsed  # then only what came after belongs to the other
        other.members |= incident.members if ended is None else moved.keys()
        self.close(incident, ended or self._world.now, into="" if ended else other.id)
        for camera in moved.values() if ended else ():
            self._world.turn(camera, camera.told, camera.onset, other.told.cause, other.id)
        self.touch(other)
        self._retell_states(other)

    def _swallow(self, incident: Open) -> None:
        """It proves to be of the whole recorder: what was told apart a moment before is part of it."""
        for other in list(self._open.values()):
            if not groups.swallows(incident, other):
                continue
            if other.lapsed is None:
                first = min(incident.told.since, other.told.since, key=lambda at: at.boot_ns)
                incident.told = replace(incident.told, since=first)
            self._absorb(other, incident)

    # The end.

    def _recover(self, incident: Open, at: Instant) -> None:
        incident.recovered = at
        grace_s = GRACE_S.get(incident.verdict, GRACE_OTHERS_S)
        self._world.deadlines.set(f"orphans:{incident.id}", self._world.after(grace_s))

    def _leave_orphans(self, incident: Open) -> None:
        """The parent is well, these cameras are not: from its recovery on that is another failure."""
        recovered = incident.recovered
        if recovered is None:
            return
        orphans = list(incident.active.values())
        incident.active.clear()
        self._end(incident, recovered)
        self._explain_anew(orphans, recovered)

    def _explain_anew(self, cameras: list[CameraWatch], since: Instant) -> None:
        for camera in cameras:
            camera.incident, camera.explained = "", since
            if camera.flowing:
                camera.blind_since = since
        for camera in cameras:
            self.fell(camera)

    def _all_back(self, incident: Open, back: Instant) -> None:
        if incident.verdict is Verdict.POWER_CUT and self._world.site.on_battery is not None:
            return
        incident.recovered = back
        self._world.deadlines.clear(f"orphans:{incident.id}")
        if incident.told.again:  # it has lapsed before: it is over when it stays well
            self._world.deadlines.set(f"calm:{incident.id}", self._world.after(calm_s(incident)))
            return
        if incident.told.scope is Scope.RECORDER and incident.verdict in AWAY:
            incident.waiting = True
            clock = self._world.site.clocks.get(incident.recorder)
            if clock is None or clock.started_us is None or clock.at.boot_ns < back.boot_ns:
                self._world.deadlines.set(f"word:{incident.id}", self._world.after(WORD_S))
                return
        self._finish(incident)

    def _finish(self, incident: Open) -> None:
        self._end(incident, incident.recovered or self._world.now)

    def _end(self, incident: Open, until: Instant) -> None:
        """Close it, with the verdict that its end gives."""
        told = incident.told
        if told.scope is Scope.RECORDER:
            fallen = Fallen(incident.recorder, (), True, len(incident.members), incident.fell)
            incident.told = replace(told, cause=on_return(told.cause, fallen, until, self._world.site))
        if incident.verdict is not told.cause.verdict:
            self._world.decided.append(IncidentRevised(self._world.now, incident.told))
        self.close(incident, until)

    # Who belongs together.

    def _that_took(self, camera: CameraWatch) -> Open | None:
        """The open incident of its recorder that also explains this camera."""
        for incident in list(self._open.values()):
            if incident.recorder != camera.place.recorder or not incident.members:
                continue
            if incident.waiting:
                if not camera.flowing:
                    self._finish(incident)  # silent again: that is another time
            elif groups.takes(self._world, incident, camera):
                return incident
        return None

    def _relapsed(self, camera: CameraWatch, ruling: Ruling, fallen: Fallen) -> Open | None:
        """The incident of before, if the same has come again soon after its end: it goes on."""
        incident = self._lapses.again(camera, ruling, self._open.values())
        if incident is not None:
            self._open[incident.id] = incident
            relapse(self._world, incident, ruling.cause, fallen.since)
        return incident

    def _shared(self, ruling: Ruling) -> Open | None:
        """Power and the box's own link fail once for all recorders."""
        if ruling.scope is Scope.SITE and ruling.cause.verdict is Verdict.POWER_CUT:
            return self.find(Scope.SITE, Verdict.POWER_CUT)
        if ruling.scope is Scope.BOX and ruling.cause.verdict is Verdict.LAN_DOWN:
            return self.find(Scope.BOX, Verdict.LAN_DOWN)
        return None
