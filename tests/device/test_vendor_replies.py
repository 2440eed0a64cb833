"""Every vendor's profiles in every manner of writing, over real sockets where HTTP is concerned."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread

import pytest
from vendor_replies import DEVICES, HTTP, MANNERS, SOAP11, SOAP12, Device, envelope, get_profiles

from edge_agent.capture import addresses, channels, sdp, soap, web
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.profiles import profiles_in
from edge_agent.capture.rtsp_urls import resolve
from edge_agent.capture.session import AuthRefused, Session
from edge_agent.capture.soap_request import envelope as request
from edge_agent.clock import SystemClock
from edge_agent.errors import FormatError


def cameras(device: Device, answer: soap.Element) -> tuple[tuple[int, str, str | None], ...]:
    pairs = channels.pairs(profiles_in(answer))
    numbers = channels.numbers(pairs, device.urls)
    return tuple(
        (number.value, pair.main.token, pair.sub.token if pair.sub else None)
        for pair, number in zip(pairs, numbers, strict=True)
    )


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("vendor", DEVICES)
def test_profiles_become_the_same_cameras_however_they_are_written(vendor: str, manner: str) -> None:
    device = DEVICES[vendor]

    answer = soap.reply(MANNERS[manner](envelope(get_profiles(device))))

    assert cameras(device, answer) == device.cameras
    written = {p.token: p for p in device.profiles}
    assert {p.token: (p.name, p.source, p.width, p.height) for p in profiles_in(answer)} == {
        t: (p.name, p.source, p.width, p.height) for t, p in written.items()
    }


@pytest.mark.parametrize("manner", MANNERS)
def test_a_reply_that_was_cut_off_is_refused_however_it_is_written(manner: str) -> None:
    whole = MANNERS[manner](envelope(get_profiles(DEVICES["bosch"])))

    for share in (0.3, 0.6, 0.8):
        with pytest.raises(FormatError):
            soap.reply(whole[: int(len(whole) * share)])


def test_profiles_without_video_are_all_there_is_when_nothing_names_a_configuration() -> None:
    text = '<trt:GetProfilesResponse><trt:Profiles token="a"/><trt:Profiles/></trt:GetProfilesResponse>'

    assert [p.token for p in profiles_in(soap.reply(envelope(text).encode()))] == ["a"]


# HTTP.


class Canned:
    """A web server that answers every connection with the same bytes, and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection):
                received = b""
                while b"Envelope>" not in received:
                    if not (more := connection.recv(65536)):
                        break
                    received += more
                connection.sendall(self._answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def canned() -> Iterator[Callable[[bytes], Canned]]:
    opened: list[Canned] = []

    def serve(answer: bytes) -> Canned:
        opened.append(Canned(answer))
        return opened[-1]

    yield serve
    for server in opened:
        server.close()


def ask(server: Canned) -> soap.Element:
    session = Session("127.0.0.1", server.port, None, SystemClock(), Lockouts())
    return session.call("/onvif/media", request("<GetProfiles/>"))


@pytest.mark.parametrize("manner", HTTP)
def test_a_reply_is_read_however_it_is_transported(canned: Callable[[bytes], Canned], manner: str) -> None:
    device = DEVICES["uniview"]
    body = MANNERS["prolog"](envelope(get_profiles(device)))

    assert cameras(device, ask(canned(HTTP[manner](body)))) == device.cameras


def test_a_gzip_bomb_is_left_after_a_megabyte(canned: Callable[[bytes], Canned]) -> None:
    with pytest.raises(web.WebError) as refused:
        ask(canned(HTTP["gzip unasked"](bytes(50 << 20))))

    assert refused.value.trouble is web.Trouble.TOO_BIG


def test_a_damaged_gzip_body_is_refused(canned: Callable[[bytes], Canned]) -> None:
    with pytest.raises(web.WebError) as refused:
        ask(canned(HTTP["length"](b"\x1f\x8b" + b"no gzip")))

    assert refused.value.trouble is web.Trouble.BROKEN


# Faults.


def fault12(subcode: str, text: str) -> str:
    inner = f"<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode>" if subcode else ""
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:Sender</s:Value>{inner}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{text}</s:Text></s:Reason></s:Fault>'
    )


