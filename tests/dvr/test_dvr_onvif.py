"""ONVIF as clients meet it: onvif-zeep, plain HTTP, and multicast on the loopback."""

from __future__ import annotations

import base64
import hashlib
import http.client
import logging
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep.transports

from edge_agent.demo.dvr.client import VirtualDvr

EVENTS = "http://www.onvif.org/ver10/events/wsdl"
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"


@pytest.fixture
def camera(dvr: VirtualDvr) -> Iterator[Any]:
    before = logging.getLogger().handlers[:]
    import onvif  # it configures logging at import

    wsdl = next(Path(sys.prefix).rglob("wsdl/devicemgmt.wsdl")).parent
    password = dvr.credentials.password
    with requests.Session() as session:
        transport = zeep.transports.Transport(session=session)
        user = dvr.credentials.username
        yield onvif.ONVIFCamera(dvr.host, dvr.http_port, user, password, str(wsdl), transport=transport)
    logging.getLogger().handlers[:] = before


def envelope(body: str, password: str = "", created: str = "") -> bytes:
    header = ""
    if password:
        raw = hashlib.sha1(b"0123456789abcdef" + created.encode() + password.encode()).digest()
        header = (
            f'<w:Security xmlns:w="{WSSE}-wssecurity-secext-1.0.xsd" '
            f'xmlns:u="{WSSE}-wssecurity-utility-1.0.xsd">'
            "<w:UsernameToken><w:Username>admin</w:Username>"
            f'<w:Password Type="{WSSE}-username-token-profile-1.0#PasswordDigest">'
            f"{base64.b64encode(raw).decode()}</w:Password><w:Nonce>{base64.b64encode(b'0123456789abcdef').decode()}</w:Nonce>"
            f"<u:Created>{created}</u:Created></w:UsernameToken></w:Security>"
        )
    soap = "http://www.w3.org/2003/05/soap-envelope"
    whole = f'<s:Envelope xmlns:s="{soap}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    return whole.encode()


