"""The unattended demo: does the main job, measures it from the command centre's side, writes JSON.

Nothing in the report is computed from what the agent claims: records are received and decoded here, the
event is heard from the broker, the footage is read back from the ring.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import av

from edge_agent.demo import settings
from edge_agent.demo.city import City
from edge_agent.demo.replay import replay
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.hearing import Fact, Heard
from edge_agent.iccc.measure import LiveMeasured, measure_live
from edge_agent.model import Role
from edge_agent.uplink.messages import Birth, Event, Heartbeat

log = logging.getLogger(__name__)

BIRTH_S = 25.0
EVENT_S = 20.0
WARM_STARTS = 24
OPERATOR = "demo-report"

T = TypeVar("T")


@dataclass(slots=True)
class Report:
    """What was measured; None where it could not be, with a line in `errors`."""

    cameras_found: int | None = None
    cameras_recorded: int | None = None
    footage_s: dict[str, float] | None = None
    heartbeats: int | None = None
    live_first_record_ms: list[float | None] | None = None
    live_first_picture_ms: list[float | None] | None = None
    live_delay_ms: list[float] | None = None
    snapshot_ok: bool | None = None
    fault_event_s: float | None = None
    playback_frames: int | None = None
    playback_first_picture_ms: list[float | None] | None = None
    leaves: int | None = None
    root_verified: bool | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.errors and all(value is not None for value in asdict(self).values())


class Ear:
    """Counts and keeps what the site says. `heard` runs in the client's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.heartbeats = 0
        self.birth: Birth | None = None
        self.events: list[tuple[float, Event]] = []

    def heard(self, fact: Fact) -> None:
        if not isinstance(fact, Heard) or fact.site != settings.SITE:
            return
        with self._changed:
            match fact.message:
                case Heartbeat():
                    self.heartbeats += 1
                case Birth() as birth:
                    self.birth = birth
                case Event() as event:
                    self.events.append((time.monotonic(), event))
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[], T | None], timeout_s: float) -> T | None:
        """The first value that `wanted` gives, or None after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (value := wanted()) is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return value


def measure(city: City, for_s: float) -> Report:
    """Run for `for_s` seconds at least; longer only if a measurement is under way."""
    report, ear, began = Report(), Ear(), time.monotonic()
    client = city.client()
    client.listen(ear.heard)
    client.start()
    try:
        cameras = _wait_for_cameras(city, ear, report)
        _measure_live(client, cameras, report)
        _take_snapshot(client, cameras, report)
        _switch_off(city, ear, cameras, report)
        _play_back(client, cameras[:-1] or cameras, report)
        _wait_until(city, began + for_s)
        report.heartbeats = ear.heartbeats
        if not ear.heartbeats:
            report.errors.append("no heartbeat was heard")
    finally:
        client.stop()
    return report


def _wait_for_cameras(city: City, ear: Ear, report: Report) -> list[str]:
    """The cameras of the birth, once all of them are there and have had a heartbeat."""
    expected = city.options.cameras

    def all_there() -> Birth | None:
        birth = ear.birth
        return birth if birth and len(birth.data.cameras) >= expected and ear.heartbeats else None

    birth = ear.wait_for(all_there, BIRTH_S) or ear.birth
    cameras = [camera.id for camera in birth.data.cameras] if birth else []
    report.cameras_found = len(cameras)
    if len(cameras) != expected:
        report.errors.append(f"{len(cameras)} of {expected} cameras were found in {BIRTH_S:.0f} s")
    return cameras


def _measure_live(client: IcccClient, cameras: list[str], report: Report) -> None:
    """Warm starts in turn over all cameras; the very first opens the media connection and is not one."""
    measured: list[LiveMeasured] = []
    try:
        for camera in cameras[:1]:
            measure_live(client, settings.SITE, camera, Role.SUB, watch_s=0.5, operator=OPERATOR)
        for number in range(WARM_STARTS if cameras else 0):
            camera = cameras[number % len(cameras)]
            measured.append(
                measure_live(client, settings.SITE, camera, Role.SUB, watch_s=0.25, operator=OPERATOR)
            )
    except EdgeAgentError as error:
        report.errors.append(f"live view: {error}")
    if not measured:
        return
    report.live_first_record_ms = [m.first_record_ms for m in measured]
    report.live_first_picture_ms = [m.first_picture_ms for m in measured]
    report.live_delay_ms = sorted(delay for m in measured for delay in m.delays_ms)
    if None in report.live_first_picture_ms:
        report.errors.append("a live start brought no picture")


def _take_snapshot(client: IcccClient, cameras: list[str], report: Report) -> None:
    if not cameras:
        return
    try:
        still = client.snapshot(settings.SITE, cameras[0], operator=OPERATOR, reason="demo report")
        with av.open(io.BytesIO(still.jpeg), mode="r", format="mjpeg") as picture:
            report.snapshot_ok = next(picture.decode(video=0)).width > 0
    except (EdgeAgentError, av.error.FFmpegError, StopIteration) as error:
        report.snapshot_ok = False
        report.errors.append(f"snapshot: {error}")


def _switch_off(city: City, ear: Ear, cameras: list[str], report: Report) -> None:
    """Switch the last channel off at the DVR and wait until the command centre hears of it."""
    if not cameras:
        return
    camera, channel = cameras[-1], city.options.cameras
    began = time.monotonic()
    city.dvr.control.set_channel(channel, mode="off")

    def told() -> float | None:
        return next((at for at, event in ear.events if at > began and _is_dark(event, camera)), None)

    at = ear.wait_for(told, EVENT_S)
    city.dvr.control.set_channel(channel, mode="on")
    if at is None:
        report.errors.append(f"{camera} was switched off; no event came in {EVENT_S:.0f} s")
    else:
        report.fault_event_s = round(at - began, 2)


def _play_back(client: IcccClient, cameras: list[str], report: Report) -> None:
    """Not of the camera that was just switched off: its footage has a gap."""
    if not cameras:
        return
    try:
        played = replay(client, cameras, OPERATOR)
    except EdgeAgentError as error:
        report.errors.append(f"playback: {error}")
        return
    report.playback_frames = played.frames
    report.playback_first_picture_ms = played.first_picture_ms
    report.errors += played.problems


def _is_dark(event: Event, camera: str) -> bool:
    return event.data.camera == camera and event.data.detail.get("state") == "dark"


def _wait_until(city: City, moment: float) -> None:
    while time.monotonic() < moment:
        city.tend()
        time.sleep(min(0.5, max(0.0, moment - time.monotonic())))


def read_ledger(city: City, report: Report) -> None:
    """Count and check what the command centre's mirror stored, after the agent has stopped."""
    from edge_agent.demo import evidence

    found = evidence.gather(city.layout, city.pki)
    report.leaves = len(found.leaves)
    report.root_verified = bool(found.cosigned) and not found.problems
    report.errors += [f"ledger: {problem}" for problem in found.problems]


def read_footage(city: City, report: Report) -> None:
    """Read the ring back after the agent has stopped: seconds of each camera's main stream."""
    from edge_agent.demo.footage import recorded_seconds

    report.footage_s = recorded_seconds(city.layout)
    report.cameras_recorded = sum(1 for seconds in report.footage_s.values() if seconds > 0)
    if report.cameras_recorded != report.cameras_found:
        report.errors.append(f"{report.cameras_recorded} of {report.cameras_found} cameras were recorded")
