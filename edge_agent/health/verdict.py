"""Why did these cameras stop? One ruling over all that is known. Pure; docs/design/night-watch.md.

A ruling claims no more than a box beside the recorder can know. A recorder that is switched off and one whose
cable is pulled look alike from here: the address does not resolve. What tells them apart comes later, when
it is back and says since when it runs (`on_return`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.health import says
from edge_agent.health.camera import CameraWatch
from edge_agent.health.decisions import Cause, Evidence, Scope, Sight, Verdict
from edge_agent.health.signals import HostKnocked, Mains
from edge_agent.health.site import VIDEO_LOSS, Battery, Site
from edge_agent.model import Instant

REBOOT_S = 300.0  # a recorder that restarts is back within it
PROMPT_S = 15.0  # a UPS that is told of later may be slow, or mains may have failed after the cameras
LATE_CONFIDENCE = 60
MOVED_S = 60.0  # two clocks: a start must differ by more to be another start

GONE = frozenset({Verdict.DVR_OFF, Verdict.DVR_OFF_MAINS_PRESENT, Verdict.DVR_UNREACHABLE})
REFUSED = frozenset({Verdict.STREAM_REFUSED, Verdict.LOGIN_REFUSED})
AWAY = GONE | {Verdict.DVR_REFUSES, Verdict.UNDETERMINED, Verdict.POWER_CUT}


@dataclass(frozen=True, slots=True)
class Ruling:
    scope: Scope
    subject: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Fallen:
    """Cameras that stopped together. `whole`: no other camera of the same recorder sees."""

    recorder: str
    cameras: tuple[CameraWatch, ...]
    whole: bool
    total: int
    since: Instant

    @property
    def silent(self) -> bool:
        return not any(c.flowing for c in self.cameras)

    @property
    def together(self) -> bool:
        return self.whole and len(self.cameras) > 1


def rule(fallen: Fallen, site: Site) -> Ruling:
    battery = site.battery_at(fallen.since.boot_ns)
    ruling = _rule(fallen, site, battery)
    if battery is None or ruling.cause.verdict is not Verdict.POWER_CUT:
        return ruling
    after_s = (battery.since.boot_ns - fallen.since.boot_ns) / 1e9
    if after_s <= PROMPT_S:
        return ruling
    confidence = min(ruling.cause.confidence, LATE_CONFIDENCE)
    return replace(ruling, cause=replace(ruling.cause, confidence=confidence))


def _rule(fallen: Fallen, site: Site, battery: Battery | None) -> Ruling:
    lost = site.link_lost_by(fallen.since.boot_ns)
    if fallen.silent and lost is not None:
        return _no_link(lost, battery)
    if fallen.whole and fallen.silent and (fallen.recorder or fallen.together):
        return _recorder_silent(fallen, site, battery)
    if fallen.together:
        return _all_blind(fallen, site, battery)
    if len(fallen.cameras) > 1:
        return _on_recorder(fallen, _several(fallen, site))
    return Ruling(Scope.CAMERA, fallen.cameras[0].id, _one(fallen.cameras[0], site, battery))


def on_return(ruling: Cause, fallen: Fallen, back: Instant, site: Site) -> Cause:
    """The same outage seen from its end: a recorder that is back says since when it runs."""
    clock = site.clocks.get(fallen.recorder)
    lasted_s = (back.boot_ns - fallen.since.boot_ns) / 1e9
    if ruling.verdict not in AWAY or ruling.verdict is Verdict.POWER_CUT:
        return ruling
    if clock is None or clock.started_us is None or clock.at.boot_ns < fallen.since.boot_ns:
        if ruling.verdict in GONE and lasted_s < REBOOT_S:
            return _because(ruling, Verdict.DVR_REBOOT, 50, says.back_after(lasted_s, back))
        return ruling
    ran_s = (clock.at.wall_us - clock.started_us) / 1e6
    seen_s = (clock.at.boot_ns - fallen.since.boot_ns) / 1e9
    if ran_s > seen_s + MOVED_S:
        verdict = Verdict.DVR_REFUSES if ruling.verdict is Verdict.DVR_REFUSES else Verdict.DVR_UNREACHABLE
        return _because(ruling, verdict, 85, says.ran_all_the_while(clock))
    if lasted_s < REBOOT_S:
        return _because(ruling, Verdict.DVR_REBOOT, 95, says.started_anew(clock))
    verdict = ruling.verdict if ruling.verdict in GONE else Verdict.DVR_OFF
    if verdict is not Verdict.DVR_OFF_MAINS_PRESENT:
        verdict = _off(site)
    return _because(ruling, verdict, 95, says.started_anew(clock))


def _no_link(lost: Instant, battery: Battery | None) -> Ruling:
    evidence = (says.no_carrier(lost),)
    if battery is not None:
        return Ruling(Scope.SITE, "", Cause(Verdict.POWER_CUT, 80, (says.battery(battery), *evidence)))
    return Ruling(Scope.BOX, "", Cause(Verdict.LAN_DOWN, 90, evidence))


def _recorder_silent(fallen: Fallen, site: Site, battery: Battery | None) -> Ruling:
    knock = _knock(fallen, site)
    gone = knock is not None and not knock.answers and not _answered_since(fallen, knock)
    seen = (_lost_together(fallen), *((says.knock(knock),) if knock else ()))
    if battery is not None:
        dead = gone and knock is not None and knock.neighbour is False
        confidence = 95 if dead else 85 if gone else 75
        return Ruling(Scope.SITE, "", Cause(Verdict.POWER_CUT, confidence, (says.battery(battery), *seen)))
    if not fallen.recorder:
        cause = Cause(Verdict.ALL_CAMERAS_OFF, 60 if gone else 50, seen)
        return Ruling(Scope.SITE, "", cause)
    if gone and knock is not None:
        return _on_recorder(fallen, _gone(knock, fallen.since, seen, site))
    return _on_recorder(fallen, _answering(fallen, knock, seen, site))


def _gone(knock: HostKnocked, since: Instant, seen: tuple[Evidence, ...], site: Site) -> Cause:
    router_lost = site.router_lost_by(since.boot_ns)
    if router_lost is not None:
        return Cause(Verdict.DVR_UNREACHABLE, 60, (*seen, says.no_router(router_lost)))
    if knock.neighbour is not False:
        return Cause(Verdict.DVR_UNREACHABLE, 60 if knock.neighbour is None else 50, seen)
    verdict = _off(site)
    confidence = 65 + (10 if site.net is not None and site.net.gateway else 0)
    evidence = (*seen, says.no_address(knock))
    if site.mains is not None and verdict is Verdict.DVR_OFF_MAINS_PRESENT:
        return Cause(verdict, confidence + 10, (*evidence, says.mains(site.mains)))
    return Cause(verdict, confidence, evidence)


def _off(site: Site) -> Verdict:
    present = site.mains is not None and site.mains.mains is Mains.ON
    return Verdict.DVR_OFF_MAINS_PRESENT if present else Verdict.DVR_OFF


def _answering(fallen: Fallen, knock: HostKnocked | None, seen: tuple[Evidence, ...], site: Site) -> Cause:
    words = [word for camera in fallen.cameras for word in camera.words]
    if knock is not None and knock.refuses:
        return Cause(Verdict.DVR_REFUSES, 80, seen)
    if words and all(word.auth for word in words):
        return Cause(Verdict.LOGIN_REFUSED, 85, (says.refused(words[-1]), *seen))
    hints = _hints(fallen.cameras, site)
    if fallen.together and len(hints) * 2 >= len(fallen.cameras):
        return Cause(Verdict.ALL_CAMERAS_OFF, 85, (hints[0], *seen))
    refused = [word for word in words if word.refused]
    if refused:
        verdict = Verdict.DVR_REFUSES if fallen.together else Verdict.STREAM_REFUSED
        return Cause(verdict, 60, (says.refused(refused[-1]), *seen))
    if knock is not None and knock.answers:
        return Cause(Verdict.ALL_CAMERAS_OFF if fallen.together else Verdict.CAMERA_LOST, 50, seen)
    return Cause(Verdict.UNDETERMINED, 20, seen)


def _all_blind(fallen: Fallen, site: Site, battery: Battery | None) -> Ruling:
    """The recorder serves pictures, and none of them shows anything."""
    evidence = (_lost_together(fallen), *_first_evidence(fallen, site))
    if battery is not None:
        return Ruling(Scope.SITE, "", Cause(Verdict.POWER_CUT, 75, (says.battery(battery), *evidence)))
    opinions = [_opinion(camera, site) for camera in fallen.cameras]
    black = [cause for cause in opinions if cause is not None and cause.verdict is Verdict.BLACK]
    if len(black) * 2 > len(opinions):
        return _on_recorder(fallen, Cause(Verdict.BLACK, 40, evidence))
    hinted = bool(_hints(fallen.cameras, site))
    return _on_recorder(fallen, Cause(Verdict.ALL_CAMERAS_OFF, 90 if hinted else 80, evidence))


def _several(fallen: Fallen, site: Site) -> Cause:
    """Others of the recorder see. What it refuses for want of sessions is not lost."""
    opinions = [_one(camera, site, None) for camera in fallen.cameras]
    evidence = (_lost_together(fallen), *opinions[0].evidence)
    verdicts = {opinion.verdict for opinion in opinions}
    if len(verdicts) == 1 and verdicts <= REFUSED:
        return Cause(opinions[0].verdict, 60, evidence)
    return Cause(Verdict.CAMERA_LOST, 60, evidence)


def _one(camera: CameraWatch, site: Site, battery: Battery | None) -> Cause:
    opinion = _opinion(camera, site)
    if opinion is not None:
        return opinion
    words, hint = camera.words, _hints((camera,), site)
    if hint:
        return Cause(Verdict.CAMERA_LOST, 90, hint)
    if words and all(word.auth for word in words):
        return Cause(Verdict.LOGIN_REFUSED, 85, (says.refused(words[-1]),))
    if words and words[-1].refused:
        return Cause(Verdict.STREAM_REFUSED, 75, (says.refused(words[-1]),))
    return _alone(camera, site, battery)


def _alone(camera: CameraWatch, site: Site, battery: Battery | None) -> Cause:
    """Silent, without a word: of a recorder's channel the others still see, else only its host can tell."""
    silence = says.silent(camera.last_packet)
    knock = site.knocks.get(camera.place.host)
    if knock is None or knock.at.boot_ns < camera.last_packet.boot_ns:
        return Cause(Verdict.CAMERA_LOST, 70 if camera.place.recorder else 50, (silence,))
    if knock.refuses:
        return Cause(Verdict.STREAM_REFUSED, 75, (silence, says.knock(knock)))
    evidence = (silence, says.knock(knock))
    if not knock.answers and battery is not None:
        return Cause(Verdict.POWER_CUT, 80, (says.battery(battery), *evidence))
    return Cause(Verdict.CAMERA_LOST, 70, evidence)


