"""A shop as physics, and the signals a box beside its recorder would have: for stories and months.

Steps change the world ("the recorder loses power"); the shop works out which streams stop, and gives what
each sense tells of it in time: packets missed for five seconds, knocks, measures every ten seconds, polls.
Seeded and pure; nothing here knows a rule.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import lens

from edge_agent.health.signals import (
    BoxStarted,
    BoxStoodStill,
    CameraKnown,
    ClockStepped,
    DeviceClock,
    DeviceSaid,
    Ended,
    HostKnocked,
    Mains,
    MainsSeen,
    NetSeen,
    PictureMeasured,
    Signal,
    StreamFlows,
    StreamPulse,
    StreamSilent,
    WorkAnnounced,
)
from edge_agent.model import ClockTrust, Instant, Role

WALL_US = 1_790_000_000_000_000
NOTICED_S = 5.0
RECONNECT_S = 1.0
RETRY_S = 20.0
KNOCK_S = 30.0
POLL_S = 10.0
CLOCK_S = 300.0
HOST = "192.168.1.64"

Scene = Literal["day", "infrared", "unlit", "wall"]


@dataclass
class Shop:
    """What differs from shop to shop. `lost` is what the recorder serves of an input without signal."""

    cameras: int = 4
    recorder: str = "dvr"  # empty: cameras of their own, without a recorder
    lost: Literal["slate", "other_slate", "black_slate", "silent", "refused"] = "slate"
    hints: bool = True  # its ONVIF events tell of signal loss
    tells_start: bool = True  # it says since when it runs
    ups: bool = False  # the box can tell mains from battery
    arp: bool = True  # the box sees neighbours
    scene: Scene = "day"
    smart: bool = False  # smart codec: what is between keyframes of a still scene collapses
    measured: bool = True  # pictures are decoded and measured
    seed: int = 1
    look_s: float = 10.0  # how often each camera is measured


class Cam:
    def __init__(self, number: int) -> None:
        self.number = number
        self.id = f"cam-{number:02d}"
        self.signal = self.wire = True  # of the sensor's cable; of its stream
        self.covered = False
        self.scene: Scene | None = None
        self.flowing = self.told = False
        self.last = self.turned = 0.0  # turned: when what its stream shows became another
        self.showed = ""
        self.change = 0  # counts what came and went: a callback of before is void


class World:
    """The shop while it runs. Seconds count from the first start of the agent."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.rng = random.Random(shop.seed)
        self.dvr: Literal["on", "off", "starting"] = "on"
        self.service: Literal["ok", "closed", "refuses", "login"] = "ok"
        self.cable = self.carrier = self.gateway = self.internet = self.broker = self.mains = True
        self.dvr_started, self.dvr_ahead = -864_000.0, 0.5
        self.wall_offset, self.booted, self.boots, self.run = 0.0, -100.0, 1, 0
        self.box, self.died, self.now = True, 0.0, 0.0
        self.cams = [Cam(number + 1) for number in range(shop.cameras)]
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._out: list[Signal] = []
        self._knocking, self._knocked = False, -10.0
        self.at(0.0, lambda: self.box_starts(Ended.FIRST))

    def at(self, second: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (second, self._count, do))

    def signals(self, until: float) -> Iterator[Signal]:
        """Everything the box's senses tell, in order."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, do = heapq.heappop(self._heap)
            do()
            if self._out:
                out, self._out = self._out, []
                yield from out

    def moment(self, second: float | None = None) -> Instant:
        second = self.now if second is None else second
        wall_us = WALL_US + round((second + self.wall_offset) * 1e6)
        return Instant(wall_us, round((second - self.booted) * 1e9), ClockTrust.NTP)

    # Steps: the world changes.

    def set(self, **changes: object) -> None:
        for name, value in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        self._settle()

    def dvr_starts(self, takes_s: float = 40.0) -> None:
        """Power is on: the network answers soon, the service only when it has started."""
        self.dvr_started = self.now
        self.set(dvr="starting")
        self.at(self.now + takes_s, lambda: self.set(dvr="on"))

    def inputs(self, signal: bool, *numbers: int) -> None:
        """Analog cables are pulled or plugged; without numbers all of them."""
        for cam in self._turning(numbers):
            cam.signal = signal
            if self.shop.hints:
                self.at(self.now + 2.0, self._hint_of(cam, not signal))
        self._settle()

    def wires(self, up: bool, *numbers: int) -> None:
        for cam in self._chosen(numbers):
            cam.wire = up
        self._settle()

    def cover(self, covered: bool, *numbers: int) -> None:
        for cam in self._turning(numbers):
            cam.covered = covered

    def light(self, scene: Scene, *numbers: int) -> None:
        for cam in self._turning(numbers):
            cam.scene = scene

    def box_dies(self) -> None:
        self.box, self.died = False, self.now
        self.run += 1

    def box_starts(self, ended: Ended) -> None:
        """The agent begins; after anything but its own end the box has booted anew."""
        alive = None if ended is Ended.FIRST else self.moment(self.died)
        if ended in (Ended.POWER_LOST, Ended.BOX_SHUTDOWN):
            self.booted, self.boots = self.now - 20.0, self.boots + 1
        self.box, self.run = True, self.run + 1
        self.tell(BoxStarted(self.moment(), f"{self.boots:08x}", ended, alive))
        for cam in self.cams:
            channel = cam.number if self.shop.recorder else None
            known = (cam.id, self.shop.recorder, channel, self._host(cam), (Role.MAIN,))
            self.tell(CameraKnown(self.moment(), *known))
            cam.flowing = cam.told = False
            cam.last, cam.change = self.now, cam.change + 1
            self._notice_later(cam)
            self.at(self.now + self.shop.look_s * cam.number / (len(self.cams) + 1), self._looks(cam))
        self._knocking = False
        self.at(self.now + 0.5, self._while_running(POLL_S, self._poll))
        self.at(self.now + 1.0, self._while_running(CLOCK_S, self._ask_clock))
        self._settle()

    def stands_still(self, seconds: float) -> None:
        """The box sleeps; what its sockets held is read at once when it wakes."""
        asleep = self.now
        self._heap = [(max(at, asleep + seconds) if at > asleep else at, n, do) for at, n, do in self._heap]
        heapq.heapify(self._heap)
        self.at(asleep + seconds, lambda: self.tell(BoxStoodStill(self.moment(), seconds)))

    def clock_steps(self, seconds: float) -> None:
        self.wall_offset += seconds
        self.tell(ClockStepped(self.moment(), seconds))

    def hint(self, number: int, active: bool) -> None:
        self._hint_of(self.cams[number - 1], active)()

    def storage(self, failed: bool) -> None:
        self.tell(DeviceSaid(self.moment(), self.shop.recorder, None, "storage", failed))

    def work(self, seconds: float, *numbers: int) -> None:
        names = tuple(cam.id for cam in self._chosen(numbers)) if numbers else ()
        until_us = self.moment().wall_us + int(seconds * 1e6)
        self.tell(WorkAnnounced(self.moment(), names, until_us, "new cable", "control room"))

    # Physics.

    @property
    def reachable(self) -> bool:
        return self.carrier and self.cable and self.dvr != "off"

    def _flows(self, cam: Cam) -> bool:
        if not (self.carrier and self.cable and cam.wire and self.dvr == "on" and self.service == "ok"):
            return False
        return cam.signal or self.shop.lost in ("slate", "other_slate", "black_slate")

    def _settle(self) -> None:
        for cam in self.cams:
            if self._flows(cam) and not cam.flowing:
                cam.flowing, cam.change = True, cam.change + 1
                self.at(self.now + RECONNECT_S + cam.number * 0.05, self._resumes(cam, cam.change))
            elif not self._flows(cam) and cam.flowing:
                cam.flowing, cam.change = False, cam.change + 1
                cam.last = self.now + cam.number * 0.01
                self._notice_later(cam)

    def _resumes(self, cam: Cam, change: int) -> Callable[[], None]:
        def resume() -> None:
            if cam.change == change and not cam.told:
                cam.told = True
                self.tell(StreamFlows(self.moment(), cam.id, Role.MAIN, 1920, 1080))
                if self.reachable:
                    self.at(self.now + 10.0, self._ask_clock)

        return resume

    def _notice_later(self, cam: Cam) -> None:
        self.at(max(cam.last + NOTICED_S, self.now), self._notices(cam, cam.change))

    def _notices(self, cam: Cam, change: int) -> Callable[[], None]:
        def notice() -> None:
            if cam.change != change or cam.flowing:
                return
            if cam.told:
                self._knock_soon()
            cam.told = False
            refused, auth = self._refusal(cam)
            reason = "refused: 404" if refused else "no packets"
            since = self.moment(cam.last)
            self.tell(StreamSilent(self.moment(), cam.id, Role.MAIN, since, reason, refused, auth))
            self._knock_on()
            self.at(self.now + RETRY_S, notice)

        return notice

    def _refusal(self, cam: Cam) -> tuple[bool, bool]:
        if not self.reachable or self.dvr == "starting":
            return False, False
        lost = not cam.signal and self.shop.lost == "refused"
        return lost or self.service in ("refuses", "login"), self.service == "login"

    # Senses.

    def tell(self, signal: Signal) -> None:
        if self.box:
            self._out.append(signal)

    def _while_running(self, every_s: float, do: Callable[[], None]) -> Callable[[], None]:
        run = self.run

        def again() -> None:
            if self.run == run:
                do()
                self.at(self.now + every_s, again)

        return again

    def _knock_on(self) -> None:
        if not self._knocking:
            self._knocking = True
            self.at(self.now + 0.3, self._while_running(KNOCK_S, self._knock))

    def _knock_soon(self) -> None:
        """At once when a stream falls silent; sixteen at once ask once."""
        if self.now >= self._knocked + 3.0:
            self._knocked = self.now
            self.at(self.now + 0.3, self._knock)

    def _knock(self) -> None:
        for host in sorted({self._host(cam) for cam in self.cams if not cam.told}):
            answers = self.reachable and (bool(self.shop.recorder) or self._stands(host))
            refuses = answers and (self.dvr == "starting" or self.service == "closed")
            neighbour = answers if self.shop.arp else None
            self.tell(HostKnocked(self.moment(), host, 554, answers, neighbour, "", refuses))

    def _stands(self, host: str) -> bool:
        return any(cam.wire and cam.signal for cam in self.cams if self._host(cam) == host)

    def _host(self, cam: Cam) -> str:
        return HOST if self.shop.recorder else f"192.168.1.{100 + cam.number}"

    def _poll(self) -> None:
        gateway = self.carrier and self.gateway
        dns = gateway and self.internet
        self.tell(NetSeen(self.moment(), self.carrier, gateway, dns, dns and self.broker))
        if self.shop.ups:
            mains = Mains.ON if self.mains else Mains.BATTERY
            self.tell(MainsSeen(self.moment(), mains, "nut:ups", 90))

    def _ask_clock(self) -> None:
        if self.shop.recorder and self.reachable and self.dvr == "on":
            started = self.moment(self.dvr_started).wall_us if self.shop.tells_start else None
            ahead = self.dvr_ahead - self.wall_offset
            self.tell(DeviceClock(self.moment(), self.shop.recorder, ahead, started))

    def _hint_of(self, cam: Cam, active: bool) -> Callable[[], None]:
        def hint() -> None:
            if self.reachable and self.dvr == "on":
                self.tell(DeviceSaid(self.moment(), self.shop.recorder, cam.number, "video_loss", active))

        return hint

    def _looks(self, cam: Cam) -> Callable[[], None]:
        def look() -> None:
            if not (cam.flowing and cam.told):
                return
            self.tell(self._pulse(cam))
            if self.shop.measured:
                self.tell(self._picture(cam))

        return self._while_running(self.shop.look_s, look)

    def _sees(self, cam: Cam) -> str:
        if not cam.signal:
            return self.shop.lost
        return "covered" if cam.covered else cam.scene or self.shop.scene

    def _pulse(self, cam: Cam) -> StreamPulse:
        """A window in which the picture changed has bytes of both."""
        share = min(max((self.now - cam.turned) / self.shop.look_s, 0.0), 1.0)
        size = share * self._bytes(self._sees(cam)) + (1 - share) * self._bytes(cam.showed)
        return StreamPulse(self.moment(), cam.id, Role.MAIN, self.shop.look_s, 250, 5, 60_000, int(size))

    def _bytes(self, sees: str) -> float:
        size = lens.SIZES.get(sees, 150) * self.rng.uniform(0.6, 1.7)
        return size * self.rng.choice((0.01, 0.02, 0.3)) if self.shop.smart and sees in lens.SIZES else size

    def _picture(self, cam: Cam) -> PictureMeasured:
        return lens.picture(self._sees(cam), cam.number, cam.id, self.moment(), self.rng)

    def _turning(self, numbers: tuple[int, ...]) -> list[Cam]:
        chosen = self._chosen(numbers)
        for cam in chosen:
            cam.showed, cam.turned = self._sees(cam), self.now
        return chosen

    def _chosen(self, numbers: tuple[int, ...]) -> list[Cam]:
        return [cam for cam in self.cams if not numbers or cam.number in numbers]
