"""What is on its way back is told no otherwise: a recorder answers long before it streams. Pure."""

from __future__ import annotations

from edge_agent.health.decisions import Verdict
from edge_agent.health.groups import Open
from edge_agent.health.verdict import GONE, Ruling
from edge_agent.health.world import World

RISE_S = 120.0
STARTING = (Verdict.ALL_CAMERAS_OFF, Verdict.UNDETERMINED)  # so a port that opens before its streams looks


def is_rising(world: World, incident: Open, ruling: Ruling) -> bool:
    """It was away and answers again, but streams nothing yet. Looks at it once more when its time is over."""
    now_told = ruling.cause.verdict
    away = incident.verdict in GONE or (incident.verdict is Verdict.DVR_REFUSES and now_told in STARTING)
    if not away or now_told in GONE or now_told is Verdict.POWER_CUT:
        incident.risen_ns = None
        return False
    now_ns = world.now.boot_ns
    incident.risen_ns = incident.risen_ns or now_ns
    if (now_ns - incident.risen_ns) / 1e9 >= RISE_S:
        return False
    world.deadlines.set(f"revise:{incident.id}", incident.risen_ns + int(RISE_S * 1e9))
    return True


def is_unpowered(world: World, incident: Open) -> bool:
    """One camera is back before the mains are: the others are still down for want of them."""
    some_back = len(incident.active) < len(incident.members)
    return some_back and incident.verdict is Verdict.POWER_CUT and world.site.on_battery is not None