def fault11(code: str, text: str) -> str:
    fault = f"<s:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></s:Fault>"
    return envelope(fault, SOAP11)


REFUSED = {
    "onvif": fault12("ter:NotAuthorized", "Sender not Authorized"),
    "empty text": fault12("ter:NotAuthorized", ""),
    "wsse": fault12("wsse:FailedAuthentication", ""),
    "security header": fault12("wsse:InvalidSecurity", "An error was discovered processing the header"),
    "text alone": fault12("", "The action requested requires authorization and the sender is not authorized"),
    "authority failure": fault12("ter:OperationProhibited", "Authority failure"),
    "time check": fault12("ter:Sender", "Wsse authorized time check failed"),
    "soap 1.1": fault11("SOAP-ENV:Client", "ter:NotAuthorized"),
    "soap 1.1 code": fault11("ter:NotAuthorized", ""),
    "words": fault11("SOAP-ENV:Client", "Invalid username or password!"),
    "failed": fault11("SOAP-ENV:Server", "Authentication failed"),
}
UNSUPPORTED = {
    "onvif": fault12("ter:ActionNotSupported", "Optional Action Not Implemented"),
    "soap 1.1": fault11(
        "SOAP-ENV:Server", "Method 'trt:GetProfiles' not implemented: method name not recognized"
    ),
    "no subcode": fault12("", "error"),
    "empty": envelope("<s:Fault/>"),
    "no token": fault12("ter:NoProfile", "Profile token does not exist"),
}


@pytest.mark.parametrize(
    "status", ["200 OK", "400 Bad Request", "401 Unauthorized", "500 Internal Server Error"]
)
@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_is_known_as_one(canned: Callable[[bytes], Canned], fault: str, status: str) -> None:
    answer = HTTP["length"](REFUSED[fault].encode()).replace(b"200 OK", status.encode(), 1)

    with pytest.raises(AuthRefused, match="user name and password"):
        ask(canned(answer))


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Internal Server Error"])
@pytest.mark.parametrize("fault", UNSUPPORTED)
def test_another_fault_is_no_refusal(canned: Callable[[bytes], Canned], fault: str, status: str) -> None:
    answer = HTTP["length"](UNSUPPORTED[fault].encode()).replace(b"200 OK", status.encode(), 1)

    with pytest.raises(soap.SoapFault) as met:
        ask(canned(answer))

    assert str(met.value)


# Addresses.


@pytest.mark.parametrize(
    ("xaddr", "rest", "port"),
    [
        ("http://192.168.1.64/onvif/device_service", "/onvif/device_service", None),
        ("http://192.168.1.64:8000/onvif/device_service", "/onvif/device_service", 8000),
        ("http://[fe80::1]:8080/onvif/media", "/onvif/media", 8080),
        ("http://admin:x@10.0.0.2:80/onvif/media", "/onvif/media", 80),
        ("HTTP://10.0.0.2:80/onvif/media", "/onvif/media", 80),
        ("https://10.0.0.2:443/onvif/services", "/onvif/services", None),
        ("http://10.0.0.2:8106:8106/onvif/media", "/onvif/media", 8106),
        ("http://10.0.0.2:0/onvif/media", "/onvif/media", None),
        ("/onvif/media_service", "/onvif/media_service", None),
        ("\r\n http://10.0.0.2/onvif/media \r\n", "/onvif/media", None),
        ("http://10.0.0.2", "/", None),
    ],
)
def test_a_services_address_is_read(xaddr: str, rest: str, port: int | None) -> None:
    claim = addresses.service(xaddr)

    assert claim is not None
    assert (claim.scheme, claim.rest, claim.port) == ("http", rest, port)


# Session descriptions.