def _opinion(camera: CameraWatch, site: Site) -> Cause | None:
    if not camera.flowing:
        return None
    opinion = camera.sense.opinion(site.hint(camera.place.recorder, camera.place.channel, VIDEO_LOSS))
    return opinion.cause if opinion else None


def _hints(cameras: tuple[CameraWatch, ...], site: Site) -> tuple[Evidence, ...]:
    """What the recorder says of these inputs, one for each it names."""
    found = (site.hint(c.place.recorder, c.place.channel, VIDEO_LOSS) for c in cameras)
    return tuple(says.video_loss(hint) for hint in found if hint is not None)


def _knock(fallen: Fallen, site: Site) -> HostKnocked | None:
    """The newest knock on the hosts these cameras come from, made since they stopped."""
    hosts = sorted({camera.place.host for camera in fallen.cameras})
    knocks = [site.knocks[host] for host in hosts if host in site.knocks]
    fresh = [knock for knock in knocks if knock.at.boot_ns >= fallen.since.boot_ns]
    return max(fresh, key=lambda knock: knock.at.boot_ns, default=None)


def _answered_since(fallen: Fallen, knock: HostKnocked) -> bool:
    """Whether a stream was refused after the knock: who refuses is there."""
    words = (word for camera in fallen.cameras for word in camera.words)
    return any(word.refused and word.at.boot_ns > knock.at.boot_ns for word in words)


def _first_evidence(fallen: Fallen, site: Site) -> tuple[Evidence, ...]:
    cause = _one(fallen.cameras[0], site, None)
    return cause.evidence


def _lost_together(fallen: Fallen) -> Evidence:
    return says.together(len(fallen.cameras), fallen.total, fallen.since)


def _on_recorder(fallen: Fallen, cause: Cause) -> Ruling:
    return Ruling(Scope.RECORDER if fallen.recorder else Scope.SITE, fallen.recorder, cause)


def _because(cause: Cause, verdict: Verdict, confidence: int, evidence: Evidence) -> Cause:
    return replace(cause, verdict=verdict, confidence=confidence, evidence=(evidence, *cause.evidence))


def turned(fallen: Fallen, site: Site) -> Sight:
    """What these cameras are called: nobody can tell while the box's own cable has no link."""
    if not fallen.silent:
        return Sight.UNUSABLE
    return Sight.DARK if site.link_lost_by(fallen.since.boot_ns) is None else Sight.UNKNOWN
