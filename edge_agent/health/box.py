"""What befell the box itself: its last end, its standstills, the clocks. Pure; told after the event.

The time that the box did not watch is nobody's outage. The incident says from when to when, and every
camera counts as unknown for that long.
"""

from __future__ import annotations

from edge_agent.health import says
from edge_agent.health.decisions import Cause, Evidence, Scope, Verdict
from edge_agent.health.incidents import Incidents
from edge_agent.health.signals import BoxStarted, BoxStoodStill, ClockStepped, DeviceClock, Ended
from edge_agent.health.verdict import Fallen, Ruling
from edge_agent.model import Instant

RECORDER_STEP_S = 60.0  # less is drift between two looks, or the answer's own delay

_ENDINGS = {
    Ended.STOPPED: (Verdict.AGENT_STOPPED, 95),
    Ended.BOX_SHUTDOWN: (Verdict.BOX_SHUTDOWN, 95),
    Ended.KILLED: (Verdict.AGENT_KILLED, 85),
    Ended.POWER_LOST: (Verdict.BOX_POWER_LOST, 80),
}


def started(incidents: Incidents, signal: BoxStarted) -> None:
    """The run before ended at `alive` at the earliest; nobody watched until now."""
    if signal.ended is Ended.FIRST or signal.alive is None:
        return
    verdict, confidence = _ENDINGS[signal.ended]
    _over(incidents, verdict, confidence, says.ended(signal), signal.alive, signal.at)


def stood_still(incidents: Incidents, signal: BoxStoodStill, cameras: tuple[str, ...]) -> None:
    began = Instant(
        signal.at.wall_us - int(signal.seconds * 1e6),
        signal.at.boot_ns - int(signal.seconds * 1e9),
        signal.at.trust,
    )
    _over(incidents, Verdict.BOX_STOOD_STILL, 95, says.stood_still(signal), began, signal.at)


def clock_stepped(incidents: Incidents, signal: ClockStepped) -> None:
    _over(incidents, Verdict.CLOCK_STEP, 95, says.box_clock(signal), signal.at, signal.at)


def recorder_clock(incidents: Incidents, signal: DeviceClock, step_s: float | None) -> None:
    if step_s is None or abs(step_s) < RECORDER_STEP_S:
        return
    cause = Cause(Verdict.CLOCK_STEP, 80, (says.recorder_clock(signal, step_s),))
    fallen = Fallen(signal.recorder, (), False, 0, signal.at)
    incidents.start(Ruling(Scope.RECORDER, signal.recorder, cause), fallen, until=signal.at)


def _over(
    incidents: Incidents,
    verdict: Verdict,
    confidence: int,
    evidence: Evidence,
    since: Instant,
    until: Instant,
) -> None:
    ruling = Ruling(Scope.BOX, "", Cause(verdict, confidence, (evidence,)))
    incidents.start(ruling, Fallen("", (), False, 0, since), until=until)
