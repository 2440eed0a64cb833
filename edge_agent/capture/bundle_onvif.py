"""Asks a device everything that ONVIF lets a viewer read, and keeps each answer as it came.

Read-only, serial, one password scheme at a time through the credential gate. The one thing that is created
is a pull point, and it is given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from xml.sax.saxutils import escape

from edge_agent.capture import addresses, channels, device_clock, onvif, soap, web
from edge_agent.capture.addresses import Claim
from edge_agent.capture.bundle import Facts
from edge_agent.capture.bundle_tape import Collected
from edge_agent.capture.channels import Profile
from edge_agent.capture.profiles import clean, profiles_in
from edge_agent.capture.pullpoint import PullPoint
from edge_agent.capture.session import DEVICE_PATH, AuthRefused, Session
from edge_agent.capture.soap_request import envelope
from edge_agent.capture.web import WebError
from edge_agent.clock import Clock
from edge_agent.errors import DeviceError, EdgeAgentError, FormatError

MAX_PROFILES = 64
MAX_SILENCES = 3  # in a row: the device is gone, or hangs at every question
_MEDIA_SETUP = (
    '<StreamSetup><Stream xmlns="http://www.onvif.org/ver10/schema">RTP-Unicast</Stream>'
    '<Transport xmlns="http://www.onvif.org/ver10/schema"><Protocol>RTSP</Protocol></Transport></StreamSetup>'
)


@dataclass(frozen=True, slots=True)
class NamedStream:
    """A stream that ONVIF named: where it is, and which camera it shows (0: not known)."""

    claim: Claim
    profile: str
    channel: int
    role: str


@dataclass(slots=True)
class OnvifTaping:
    """One device, one run, one thread. The session's sender is the tape that keeps the answers."""

    session: Session
    clock: Clock
    collected: Collected
    facts: Facts = field(default_factory=Facts)
    refused: str = ""  # why no more passwords are sent
    _doors: dict[str, tuple[str, int]] = field(default_factory=dict)
    _silences: int = 0

    def run(self, pulls: int, pull_s: float) -> tuple[NamedStream, ...]:
        """The streams that were named, best first of each camera. Never raises for what the device does."""
        with self._step("clock") as said:
            told = self.session.ask_clock()
            offset = self.session.clock_offset_s if told else None
            said.append("no usable time" if offset is None else f"its clock is {device_clock.spoken(offset)}")
        with self._step("device") as said:
            said.append(self._identify())
        with self._step("services") as said:
            said.append(self._services())
        with self._step("network"):
            self._device("GetNetworkInterfaces")
        with self._step("sources") as said:
            sources = self._ask(onvif.MEDIA, "GetVideoSources")
            said.append(f"{sum(1 for _ in soap.each(sources, 'VideoSources'))} video sources")
        streams = self._media()
        with self._step("events") as said:
            said.append(self._events(pulls, pull_s))
        return streams

    def _identify(self) -> str:
        answer = self._device("GetDeviceInformation")
        told = partial(soap.text, answer)
        self.facts = Facts(
            clean(told("Manufacturer")),
            clean(told("Model")),
            clean(told("FirmwareVersion")),
            self.session.clock_offset_s,
        )
        return f"{self.facts.manufacturer} {self.facts.model}, firmware {self.facts.firmware}"

    def _services(self) -> str:
        """Both questions, whatever the first says: where they disagree is what we want to see."""
        claims: dict[str, Claim] = {}
        trouble: EdgeAgentError | None = None
        for operation, inside in (
            ("GetServices", "<IncludeCapability>false</IncludeCapability>"),
            ("GetCapabilities", "<Category>All</Category>"),
        ):
            try:
                claims = {**onvif.service_xaddrs(self._device(operation, inside)), **claims}
            except (soap.SoapFault, DeviceError) as error:
                trouble = error
        for namespace, claim in claims.items():
            self._doors[namespace] = (claim.rest, self._usable(claim.port))
        if not claims and trouble is not None:
            raise trouble
        return f"{len(claims)} services"

    def _media(self) -> tuple[NamedStream, ...]:
        named: dict[str, Claim] = {}
        profiles: list[Profile] = []
        for step, namespace in (("media", onvif.MEDIA), ("media2", onvif.MEDIA2)):
            if namespace == onvif.MEDIA2 and namespace not in self._doors:
                continue
            with self._step(step) as said:
                found = self._profiles(namespace)
                said.append(f"{len(found)} profiles")
                profiles = profiles or found
                claims = self._uris(namespace, found)
                named = {**claims, **named}
                said.append(f"{len(claims)} stream addresses")
        return _streams(profiles, named)

    def _profiles(self, namespace: str) -> list[Profile]:
        inside = "<Type>All</Type>" if namespace == onvif.MEDIA2 else ""
        return profiles_in(self._ask(namespace, "GetProfiles", inside))[:MAX_PROFILES]

    def _uris(self, namespace: str, profiles: list[Profile]) -> dict[str, Claim]:
        """Stream and snapshot address of each profile; a fault of one does not stop the others."""
        claims: dict[str, Claim] = {}
        for profile in profiles:
            token = f"<ProfileToken>{escape(profile.token)}</ProfileToken>"
            setup = "<Protocol>RTSP</Protocol>" if namespace == onvif.MEDIA2 else _MEDIA_SETUP
            for operation, inside in (("GetStreamUri", setup + token), ("GetSnapshotUri", token)):
                if self.collected.left_s <= 0:
                    return claims
                try:
                    answer = self._ask(namespace, operation, inside)
                except (soap.SoapFault, DeviceError):
                    continue
                uri = soap.text(answer, "MediaUri", "Uri") or soap.text(answer, "Uri")
                claim = addresses.stream(uri)
                if operation == "GetStreamUri" and claim is not None:
                    claims[profile.token] = claim
        return claims

    def _events(self, pulls: int, pull_s: float) -> str:
        path, port = self._door(onvif.EVENTS)
        if self.refused:
            raise DeviceError("events", f"not asked: {self.refused}")
        try:
            self._ask(onvif.EVENTS, "GetEventProperties")
        except (soap.SoapFault, DeviceError) as error:
            self.collected.told("event properties", False, str(error))
        point = PullPoint.create(self.session, path, port, self.clock.monotonic())
        heard = 0
        try:
            for _ in range(pulls):
                if self.collected.left_s > 0:
                    heard += len(point.pull(pull_s))
        finally:
            point.unsubscribe()
        return f"{heard} messages"

    def _device(self, operation: str, inside: str = "") -> soap.Element:
        return self._ask(onvif.DEVICE, operation, inside)

    def _ask(self, namespace: str, operation: str, inside: str = "") -> soap.Element:
        """FormatError and WebError of one answer become a DeviceError; silence and refusals are counted."""
        if self.refused:
            raise DeviceError("auth", f"not asked: {self.refused}")
        path, port = self._door(namespace)
        body = envelope(f'<{operation} xmlns="{namespace}">{inside}</{operation}>')
        try:
            answer = self.session.call(path, body, port=port)
        except AuthRefused as error:
            self.refused = str(error)
            raise
        except (WebError, FormatError) as error:
            self._silences += isinstance(error, WebError)
            raise DeviceError(operation, f"{operation}: {error}") from error
        self._silences = 0
        return answer

    def _door(self, namespace: str) -> tuple[str, int]:
        return self._doors.get(namespace, (DEVICE_PATH, self.session.port))

    def _usable(self, claimed: int | None) -> int:
        port = self.session.port
        if claimed in (None, port):
            return port
        assert claimed is not None
        return claimed if web.answers(self.session.host, claimed) else port

    def _step(self, name: str) -> AbstractContextManager[list[str]]:
        if self._silences >= MAX_SILENCES:
            self.refused = self.refused or "the device did not answer three questions in a row"
        return self.collected.step(name)


def _streams(profiles: list[Profile], named: Mapping[str, Claim]) -> tuple[NamedStream, ...]:
    """Numbered as the agent numbers cameras; profiles beyond main and sub come last."""
    pairs = channels.pairs(profiles)
    numbers = channels.numbers(pairs, {token: claim.rest for token, claim in named.items()})
    found: dict[str, NamedStream] = {}
    for pair, number in zip(pairs, numbers, strict=True):
        for profile, role in ((pair.main, "main"), (pair.sub, "sub")):
            if profile is not None and profile.token in named:
                token = profile.token
                found[token] = NamedStream(named[token], token, number.value, role)
    for token, claim in named.items():
        found.setdefault(token, NamedStream(claim, token, 0, "other"))
    return tuple(found.values())