BASE = "rtsp://192.0.2.7:554/live/ch1/"
HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Media\r\nt=0 0\r\n"
SPS, PPS = "Z00AKp2oHgCJ+WEAAAMAAQAAAwAyhA==", "aO48gA=="
H264 = (
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={SPS},{PPS}\r\n"
)
TRACK = "a=control:track1\r\n"
AUDIO = "m=audio 0 RTP/AVP 8\r\na=control:track0\r\n"
METADATA = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
DESCRIPTIONS = {
    "control": (HEAD + H264 + TRACK, BASE + "track1"),
    "no control": (HEAD + H264, BASE),
    "absolute control": (
        HEAD + H264 + "a=control:rtsp://10.0.0.9:8554/live/ch1/trackID=1\r\n",
        BASE + "trackID=1",
    ),
    "session control alone": (HEAD + "a=control:*\r\n" + H264, BASE),
    "control from the root": (HEAD + H264 + "a=control:/live/ch1/video\r\n", BASE + "video"),
    "trailing spaces": ((HEAD + H264 + TRACK).replace("\r\n", "  \r\n"), BASE + "track1"),
    "leading spaces": ((HEAD + H264 + TRACK).replace("\r\na=", "\r\n a="), BASE + "track1"),
    "line feeds alone": ((HEAD + H264 + TRACK).replace("\r\n", "\n"), BASE + "track1"),
    "returns alone": ((HEAD + H264 + TRACK).replace("\r\n", "\r"), BASE + "track1"),
    "mark before": ("\ufeff" + HEAD + H264 + TRACK, BASE + "track1"),
    "no version": (H264 + TRACK, BASE + "track1"),
    "capital types": ((HEAD + H264).replace("\r\na=", "\r\nA=").replace("\r\nm=", "\r\nM="), BASE),
    "tab in rtpmap": (HEAD + H264.replace("96 H264", "96\tH264"), BASE),
    "blanks in rtpmap": (HEAD + H264.replace("rtpmap:96 H264", "rtpmap: 96   h264 "), BASE),
    "channels in rtpmap": (HEAD + H264.replace("H264/90000", "H264/90000/1"), BASE),
    "another number in rtpmap": (
        HEAD + H264.replace("rtpmap:96", "rtpmap:97").replace("fmtp:96", "fmtp:97"),
        BASE,
    ),
    "no rtpmap": (HEAD + H264.replace("a=rtpmap:96 H264/90000\r\n", ""), BASE),
    "several formats": (HEAD + H264.replace("AVP 96", "AVP 96 97") + "a=rtpmap:97 rtx/90000\r\n", BASE),
    "fmtp in two lines": (HEAD + H264.replace(";sprop", "\r\na=fmtp:96 sprop"), BASE),
    "blanks in fmtp": (HEAD + H264.replace(";sprop-parameter-sets=", " ; Sprop-Parameter-Sets = "), BASE),
    "port of its own": (HEAD + H264.replace("video 0", "video 49170/1"), BASE),
    "audio first": (HEAD + AUDIO + H264 + TRACK, BASE + "track1"),
    "metadata first": (
        HEAD + METADATA + H264 + "a=control:t1\r\n",
        BASE + "t1",
    ),
    "odd framerates": (HEAD + H264 + "a=framerate:0S\r\na=framerate: 25.000000\r\n", BASE),
    "attributes without value": (
        HEAD + "a=recvonly\r\n" + H264 + "a=\r\na=x:\r\na=control: track1 \r\n",
        BASE + "track1",
    ),
}


@pytest.mark.parametrize("manner", DESCRIPTIONS)
def test_a_description_names_its_video_however_it_is_written(manner: str) -> None:
    text, url = DESCRIPTIONS[manner]

    described = sdp.parse(text.encode())
    video = described.video()

    assert video is not None
    assert (video.encoding, video.clock_rate, len(video.parameter_sets())) == ("H264", 90_000, 2)
    assert resolve(video.control, BASE) == url


def test_soap_versions_are_both_understood() -> None:
    for version in (SOAP11, SOAP12):
        assert soap.text(soap.reply(envelope("<R><A>1</A></R>", version).encode()), "A") == "1"
