"""The ONVIF device service (ver10/device): who the recorder is, what time it has, what it offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from edge_agent.demo.dvr import brand as brands
from edge_agent.demo.dvr.faults import DateTimeManners, ServiceManners
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.soap import SoapRequest

DEVICE_PATH = "/onvif/device_service"
MEDIA_PATH = "/onvif/media_service"
MEDIA2_PATH = "/onvif/media2_service"
EVENTS_PATH = "/onvif/event_service"
_NAMESPACES = {
    DEVICE_PATH: "http://www.onvif.org/ver10/device/wsdl",
    MEDIA_PATH: "http://www.onvif.org/ver10/media/wsdl",
    MEDIA2_PATH: "http://www.onvif.org/ver20/media/wsdl",
    EVENTS_PATH: "http://www.onvif.org/ver10/events/wsdl",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the recorder hands out: host and port for HTTP and for RTSP, true or not."""

    http: str
    rtsp: str


Operation = Callable[[Recorder, SoapRequest, Addresses], str]  # the content of the reply's body


def scopes(recorder: Recorder) -> tuple[str, ...]:
    model = brands.model(recorder.config.brand)
    return (
        "onvif://www.onvif.org/type/Network_Video_Transmitter",
        "onvif://www.onvif.org/type/video_encoder",
        "onvif://www.onvif.org/Profile/Streaming",
        f"onvif://www.onvif.org/hardware/{model}",
        f"onvif://www.onvif.org/name/{brands.manufacturer(recorder.config.brand)}",
        "onvif://www.onvif.org/location/country/india",
        f"onvif://www.onvif.org/MAC/{mac(recorder)}",
    )


def mac(recorder: Recorder) -> str:
    """Locally administered, derived from the serial number: the same recorder keeps it."""
    tail = recorder.config.serial.encode()[-5:].rjust(5, b"0")
    return ":".join(f"{octet:02x}" for octet in b"\x02" + tail)


def get_system_date_and_time(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    now = recorder.device_time()
    manners = recorder.faults.device.date_time
    minute = 61 if manners is DateTimeManners.MINUTE_61 else now.minute
    utc = "" if manners is DateTimeManners.LOCAL_ONLY else _date_time("UTCDateTime", now, minute)
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
        "<tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        f"<tt:TimeZone><tt:TZ>UTC</tt:TZ></tt:TimeZone>{utc}{_date_time('LocalDateTime', now, minute)}"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def get_device_information(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    brand = recorder.config.brand
    return (
        "<tds:GetDeviceInformationResponse>"
        f"<tds:Manufacturer>{brands.manufacturer(brand)}</tds:Manufacturer><tds:Model>{brands.model(brand)}</tds:Model>"
        "<tds:FirmwareVersion>4.001.0000000.1</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{escape(recorder.config.serial)}</tds:SerialNumber><tds:HardwareId>1.00</tds:HardwareId>"
        "</tds:GetDeviceInformationResponse>"
    )


def get_capabilities(_recorder: Recorder, _request: SoapRequest, at: Addresses) -> str:
    return (
        "<tds:GetCapabilitiesResponse><tds:Capabilities>"
        f"<tt:Device><tt:XAddr>http://{at.http}{DEVICE_PATH}</tt:XAddr></tt:Device>"
        f"<tt:Events><tt:XAddr>http://{at.http}{EVENTS_PATH}</tt:XAddr>"
        "<tt:WSSubscriptionPolicySupport>true</tt:WSSubscriptionPolicySupport>"
        "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
        "<tt:WSPausableSubscriptionManagerInterfaceSupport>false</tt:WSPausableSubscriptionManagerInterfaceSupport>"
        f"</tt:Events><tt:Media><tt:XAddr>http://{at.http}{MEDIA_PATH}</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP>"
        "</tt:StreamingCapabilities></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def get_services(recorder: Recorder, _request: SoapRequest, at: Addresses) -> str:
    services = "".join(
        f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace><tds:XAddr>http://{at.http}{path}</tds:XAddr>"
        "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
        for path, namespace in _NAMESPACES.items()
        if path != MEDIA2_PATH or recorder.faults.device.media2 is not ServiceManners.ABSENT
    )
    return f"<tds:GetServicesResponse>{services}</tds:GetServicesResponse>"


def get_scopes(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    items = "".join(
        f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>{escape(scope)}</tt:ScopeItem></tds:Scopes>"
        for scope in scopes(recorder)
    )
    return f"<tds:GetScopesResponse>{items}</tds:GetScopesResponse>"


def get_network_interfaces(recorder: Recorder, _request: SoapRequest, at: Addresses) -> str:
    address = at.http.partition(":")[0]
    return (
        '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled>'
        f"<tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>{mac(recorder)}</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info>"
        "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual>"
        f"<tt:Address>{address}</tt:Address><tt:PrefixLength>24</tt:PrefixLength></tt:Manual>"
        "<tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4></tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
    )


def get_hostname(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    name = brands.model(recorder.config.brand)
    return (
        "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>{name}</tt:Name></tds:HostnameInformation></tds:GetHostnameResponse>"
    )


def _date_time(tag: str, moment: datetime, minute: int) -> str:
    return (
        f"<tt:{tag}><tt:Time><tt:Hour>{moment.hour}</tt:Hour><tt:Minute>{minute}</tt:Minute>"
        f"<tt:Second>{moment.second}</tt:Second></tt:Time><tt:Date><tt:Year>{moment.year}</tt:Year>"
        f"<tt:Month>{moment.month}</tt:Month><tt:Day>{moment.day}</tt:Day></tt:Date></tt:{tag}>"
    )


OPERATIONS: dict[str, Operation] = {
    "GetSystemDateAndTime": get_system_date_and_time,
    "GetDeviceInformation": get_device_information,
    "GetCapabilities": get_capabilities,
    "GetServices": get_services,
    "GetScopes": get_scopes,
    "GetNetworkInterfaces": get_network_interfaces,
    "GetHostname": get_hostname,
}
