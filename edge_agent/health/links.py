"""Mains, the box's own network, the way to the command centre, a recorder's storage: no camera need be down.

Pure. What lasts for a moment only is no incident: a UPS tests itself, a router is slow for once.
"""

from __future__ import annotations

from edge_agent.health import says
from edge_agent.health.decisions import Cause, Scope, Verdict
from edge_agent.health.incidents import Incidents
from edge_agent.health.signals import Mains, MainsSeen, NetSeen
from edge_agent.health.site import STORAGE
from edge_agent.health.verdict import Fallen, Ruling
from edge_agent.health.world import World
from edge_agent.model import Instant

MAINS_AFTER_S = 30.0  # by then a recorder without a supply of its own has fallen, and has its incident
LINK_AFTER_S = 30.0
LINKS = (Verdict.WAN_DOWN, Verdict.BROKER_DOWN)


class Links:
    """Opens and closes what has no camera of its own; owned by the night watch."""

    def __init__(self, world: World, incidents: Incidents) -> None:
        self._world = world
        self._incidents = incidents
        self._bad_since: Instant | None = None
        self._cut = False  # the port had no link and nothing was seen

    def mains_seen(self, signal: MainsSeen) -> None:
        site, deadlines = self._world.site, self._world.deadlines
        before = site.on_battery
        site.mains_seen(signal)
        if signal.mains is Mains.BATTERY and before is None:
            deadlines.set("mains:", self._world.after(MAINS_AFTER_S))
            self._incidents.parent_failed(Verdict.POWER_CUT)
        elif signal.mains is not Mains.BATTERY:
            deadlines.clear("mains:")
            if before is not None:
                self._incidents.parent_recovered(Verdict.POWER_CUT, signal.at)
        if (before is None) is not (site.on_battery is None):
            self._incidents.touch_all()

    def net_seen(self, signal: NetSeen) -> None:
        site = self._world.site
        had_link = site.carrier_lost is None
        site.net_seen(signal)
        if had_link and site.carrier_lost is not None:
            self._incidents.parent_failed(Verdict.LAN_DOWN)
            self._incidents.touch_all()
        elif not had_link and site.carrier_lost is None:
            self._incidents.parent_recovered(Verdict.LAN_DOWN, signal.at)
            self._bad_since = None  # the way on is judged anew: it had no chance while the cable was out
            self._world.deadlines.clear("net:")
        self._judge_link(signal)

    def due(self, what: str) -> None:
        if what == "mains":
            self._mains_due()
        else:
            self._link_due()

    def storage(self, recorder: str) -> None:
        """A recorder's word about its own disk: its recording has stopped, if it is right."""
        hint = self._world.site.hint(recorder, None, STORAGE)
        known = self._incidents.find_of(recorder, Verdict.RECORDING_STOPPED)
        if hint is not None and known is None:
            cause = Cause(Verdict.RECORDING_STOPPED, 60, (says.disk(hint),))
            self._incidents.start(Ruling(Scope.RECORDER, recorder, cause), _nobody(hint.at, recorder))
        elif hint is None and known is not None:
            self._incidents.close(known, self._world.now)

    def _mains_due(self) -> None:
        battery = self._world.site.on_battery
        if battery is None or self._incidents.find(Scope.SITE, Verdict.POWER_CUT):
            return
        cause = Cause(Verdict.POWER_CUT, 90, (says.battery(battery),))
        self._incidents.start(Ruling(Scope.SITE, "", cause), _nobody(battery.since))

    def _judge_link(self, signal: NetSeen) -> None:
        if self._cut and any(camera.flowing for camera in self._world.cameras.values()):
            self._cut, self._bad_since = False, None  # cameras are back before the port's own word is
            self._world.deadlines.clear("net:")
        if _verdict(signal) is None:
            self._bad_since = None
            self._world.deadlines.clear("net:")
            known = self._incidents.find(Scope.LINK, *LINKS)
            if known is not None:
                self._incidents.close(known, signal.at)
        elif self._bad_since is None:
            self._bad_since = signal.at
            self._world.deadlines.set("net:", self._world.after(LINK_AFTER_S))
        elif not self._world.deadlines.has("net:"):
            self._link_due()

    def _link_due(self) -> None:
        net, since = self._world.site.net, self._bad_since
        verdict = _verdict(net) if net is not None else None
        if net is None or since is None or verdict is None:
            return
        if net.carrier is False and not any(camera.flowing for camera in self._world.cameras.values()):
            self._no_carrier(net)
            return
        cause = Cause(verdict, 85 if net.dns is not None else 65, says.link(net))
        ruling = Ruling(Scope.LINK, "", cause)
        known = self._incidents.find(Scope.LINK, *LINKS)
        if known is None:
            self._incidents.start(ruling, _nobody(since))
        elif known.verdict is not verdict:
            self._incidents.retell(known, ruling)

    def _no_carrier(self, net: NetSeen) -> None:
        self._cut = True
        lost = self._world.site.carrier_lost or net.at
        if self._incidents.find(Scope.SITE, Verdict.POWER_CUT):
            return
        if self._incidents.find(Scope.BOX, Verdict.LAN_DOWN) is None:
            cause = Cause(Verdict.LAN_DOWN, 90, (says.no_carrier(lost),))
            self._incidents.start(Ruling(Scope.BOX, "", cause), _nobody(lost))
        self._incidents.overtaken(lost)


def _verdict(net: NetSeen) -> Verdict | None:
    """How far the way to the command centre goes. A broker that answers proves all of it."""
    if net.carrier is False:
        return Verdict.WAN_DOWN
    if net.broker is not False:
        return None
    if net.gateway is False or net.dns is False:
        return Verdict.WAN_DOWN
    return Verdict.BROKER_DOWN if net.dns else Verdict.WAN_DOWN


def _nobody(since: Instant, recorder: str = "") -> Fallen:
    return Fallen(recorder, (), False, 0, since)