def zulu(offset_s: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def ask(dvr: VirtualDvr) -> Callable[..., tuple[int, str]]:
    """One SOAP operation over plain HTTP: status and body."""

    def post(
        operation: str, path: str = "device_service", namespace: str = DEVICE, **token: str
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(dvr.host, dvr.http_port, timeout=3)
        connection.request("POST", f"/onvif/{path}", envelope(f'<{operation} xmlns="{namespace}"/>', **token))
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    return post


def test_zeep_reads_device_profiles_sources_and_uris(dvr: VirtualDvr, camera: Any) -> None:
    device, media = camera.devicemgmt, camera.create_media_service()
    assert device.GetDeviceInformation().SerialNumber == "4E01B7EPAZ0TEST"
    assert device.GetSystemDateAndTime().UTCDateTime.Date.Year >= 2026
    assert len(device.GetServices({"IncludeCapability": False})) == 3
    assert device.GetNetworkInterfaces()[0].Info.HwAddress.count(":") == 5
    assert device.GetHostname().Name
    assert device.GetScopes()[0].ScopeDef == "Fixed"
    profiles = media.GetProfiles()
    assert [profile.Name for profile in profiles[:2]] == [
        "MediaProfile_Channel1_MainStream",
        "MediaProfile_Channel1_SubStream1",
    ]
    assert profiles[0].VideoEncoderConfiguration.Resolution.Width == 320
    assert profiles[2].VideoEncoderConfiguration is None  # H.265 has no word in Media1
    assert [source.token for source in media.GetVideoSources()] == ["00000", "00100"]
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    uri = media.GetStreamUri({"StreamSetup": setup, "ProfileToken": profiles[2].token}).Uri
    assert uri.startswith(dvr.rtsp_url(2))


def test_a_snapshot_is_a_jpeg_behind_digest(dvr: VirtualDvr, camera: Any) -> None:
    uri = camera.create_media_service().GetSnapshotUri({"ProfileToken": "MediaProfile00000"}).Uri
    digest = requests.auth.HTTPDigestAuth(dvr.credentials.username, dvr.credentials.password)
    with requests.Session() as session:
        assert session.get(uri, timeout=5).status_code == 401
        jpeg = session.get(uri, auth=digest, timeout=5).content
        dvr.control.set_channel(1, mode="off")
        assert session.get(uri, auth=digest, timeout=5).status_code == 404
    assert jpeg.startswith(b"\xff\xd8")
    assert any(piece in jpeg for piece in dvr.control.sent().jpegs)


def test_pull_points_tell_states_then_changes(dvr: VirtualDvr, camera: Any) -> None:
    camera.create_events_service().GetEventProperties()
    points = camera.create_pullpoint_service()
    first = points.PullMessages({"Timeout": "PT1S", "MessageLimit": 100}).NotificationMessage
    assert {message.Message._value_1.get("PropertyOperation") for message in first} == {"Initialized"}
    dvr.control.set_channel(2, mode="off")
    (changed,) = points.PullMessages({"Timeout": "PT5S", "MessageLimit": 100}).NotificationMessage
    items = {
        item.get("Name"): item.get("Value") for item in changed.Message._value_1.iter() if item.get("Name")
    }
    assert items == {"Source": "00100", "State": "true"}


def test_subscriptions_are_limited_renewed_dropped_and_forgotten(dvr: VirtualDvr, ask: Any) -> None:
    dvr.control.act("drop-subscriptions")
    dvr.control.set_device(pull_point_limit=1)

    def call(operation: str, path: str = "event_service") -> tuple[int, str]:
        return ask(operation, path, EVENTS, password=dvr.credentials.password, created=zulu())

    status, body = call("CreatePullPointSubscription")
    assert status == 200
    found = re.search(r"/onvif/(event_service/pullpoint/\d+)", body)
    assert found
    status, body = call("CreatePullPointSubscription")
    assert status == 400
    assert "ter:BlockedThreadUpperLimit" in body
    assert call("Renew", found[1])[0] == 200
    assert call("Unsubscribe", found[1])[0] == 200
    assert dvr.control.state()["pull_points"] == 0
    assert call("Renew", found[1])[0] == 400


def test_the_clock_is_told_to_anyone_and_all_else_needs_a_timely_token(dvr: VirtualDvr, ask: Any) -> None:
    password = dvr.credentials.password
    dvr.control.set_device(clock_skew_s=7 * 3600.0)
    status, body = ask("GetSystemDateAndTime")
    assert status == 200
    assert f"<tt:Hour>{(datetime.now(UTC) + timedelta(hours=7)).hour}</tt:Hour>" in body
    assert ask("GetScopes")[0] == 401
    status, body = ask("GetScopes", password=password, created=zulu())
    assert (status, "time check failed" in body) == (400, True)
    assert ask("GetScopes", password=password, created=zulu(7 * 3600))[0] == 200
    dvr.control.set_device(date_time="needs-auth")
    assert ask("GetSystemDateAndTime")[0] == 401


def test_a_wrong_token_counts_down(dvr: VirtualDvr, ask: Any) -> None:
    dvr.control.set_device(lockout_after=5)
    status, body = ask("GetScopes", password="wrong", created=zulu())
    assert (status, "You still have 4 attempt(s)" in body) == (400, True)


def test_a_digest_only_recorder_refuses_tokens(dvr: VirtualDvr, ask: Any) -> None:
    dvr.control.set_device(onvif_auth="digest")
    assert ask("GetScopes", password=dvr.credentials.password, created=zulu())[0] == 401
    assert dvr.control.state()["wrong_passwords"] == 0


def test_addresses_may_be_foreign(dvr: VirtualDvr, ask: Any) -> None:
    dvr.control.set_device(xaddr="10.9.8.7:8106:8106")
    body = ask("GetCapabilities", password=dvr.credentials.password, created=zulu())[1]
    assert "http://10.9.8.7:8106:8106/onvif/media_service" in body


def test_http_may_hang_drip_or_be_a_web_page(dvr: VirtualDvr, ask: Any) -> None:
    dvr.control.set_device(http="html")
    assert "<html>" in ask("GetScopes")[1]
    for manners in ("hang", "drip"):
        dvr.control.set_device(http=manners)
        connection = http.client.HTTPConnection(dvr.host, dvr.http_port, timeout=0.5)
        connection.request("POST", "/onvif/device_service", envelope(f'<GetScopes xmlns="{DEVICE}"/>'))
        with pytest.raises(TimeoutError):
            connection.getresponse().read()
        connection.close()


def test_unknown_operations_and_noise_are_faults(dvr: VirtualDvr, ask: Any) -> None:
    password = dvr.credentials.password
    status, body = ask("GetCertificates", password=password, created=zulu())
    assert (status, "ter:ActionNotSupported" in body) == (500, True)
    connection = http.client.HTTPConnection(dvr.host, dvr.http_port, timeout=3)
    connection.request("POST", "/onvif/device_service", b"<not><soap/></not>")
    assert connection.getresponse().status == 400
    connection.close()


def discover(dvr: VirtualDvr, target: str) -> list[str]:
    """XAddrs of this recorder in the answers to one probe; other recorders on the loopback answer too."""
    probe = (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header><w:MessageID>urn:uuid:1</w:MessageID></e:Header>'
        "<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
    )
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
        request = struct.pack("=4s4si", bytes(4), bytes(4), socket.if_nametoindex("lo"))
        prober.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        prober.sendto(probe.encode(), (target, 3702))
        prober.settimeout(1.0)
        try:
            while dvr.onvif_url not in found:
                answer = prober.recv(1 << 16).decode()
                found += re.findall(r"<d:XAddrs>(.*?)</d:XAddrs>", answer)
        except TimeoutError:
            pass
    return [address for address in found if address == dvr.onvif_url]


@pytest.fixture
def two_recorders() -> Iterator[tuple[VirtualDvr, VirtualDvr]]:
    shapes = {"channels": 1, "main": "160x96@25", "sub": "160x96@12"}
    first = VirtualDvr(host="127.0.0.77", serial="FIRST", **shapes)
    second = VirtualDvr(host="127.0.0.78", serial="SECOND", **shapes)
    with first, second:
        yield first, second


def test_recorders_are_found_on_the_loopback_unless_they_are_off(
    dvr: VirtualDvr, two_recorders: tuple[VirtualDvr, VirtualDvr]
) -> None:
    first, second = two_recorders
    for recorder in two_recorders:
        assert discover(recorder, "239.255.255.250") == [recorder.onvif_url]
        assert discover(recorder, recorder.host) == [recorder.onvif_url]
    first.control.set_device(off=True)
    assert discover(first, "239.255.255.250") == []
    assert discover(second, "239.255.255.250") == [second.onvif_url]
    assert discover(dvr, "239.255.255.250") == []  # it was told to stay silent
