"""Finds the site's recorders and asks them for their cameras, again and again until they answer.

Recording never waits for this: cameras known by URL start at once, cameras known from last time as soon as
their recorder is found. Runs in its own thread because ONVIF blocks.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from threading import Event
from urllib.parse import unquote, urlsplit, urlunsplit

from edge_agent.agent import locate
from edge_agent.agent.locate import Place
from edge_agent.capture import device, sweep, templates, web
from edge_agent.capture.channels import Identity
from edge_agent.capture.device import DeviceReport
from edge_agent.capture.device_events import EventSource
from edge_agent.capture.ports import CredentialGate, Door
from edge_agent.clock import Clock
from edge_agent.config import CameraEntry, Config, Recorder
from edge_agent.errors import ConfigError, DeviceError
from edge_agent.events import Fact, Inbox
from edge_agent.model import Camera, Credentials, Endpoint
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

FIRST_RETRY_S = 3.0
LONGEST_RETRY_S = 60.0
RTSP_PORT = 554
FINAL = frozenset({"auth", "configuration"})  # the same wrong password again would lock the account


@dataclass(frozen=True, slots=True)
class RecorderFound(Fact):
    """A recorder answered every question: its make and its cameras (ids not given yet)."""

    recorder: str
    address: str
    make: str
    model: str
    serial: str
    clock_offset_s: float | None
    cameras: tuple[Camera, ...]
    events: EventSource | None = None
    mac: str = ""


@dataclass(frozen=True, slots=True)
class CameraPlaced(Fact):
    """A camera given by URL, its host resolved."""

    camera: Camera


@dataclass(frozen=True, slots=True)
class RecorderFailed(Fact):
    """`step` is where it failed, `sentence` what to do; `retry_in_s` None: only a new configuration helps."""

    recorder: str
    address: str
    step: str
    sentence: str
    retry_in_s: float | None


class Finder:
    """Worker. One lane: recorders are asked one after the other."""

    name = "finder"

    def __init__(self, config: Config, clock: Clock, inbox: Inbox, gate: CredentialGate) -> None:
        self._config = config
        self._gate = gate
        self._clock = clock
        self._inbox = inbox
        self._again = Event()
        self._by_onvif: set[str] = set()
        self._macs: dict[str, str] = {}  # of the recorders that answered, to know them after a DHCP change

    def rediscover(self) -> None:
        """Ask every recorder again now. Any thread."""
        self._again.set()

    def run(self, stop: Event, beat: Beat) -> None:
        # cameras by hand first: they only need a name resolved, a sick recorder may take a minute
        by_hand = [c for c in self._config.cameras if c.enabled and c.url.get_secret_value()]
        sources: dict[str, Recorder | CameraEntry] = {
            **{entry.id: entry for entry in by_hand},
            **{recorder.name: recorder for recorder in self._config.recorders},
        }
        retry_s = dict.fromkeys(sources, FIRST_RETRY_S)
        due_at = dict.fromkeys(sources, self._clock.monotonic())
        while not stop.is_set():
            beat()
            for name, source in sources.items():
                if self._clock.monotonic() < due_at[name]:
                    continue
                pause_s = self._ask(name, source, retry_s[name], stop)
                beat()
                due_at[name] = self._clock.monotonic() + (
                    self._config.discovery.rediscover_minutes * 60 if pause_s is None else pause_s
                )
                retry_s[name] = FIRST_RETRY_S if pause_s is None else min(pause_s * 2, LONGEST_RETRY_S)
            if _wait_either(stop, self._again, 1.0):
                self._again.clear()
                due_at = dict.fromkeys(due_at, self._clock.monotonic())

    def _ask(self, name: str, source: Recorder | CameraEntry, retry_s: float, stop: Event) -> float | None:
        """One attempt. Returns the pause before the next one, or None when it answered or must be left."""
        address = source.address if isinstance(source, Recorder) else ""
        try:
            if isinstance(source, CameraEntry):
                self._inbox.put(CameraPlaced(self._clock.now(), camera_by_hand(source)))
            else:
                self._inbox.put(self._find(source, stop))
        except DeviceError as error:
            final = error.step in FINAL
            self._inbox.put(
                RecorderFailed(
                    self._clock.now(),
                    name,
                    address,
                    error.step,
                    str(error),
                    None if final else retry_s,
                )
            )
            return None if final else retry_s
        return None

    def _find(self, recorder: Recorder, stop: Event) -> RecorderFound:
        """Where it is, then who it is: by ONVIF, else by its maker's stream URLs. Raises DeviceError."""
        place = locate.locate(recorder, self._config.discovery, stop)
        try:
            return self._interview(recorder, place)
        except DeviceError as error:
            return self._without_onvif(recorder, self._place_now(recorder, place, error, stop), error)

    def _place_now(self, recorder: Recorder, place: Place, error: DeviceError, stop: Event) -> Place:
        """Nothing answers where the recorder was: look for it elsewhere. Raises DeviceError."""
        rtsp_port = recorder.rtsp_port or RTSP_PORT
        if error.step != "reachable" or web.answers(place.address, rtsp_port):
            return place
        elsewhere = locate.moved(recorder, self._macs.get(recorder.name, ""), self._config.discovery, stop)
        if elsewhere is None or elsewhere.address == place.address:
            raise error
        log.warning("%s moved from %s to %s", recorder.name, place.address, elsewhere.address)
        return elsewhere

    def _without_onvif(self, recorder: Recorder, place: Place, error: DeviceError) -> RecorderFound:
        """Raises the error of ONVIF when RTSP does not answer either, else RTSP's own."""
        if error.step == "reachable" and place.port:
            with contextlib.suppress(DeviceError):
                return self._interview(recorder, place)  # it moved, and ONVIF answers there
        port = recorder.rtsp_port or RTSP_PORT
        credentials = credentials_of(recorder)
        barred = credentials is not None and not self._gate.may_try(place.address, credentials, Door.RTSP)
        # cameras that ONVIF named once play on under its URLs, whatever ONVIF does now
        if recorder.name in self._by_onvif or barred or not web.answers(place.address, port):
            raise error
        make, found = templates.cameras(
            place.address, port, recorder.brand, credentials, self._gate, recorder.channels
        )
        mac = place.mac or sweep.macs().get(place.address, "")
        self._macs[recorder.name] = mac
        identity = Identity(manufacturer=make.name, mac=mac, address=place.address)
        log.warning(
            "%s: %d cameras found by the usual URLs of %s, because ONVIF does not work: %s",
            recorder.name,
            len(found),
            make.name,
            error,
        )
        return self._found(recorder, place, DeviceReport(identity, None, found, ()))

    def _interview(self, recorder: Recorder, place: Place) -> RecorderFound:
        if not place.port:
            raise DeviceError("services", f"{place.address} does not answer in ONVIF")
        report = device.probe(
            place.address, place.port, credentials_of(recorder), clock=self._clock, gate=self._gate
        )
        self._by_onvif.add(recorder.name)
        self._macs[recorder.name] = report.identity.mac or place.mac
        return self._found(recorder, place, report)

    def _found(self, recorder: Recorder, place: Place, report: DeviceReport) -> RecorderFound:
        wanted = set(recorder.channels)
        cameras = tuple(
            Camera(
                id="",
                uid=device.camera_uid(report.identity, channel),
                name=channel.label,
                main=channel.main,
                sub=channel.sub,
                recorder=recorder.name,
                channel=channel.number,
                verified=channel.verified,
                snapshot_url=channel.snapshot_url,
            )
            for channel in report.channels
            if not wanted or channel.number in wanted
        )
        identity = report.identity
        return RecorderFound(
            self._clock.now(),
            recorder.name,
            place.address,
            identity.manufacturer,
            identity.model,
            identity.serial,
            report.clock_offset_s,
            cameras,
            _event_source(recorder, place.address, report),
            self._macs.get(recorder.name, ""),
        )


