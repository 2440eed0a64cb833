"""Finds the site's recorders and asks them for their cameras, again and again until they answer.

Recording never waits for this: cameras known by URL start at once, cameras known from last time as soon as
their recorder is found. Runs in its own thread because ONVIF blocks.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from threading import Event
from urllib.parse import unquote, urlsplit, urlunsplit

from edge_agent.capture.device import DeviceReport
from edge_agent.capture.device_events import EventSource
from edge_agent.capture.ports import CredentialGate
from edge_agent.clock import Clock
from edge_agent.config import CameraEntry, Config, Recorder
from edge_agent.errors import ConfigError, DeviceError
from edge_agent.events import Fact, Inbox
from edge_agent.model import Camera, Credentials, Endpoint
from edge_agent.supervisor import Beat

FIRST_RETRY_S = 3.0
LONGEST_RETRY_S = 60.0
RTSP_PORT = 554


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
                address, port = self.locate(source, stop)
                self._inbox.put(self._question(source, address, port))
        except DeviceError as error:
            # asking again with the same wrong password would lock the account: leave it alone
            final = error.step == "auth"
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

    def locate(self, recorder: Recorder, stop: Event) -> tuple[str, int]:
        """Address and ONVIF port: configured, or discovered."""
        if recorder.address:
            return resolve(recorder.address), recorder.onvif_port or 80
        from edge_agent.capture import discovery

        found = discovery.discover(
            self._config.discovery.interfaces,
            stop=stop,
            on_found=lambda device: bool(recorder.endpoint) and device.epr == recorder.endpoint,
        )
        if recorder.endpoint:
            found = [f for f in found if f.epr == recorder.endpoint]
        if not found:
            raise DeviceError(
                "reachable",
                f"{recorder.name}: no recorder answered the discovery; check that it is on and that ONVIF is "
                "enabled in its network menu, or set recorders.address",
            )
        if len(found) > 1:
            addresses = ", ".join(sorted(f.address for f in found))
            raise DeviceError(
                "reachable",
                f"{recorder.name}: {len(found)} devices answered ({addresses}); "
                "set recorders.address for each",
            )
        return found[0].address, found[0].port

    def _question(self, recorder: Recorder, address: str, port: int) -> RecorderFound:
        from edge_agent.capture import device

        report = device.probe(address, port, credentials_of(recorder), clock=self._clock, gate=self._gate)
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
            address,
            identity.manufacturer,
            identity.model,
            identity.serial,
            report.clock_offset_s,
            cameras,
            _event_source(recorder, address, report),
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
    return Endpoint(bare, resolve(host), port, credentials)


def resolve(host: str) -> str:
    """A literal address as it is; a name through DNS. Raises DeviceError."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise DeviceError("reachable", f"{host}: the name cannot be resolved ({error.strerror})") from error


def _wait_either(stop: Event, other: Event, seconds: float) -> bool:
    """Wait for `other` in short steps, so that `stop` is seen at once."""
    for _ in range(max(1, int(seconds / 0.1))):
        if other.is_set() or stop.wait(0.1):
            break
    return other.is_set()
