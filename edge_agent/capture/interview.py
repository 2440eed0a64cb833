"""The questions that `device.probe` asks, in order, with a human sentence for every way they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from edge_agent.capture import addresses, channels, device_clock, onvif, soap, web
from edge_agent.capture.channels import Channel, Identity, Pair, Profile
from edge_agent.capture.device import CURES, DeviceReport, Step
from edge_agent.capture.onvif import OnvifDevice
from edge_agent.capture.profiles import clean, profiles_in
from edge_agent.capture.session import DEVICE_PATH, AuthRefused, Session
from edge_agent.capture.soap_request import envelope
from edge_agent.capture.web import WebError
from edge_agent.capture.wsd import plain_mac
from edge_agent.clock import Clock
from edge_agent.errors import DeviceError, EdgeAgentError, FormatError
from edge_agent.model import Endpoint

_STREAM_SETUP = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}


class Interview:
    """One device, one run, one thread."""

    def __init__(
        self, session: Session, clock: Clock, on_step: Callable[[Step], None] | None, until: float
    ) -> None:
        """The device accepts connections. `until`: when, on the clock's monotonic time, no further stream is
        asked for.
        """
        self._session = session
        self._address, self._port = session.host, session.port
        self._clock = clock
        self._on_step = on_step
        self._until = until
        self._steps: list[Step] = []
        self._media2_path: tuple[str, int] | None = None
        self._events_door: tuple[str, int] | None = None
        self._media2 = False
        self._snapshots = True

    def run(self) -> DeviceReport:
        self._passed("reachable", f"{self._address} accepts connections on port {self._port}")
        with _explained("clock"):
            self._ask_clock()
        with _explained("auth"):
            device = OnvifDevice(self._session)
            identity = self._identify(device)
        with _explained("services"):
            self._ask_services(device)
        with _explained("channels"):
            pairs = self._list_channels(device)
        with _explained("streams"):
            found = self._ask_streams(device, pairs)
        return DeviceReport(
            identity, self._session.clock_offset_s, found, tuple(self._steps), self._events_door
        )

    def _passed(self, name: str, sentence: str) -> None:
        step = Step(name, sentence)
        self._steps.append(step)
        if self._on_step is not None:
            self._on_step(step)

    def _ask_clock(self) -> None:
        if not self._session.ask_clock():
            self._passed("clock", "the device tells no usable time; ours is assumed")
            return
        offset_s = self._session.clock_offset_s or 0.0
        self._passed(
            "clock", f"its clock is {device_clock.spoken(offset_s)} (footage carries the box's time)"
        )

    def _identify(self, device: OnvifDevice) -> Identity:
        answer = device.call("devicemgmt", "GetDeviceInformation")
        identity = Identity(
            manufacturer=clean(soap.text(answer, "Manufacturer")),
            model=clean(soap.text(answer, "Model")),
            serial=clean(soap.text(answer, "SerialNumber")),
            mac=self._mac(device),
            address=self._address,
        )
        credentials = self._session.credentials
        user = f"as {credentials.username!r}" if credentials else "without password"
        what = f"{identity.manufacturer} {identity.model}".strip() or "the device"
        self._passed("auth", f"{what} answers {user} ({self._session.scheme.value})")
        return identity

    def _mac(self, device: OnvifDevice) -> str:
        try:
            answer = device.call("devicemgmt", "GetNetworkInterfaces")
        except EdgeAgentError:
            return ""  # a viewer account may not ask; the serial number is enough
        texts = (soap.text(e, "Info", "HwAddress") for e in soap.each(answer, "NetworkInterfaces"))
        return next((plain_mac(t) for t in texts if len(plain_mac(t)) == 17), "")

    def _ask_services(self, device: OnvifDevice) -> None:
        """GetServices, or GetCapabilities where the firmware is older than 2012 or faults."""
        try:
            claims = onvif.service_xaddrs(device.call("devicemgmt", "GetServices", IncludeCapability=False))
        except (soap.SoapFault, FormatError):
            claims = {}
        if not {onvif.MEDIA, onvif.MEDIA2} & claims.keys():
            answer = device.call("devicemgmt", "GetCapabilities", Category=["All"])
            claims = {**claims, **onvif.service_xaddrs(answer)}
        ports = self._usable_ports(claims)
        if onvif.MEDIA2 in claims:
            claim = claims[onvif.MEDIA2]
            self._media2_path = (claim.rest, ports[claim.port])
        if onvif.EVENTS in claims:
            self._events_door = (claims[onvif.EVENTS].rest, ports[claims[onvif.EVENTS].port])
        device.learn(
            {ns: addresses.url("http", self._address, ports[c.port], c.rest) for ns, c in claims.items()}
        )
        if not {onvif.MEDIA, onvif.MEDIA2} & claims.keys():
            raise DeviceError(
                "services",
                f"{self._address} offers no media service: it is no camera or recorder, or its ONVIF user "
                "may not see video",
            )
        self._passed("services", f"{len(claims)} services")

    def _usable_ports(self, claims: Mapping[str, addresses.Claim]) -> dict[int | None, int]:
        """Each claimed port if ONVIF answers there (some split services), else the one that was reached."""
        ports: dict[int | None, int] = {None: self._port, self._port: self._port}
        for claim in [*claims.values()][:16]:
            if claim.port is not None and claim.port not in ports:
                usable = self._session.understands(claim.rest, claim.port)
                ports[claim.port] = claim.port if usable else self._port
        return {c.port: ports.get(c.port, self._port) for c in claims.values()}

    def _list_channels(self, device: OnvifDevice) -> tuple[Pair, ...]:
        profiles = self._profiles(device)
        pairs = channels.pairs(profiles)
        if not pairs:
            raise DeviceError(
                "channels",
                f"{self._address} lists no media profile; create one in its ONVIF menu, or reset that menu",
            )
        self._passed("channels", f"{len(pairs)} channel(s) in {len(profiles)} profiles")
        return pairs

    def _profiles(self, device: OnvifDevice) -> list[Profile]:
        """By Media, else by Media2: the Media2 of some D-Link faults, Profile T devices have only it."""
        trouble: EdgeAgentError | None = None
        try:
            found = profiles_in(device.call("media", "GetProfiles"))
            if found:
                return found
        except (soap.SoapFault, FormatError, DeviceError, WebError) as error:
            trouble = error
        if self._media2_path is not None:
            self._media2 = True
            body = '<GetProfiles xmlns="http://www.onvif.org/ver20/media/wsdl"><Type>All</Type></GetProfiles>'
            return profiles_in(self._ask_media2(body))
        if trouble is not None:
            raise trouble
        return []

    def _ask_media2(self, body: str) -> soap.Element:
        path, port = self._media2_path or (DEVICE_PATH, self._port)
        return self._session.call(path, envelope(body), port=port)

    def _ask_streams(self, device: OnvifDevice, pairs: tuple[Pair, ...]) -> tuple[Channel, ...]:
        streams: dict[str, addresses.Claim] = {}
        snapshots: dict[str, str] = {}
        trouble: EdgeAgentError | None = None
        for pair in pairs:
            for profile in (pair.main, pair.sub):
                if profile is None or self._clock.monotonic() > self._until:
                    continue
                try:
                    claim = self._stream(device, profile)
                except (soap.SoapFault, FormatError, WebError) as error:
                    trouble = error
                    continue
                if claim is not None:
                    streams[profile.token] = claim
            snapshots[pair.main.token] = self._snapshot(device, pair.main)
            if self._on_step is not None:
                self._on_step(Step("streams", f"asked for {pair.source}"))
        if not streams:
            raise DeviceError(
                "streams",
                f"{self._address} names no RTSP stream ({trouble or 'empty answers'}); switch RTSP on in its "
                "network menu, or add its cameras by URL",
            )
        return self._channels(pairs, streams, snapshots)

    def _channels(
        self, pairs: tuple[Pair, ...], streams: Mapping[str, addresses.Claim], snapshots: Mapping[str, str]
    ) -> tuple[Channel, ...]:
        numbers = channels.numbers(pairs, {token: claim.rest for token, claim in streams.items()})
        ports = self._rtsp_ports(streams)

        def endpoint(profile: Profile | None) -> Endpoint | None:
            claim = streams.get(profile.token) if profile else None
            if claim is None:
                return None
            port = ports[claim.port]
            url = addresses.url("rtsp", self._address, port, claim.rest)
            return Endpoint(url, self._address, port, self._session.credentials)

        found = tuple(
            Channel(
                number=number.value,
                label=f"Channel {number.value}",
                verified=number.verified,
                main=endpoint(pair.main) or endpoint(pair.sub),
                sub=endpoint(pair.sub) if endpoint(pair.main) else None,
                snapshot_url=snapshots.get(pair.main.token, ""),
                source_token=pair.source,
                source_configuration=pair.main.source_configuration,
            )
            for pair, number in zip(pairs, numbers, strict=True)
            if endpoint(pair.main) or endpoint(pair.sub)
        )
        guessed = sum(not c.verified for c in found)
        note = f", {guessed} numbered by list position: check them" if guessed else ""
        self._passed("streams", f"{len(streams)} streams of {len(found)} camera(s){note}")
        return found

    def _rtsp_ports(self, streams: Mapping[str, addresses.Claim]) -> dict[int | None, int]:
        ports: dict[int | None, int] = {None: addresses.RTSP_PORT}
        for claimed in {c.port for c in streams.values()} - {None}:
            assert claimed is not None
            ports[claimed] = claimed if web.answers(self._address, claimed) else addresses.RTSP_PORT
        return ports

    def _stream(self, device: OnvifDevice, profile: Profile) -> addresses.Claim | None:
        """By the service that listed the profile; both know the same tokens, so the other one may help."""
        if self._media2:
            return self._stream2(profile)
        try:
            answer = device.call(
                "media", "GetStreamUri", StreamSetup=_STREAM_SETUP, ProfileToken=profile.token
            )
        except (soap.SoapFault, FormatError):
            if self._media2_path is None:
                raise
            return self._stream2(profile)
        return addresses.stream(soap.text(answer, "MediaUri", "Uri"))

    def _stream2(self, profile: Profile) -> addresses.Claim | None:
        body = (
            '<GetStreamUri xmlns="http://www.onvif.org/ver20/media/wsdl"><Protocol>RTSP</Protocol>'
            f"<ProfileToken>{_escaped(profile.token)}</ProfileToken></GetStreamUri>"
        )
        return addresses.stream(soap.text(self._ask_media2(body), "Uri"))

    def _snapshot(self, device: OnvifDevice, profile: Profile) -> str:
        """The snapshot URL on the reached host, or nothing; after one refusal it is not asked for again."""
        if not self._snapshots or self._media2 or self._clock.monotonic() > self._until:
            return ""
        try:
            answer = device.call("media", "GetSnapshotUri", ProfileToken=profile.token)
        except EdgeAgentError:
            self._snapshots = False
            return ""
        claim = addresses.service(soap.text(answer, "MediaUri", "Uri"))
        return addresses.url("http", self._address, claim.port or 80, claim.rest) if claim else ""


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a DeviceError of this step, with a cure in its sentence."""
    try:
        yield
    except DeviceError:
        raise
    except AuthRefused as error:
        raise DeviceError("auth", str(error)) from error
    except WebError as error:
        raise DeviceError(step, f"{error}: {CURES[error.trouble]}") from error
    except soap.SoapFault as error:
        cure = "give this user the right to view video in the ONVIF user list"
        hint = f"; {cure}" if error.fault.not_authorized else ""
        raise DeviceError(step, f"the device refuses this question ({error}){hint}") from error
    except FormatError as error:
        raise DeviceError(
            step, f"the device answers, but not in ONVIF ({error}): switch ONVIF on in its network menu"
        ) from error


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