def _event_source(recorder: Recorder, address: str, report: DeviceReport) -> EventSource | None:
    if report.events is None:
        return None
    path, port = report.events
    tokens = [
        (token, channel.number)
        for channel in report.channels
        for token in (channel.source_token, channel.source_configuration)
        if token
    ]
    return EventSource(recorder.name, address, port, path, credentials_of(recorder), tuple(tokens))


def credentials_of(recorder: Recorder) -> Credentials | None:
    try:
        password = recorder.secret()
    except OSError as error:
        raise DeviceError(
            "auth", f"{recorder.name}: cannot read {recorder.password_file}: {error.strerror}"
        ) from error
    return Credentials(recorder.username, password) if recorder.username else None


def camera_by_hand(entry: CameraEntry) -> Camera:
    """A camera from its configured URL. Raises ConfigError when the URL or its host is no good."""
    main = endpoint(entry.id, entry.url.get_secret_value())
    sub_url = entry.sub_url.get_secret_value()
    return Camera(
        id=entry.id,
        uid=f"url:{entry.id}",
        name=entry.name or entry.id,
        main=main,
        sub=endpoint(entry.id, sub_url) if sub_url else None,
    )


def endpoint(camera: str, url: str) -> Endpoint:
    """Split `rtsp://user:password@host:port/path` into an address and credentials kept apart."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or RTSP_PORT
    except ValueError as error:
        raise ConfigError(
            [f"cameras.{camera}.url: not an RTSP URL; encode @ : / # ? in passwords"]
        ) from error
    if parts.scheme != "rtsp" or not host:
        raise ConfigError([f"cameras.{camera}.url: must be rtsp://[user:password@]host[:port]/path"])
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    bare = urlunsplit(("rtsp", netloc, parts.path, parts.query, ""))
    credentials = (
        Credentials(unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    )
    return Endpoint(bare, locate.resolve(host), port, credentials)


def _wait_either(stop: Event, other: Event, seconds: float) -> bool:
    """Wait for `other` in short steps, so that `stop` is seen at once."""
    for _ in range(max(1, int(seconds / 0.1))):
        if other.is_set() or stop.wait(0.1):
            break
    return other.is_set()
