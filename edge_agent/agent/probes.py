"""Is there power, and how far does the box reach? Asked now and then, more often after something changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event

from edge_agent.clock import Clock
from edge_agent.events import Fact, Inbox
from edge_agent.host import net, power
from edge_agent.host.knock import knock
from edge_agent.host.power import UpsAddress, UpsError
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

POWER_EVERY_S = 5.0
LOOK_FOR_UPS_EVERY_S = 300.0
NET_EVERY_S, NET_SOON_S = 30.0, 5.0
HURRY_FOR_S = 120.0
BROKER_S = 3.0
LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class PowerProbed(Fact):
    """`mains` None: there is a source, and it cannot tell at the moment."""

    mains: bool | None
    source: str
    charge_percent: int | None


@dataclass(frozen=True, slots=True)
class NetProbed(Fact):
    """How far the box reaches: each True, False, or None when it was not or cannot be asked."""

    carrier: bool | None
    gateway: bool | None
    dns: bool | None
    broker: bool | None


class PowerProbe:
    """The UPS that is configured or found on this box, else the box's own battery."""

    def __init__(self, clock: Clock, nut: str) -> None:
        """`nut`: `[ups@]host[:port]`, `auto` to look for one on this box, or `off`."""
        self._clock = clock
        self._address = UpsAddress("", "127.0.0.1") if nut == "auto" else None
        self._configured = nut not in ("auto", "off")
        if self._configured:
            self._address = UpsAddress.parse(nut)
        self._source = ""
        self._next_look = 0.0

    def read(self) -> tuple[bool | None, str, int | None] | None:
        """(mains, source, charge); None when nothing here knows of power."""
        found = self._ups() or power.own_battery()
        return (found.mains, found.source, found.charge_percent) if found else None

    def _ups(self) -> power.Power | None:
        now = self._clock.monotonic()
        if self._address is None or now < self._next_look:
            return None
        try:
            found = power.ask_ups(self._address)
        except UpsError as error:
            return self._missed(str(error), now)
        if not self._source:
            log.info("mains power is told by %s at %s", found.source, self._address.host)
        self._source = found.source
        return found

    def _missed(self, reason: str, now: float) -> power.Power | None:
        """A UPS that was there and is not is told as unknown; one that never was is looked for seldom."""
        if self._source:
            return power.Power(None, self._source)
        if self._configured:
            log.warning("%s; looking again in 60 s", reason)
        self._next_look = now + (60.0 if self._configured else LOOK_FOR_UPS_EVERY_S)
        return None


class Probes:
    """Worker. `broker` is (host, port), None when no command centre is configured.

    `returned` is called, in this thread, when the box's own way out is back: port, router or name service.
    Not when the broker is: then a city would knock at it in one second.
    """

    name = "probes"

    def __init__(
        self,
        clock: Clock,
        inbox: Inbox,
        power_probe: PowerProbe,
        broker: tuple[str, int] | None,
        *,
        power_every_s: float = POWER_EVERY_S,
        net_every_s: float = NET_EVERY_S,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self._returned = returned
        self._clock = clock
        self._inbox = inbox
        self._power = power_probe
        self._broker = broker
        self._power_every_s = power_every_s
        self._net_every_s = net_every_s
        self._names = net.NameQuestion()
        self._net_due = self._power_due = clock.monotonic()
        self._hurried_until = 0.0
        self._interface = ""
        self._before: NetProbed | None = None
        self._linked = False

    def link(self, *, up: bool) -> None:
        """The state of our own connection to the broker: while it is up nobody need knock. Any thread."""
        if up is not self._linked:
            self._linked = up
            self.hurry()

    def hurry(self) -> None:
        """Something has changed: ask at once, and often for a while. Any thread."""
        now = self._clock.monotonic()
        self._hurried_until = now + HURRY_FOR_S
        self._net_due = min(self._net_due, now + 1.0)
        self._power_due = now

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            now = self._clock.monotonic()
            if now >= self._power_due:
                self._power_due = now + self._power_every_s
                self._ask_power()
            if now >= self._net_due:
                hurried = now < self._hurried_until
                self._net_due = now + (min(NET_SOON_S, self._net_every_s) if hurried else self._net_every_s)
                self._ask_net()
            self._watch_port(now)
            stop.wait(LOOK_EVERY_S)

    def _watch_port(self, now: float) -> None:
        """A cable that is put back is seen at once, not at the next round of questions."""
        before = self._before
        if before is not None and before.carrier is False and net.carrier(self._interface):
            self._before = replace(before, carrier=True)
            self._net_due = now
            self._returned()

    def _ask_power(self) -> None:
        found = self._power.read()
        if found is not None:
            self._inbox.put(PowerProbed(self._clock.now(), *found))

    def _ask_net(self) -> None:
        fact = self._look()
        before, self._before = self._before, fact
        if before is not None and _reach(before) != _reach(fact):
            self.hurry()
            if _is_back(before, fact):
                self._returned()
        self._inbox.put(fact)

    def _look(self) -> NetProbed:
        try:
            route = net.default_route(net.ROUTES.read_text(encoding="ascii"))
        except OSError:
            route = None
        if route is not None:
            self._interface = route.interface  # remembered: without a link the route goes
        carrier = net.carrier(self._interface) if self._interface else None
        linked = self._linked
        gateway = net.router_answers(route.router) if route is not None else None
        dns = None if linked or self._broker is None else self._names.ask(self._broker[0])
        broker = True if linked else self._broker_answers() if self._broker else None
        return NetProbed(self._clock.now(), carrier, gateway, dns, broker)

    def _broker_answers(self) -> bool:
        """A name that nobody knows leads nowhere."""
        assert self._broker is not None
        host, port = self._broker
        addresses = self._names.addresses(host)
        return any(
            a.answers and not a.refuses for a in knock([(a, port) for a in addresses], BROKER_S).values()
        )


def _reach(fact: NetProbed) -> tuple[bool | None, ...]:
    return fact.carrier, fact.gateway, fact.dns, fact.broker


def _is_back(before: NetProbed, fact: NetProbed) -> bool:
    pairs = zip(_reach(before)[:3], _reach(fact)[:3], strict=True)
    return any(old is False and new for old, new in pairs)
