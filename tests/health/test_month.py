"""A month of healthy cameras: nothing is called dark but the recorder's own nightly restart."""

from __future__ import annotations

import month
import pytest
from storyteller import lines

from edge_agent.health import replay
from edge_agent.health.decisions import CameraTurned, Decision, IncidentClosed, Scope, Sight, Verdict

QUIET = {Verdict.WAN_DOWN, Verdict.BOX_STOOD_STILL, Verdict.AGENT_STOPPED, Verdict.CLOCK_STEP}


def told(log: list[bytes], days: int) -> list[Decision]:
    """The decisions of the log; every camera that did not see was part of one of the restarts."""
    decisions = list(replay.replay(log))
    restarts = set()
    for decision in decisions:
        if isinstance(decision, IncidentClosed) and decision.incident.scope is Scope.RECORDER:
            assert decision.incident.cause.verdict is Verdict.DVR_REBOOT, decision
            assert decision.incident.cause.confidence >= 95
            assert len(decision.incident.cameras) == month.CAMERAS
            restarts.add(decision.incident.id)
        elif not isinstance(decision, CameraTurned):
            known = decision.incident.id in restarts or decision.incident.scope is Scope.RECORDER
            assert known or decision.incident.cause.verdict in QUIET, decision
    assert len(restarts) == days
    down = [d for d in decisions if isinstance(d, CameraTurned) and d.state is not Sight.UP]
    assert {turn.incident for turn in down} <= restarts
    assert len(down) == days * month.CAMERAS
    return decisions


def test_three_healthy_days_have_no_darkness_but_the_nightly_restart() -> None:
    log = month.record(3, look_s=30.0)
    decisions = told(log, 3)
    assert lines(list(replay.replay(log))) == lines(decisions)
    assert max(map(len, log)) <= 400


@pytest.mark.long
def test_a_healthy_month_has_no_darkness_but_the_nightly_restarts() -> None:
    log = month.record(30)
    decisions = told(log, 30)
    assert lines(list(replay.replay(log))) == lines(decisions)
