from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtsp_world import clip, interleaved

from edge_agent.capture import rtsp, rtsp_urls
from edge_agent.capture.rtsp_auth import Authorizer, strongest
from edge_agent.capture.rtsp_session import CredentialsRefused, RtspSession, State
from edge_agent.errors import FormatError, SourceLost, SourceRefused
from edge_agent.model import Credentials, Endpoint

URL = "rtsp://10.0.0.9:554/cam/realmonitor?channel=1&subtype=0"
LOGIN = Credentials("admin", "p@ss:/#?")
MD5 = 'Digest realm="Login to 4E01", nonce="abc", algorithm=MD5, qop="auth"'
SHA = 'Digest realm="Login to 4E01", nonce="def", algorithm=SHA-256, qop="auth"'


class Device:
    """Answers one session by hand."""

    def __init__(self, credentials: Credentials | None = LOGIN, url: str = URL) -> None:
        self.session = RtspSession(Endpoint(url, "10.0.0.9", 554, credentials), 0.0)
        self.asked = self.session.bytes_to_send().decode()

    @property
    def method(self) -> str:
        return self.asked.split(" ", 1)[0]

    @property
    def url(self) -> str:
        return self.asked.split(" ", 2)[1]

    def answer(
        self, status: str = "200 OK", headers: str = "", body: bytes = b"", before: bytes = b""
    ) -> None:
        cseq = re.findall(r"CSeq: (\d+)", self.asked)[-1]
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        text = f"RTSP/1.0 {status}\r\nCseq: {cseq}\r\n{headers}{length}\r\n"
        self.session.receive(before + text.encode() + body, 0.0)
        self.asked = self.session.bytes_to_send().decode()

    def describe(self, headers: str = "", sdp: bytes | None = None) -> None:
        self.answer(headers="Public: OPTIONS, GET_PARAMETER\r\n")
        self.answer(headers=headers, body=sdp or clip().sdp())

    def play(self, transport: str = "interleaved=0-1", session: str = "77;timeout=60") -> None:
        self.describe()
        self.answer(headers=f"Session: {session}\r\nTransport: RTP/AVP/TCP;unicast;{transport}\r\n")
        self.answer()


def test_the_way_from_options_to_playing() -> None:
    device = Device()
    seen = [device.method]
    device.answer(headers="Public: OPTIONS, DESCRIBE\r\n")
    seen.append(device.method)
    device.answer(body=clip().sdp())
    seen.append(device.method)
    device.answer(headers="Session: 5\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n")
    seen.append(device.method)
    assert "Session: 5" in device.asked
    device.answer()
    assert seen == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert device.session.state is State.PLAYING
    device.session.tear_down(1.0)
    assert b"TEARDOWN" in device.session.bytes_to_send()


def test_options_that_nobody_answers_do_not_stop_us() -> None:
    device = Device()
    device.session.tick(1.6)
    assert device.session.bytes_to_send().startswith(b"DESCRIBE")


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        ("dahua_describe_h265_pcma.txt", "rtsp://10.0.0.9:554/cam/realmonitor?channel=1&subtype=2/trackID=0"),
        ("h264dvr_describe.txt", "rtsp://10.0.0.9:554/camera/trackID=3"),
        ("hikvision_describe.txt", "rtsp://10.0.0.9:554/Streaming/Channels/101/trackID=1?transportmode=unicast&profile=Profile_1"),
    ],
)  # fmt: skip
def test_control_urls_of_real_devices_stay_at_the_reached_host(shared: Path, name: str, setup: str) -> None:
    reply = (shared / "onvif-captures" / "rtsp-retina" / name).read_bytes()
    body = reply.replace(b"\r\n", b"\n").partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    base = re.search(rb"Content-Base: (\S+)", reply)
    device = Device()
    device.describe(f"Content-Base: {base[1].decode()}\r\n" if base else "", body)
    assert (device.method, device.url) == ("SETUP", setup)


@pytest.mark.parametrize(
    ("control", "url"),
    [
        ("rtsp://0.0.0.0:554:554/a?b=1/c", "rtsp://10.0.0.9:554/a?b=1/c"),
        ("rtsp://[::/x y\x00", "rtsp://10.0.0.9:554/xy"),
        ("/abs", "rtsp://10.0.0.9:554/abs"),
        ("*", URL),
        ("rtsp://elsewhere", "rtsp://10.0.0.9:554/"),
    ],
)
def test_no_control_url_leads_elsewhere(control: str, url: str) -> None:
    assert rtsp_urls.resolve(control, URL) == url


def test_a_recorded_setup_reply_with_a_space_in_the_ssrc(shared: Path) -> None:
    text = (shared / "onvif-captures" / "rtsp-retina" / "hikvision_setup_ssrc_space.txt").read_text()
    device = Device()
    device.describe()
    device.answer(headers="\r\n".join(text.splitlines()[2:4]) + "\r\n")
    assert device.method == "PLAY"
    assert "Session: 708886412\r\n" in device.asked


def test_a_recorded_udp_answer_to_tcp_is_a_refusal(shared: Path) -> None:
    text = (shared / "onvif-captures" / "rtsp-retina" / "h264dvr_setup_video.txt").read_text()
    transport = next(line for line in text.splitlines() if line.startswith("Transport"))
    device = Device()
    device.describe()
    with pytest.raises(SourceRefused, match="TCP"):
        device.answer(headers=f"Session: 1\r\n{transport}\r\n")


@pytest.mark.parametrize(
    ("status", "text"), [("453 Not Enough Bandwidth", "session limit"), ("404 Not Found", "no such"),
    ("403 Forbidden", "may not"), ("302 Moved", "redirects"), ("461 Unsupported Transport", "TCP")],
)  # fmt: skip
def test_refusals_are_named(status: str, text: str) -> None:
    device = Device()
    device.answer()
    with pytest.raises(SourceRefused, match=text):
        device.answer(status, "Location: rtsp://evil/\r\n")


def test_a_failing_device_is_tried_again() -> None:
    device = Device()
    device.answer()
    with pytest.raises(SourceLost, match="503"):
        device.answer("503 Busy")


def test_digest_answers_the_strongest_challenge_once() -> None:
    device = Device()
    device.answer()
    device.answer("401 Unauthorized", f"WWW-Authenticate: {MD5}\r\nWWW-Authenticate: {SHA}\r\n")
    found = re.search(r'cnonce="(\w+)"', device.asked)
    assert found
    secret = hashlib.sha256(f"admin:Login to 4E01:{LOGIN.password}".encode()).hexdigest()
    request = hashlib.sha256(f"DESCRIBE:{URL}".encode()).hexdigest()
    proof = hashlib.sha256(f"{secret}:def:00000001:{found[1]}:auth:{request}".encode()).hexdigest()
    assert f'response="{proof}"' in device.asked
    assert LOGIN.password not in device.asked
    with pytest.raises(CredentialsRefused):
        device.answer("401 Unauthorized", f"WWW-Authenticate: {SHA}\r\n")


def test_a_stale_nonce_is_no_wrong_password() -> None:
    device = Device()
    device.answer()
    device.answer("401 Unauthorized", f"WWW-Authenticate: {MD5}\r\n")
    stale = MD5.replace('"abc"', '"new"') + ", stale=true"
    device.answer("401 Unauthorized", f"WWW-Authenticate: {stale}\r\n")
    assert 'nonce="new"' in device.asked
    with pytest.raises(CredentialsRefused):
        device.answer("401 Unauthorized", f"WWW-Authenticate: {stale}\r\n")


def test_a_new_nonce_at_setup_is_answered_again() -> None:
    device = Device()
    device.answer()
    device.answer("401 Unauthorized", f"WWW-Authenticate: {MD5}\r\n")
    device.answer(body=clip().sdp())
    device.answer("401 Unauthorized", "WWW-Authenticate: " + MD5.replace('"abc"', '"other"') + "\r\n")
    assert device.method == "SETUP"
    assert 'nonce="other"' in device.asked


def test_no_password_is_a_refusal_without_an_attempt() -> None:
    device = Device(credentials=None)
    device.answer()
    with pytest.raises(CredentialsRefused, match="wants a user name"):
        device.answer("401 Unauthorized", f"WWW-Authenticate: {MD5}\r\n")
    assert b"Authorization" not in device.session.bytes_to_send()


def test_old_digest_without_qop_and_basic() -> None:
    old = strongest(['Digest realm="r", nonce="n", stale=FALSE', 'Basic realm="r"'])
    assert old is not None
    text = Authorizer(Credentials("u", "p"), old).header("DESCRIBE", "rtsp://h/")
    ha1, ha2 = (hashlib.md5(t.encode()).hexdigest() for t in ("u:r:p", "DESCRIBE:rtsp://h/"))
    assert hashlib.md5(f"{ha1}:n:{ha2}".encode()).hexdigest() in text
    assert "qop" not in text
    basic = strongest(['Basic realm="r"', "Negotiate", 'Digest realm="r", nonce="n", algorithm=SHA-999'])
    assert basic is not None
    assert Authorizer(Credentials("u", "p"), basic).header("X", "y") == "Basic dTpw"


def test_video_before_the_reply_to_play_is_not_lost() -> None:
    device = Device()
    device.describe()
    device.answer(headers="Session: 5\r\nTransport: RTP/AVP/TCP;interleaved=2-3\r\n")
    early = device.session.receive(interleaved(b"early", 2) + interleaved(b"rtcp", 3), 0.0)
    assert (early.packets, early.reports) == ([b"early"], [b"rtcp"])
    device.answer()
    assert device.session.state is State.PLAYING


def test_a_play_that_is_only_answered_with_video_plays() -> None:
    device = Device()
    device.describe()
    device.answer(headers="Session: 5\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n")
    device.session.receive(interleaved(b"video"), 1.0)
    device.session.tick(6.0)
    assert device.session.state is State.PLAYING


def test_keepalive_comes_well_before_the_timeout_and_changes_its_method_when_refused() -> None:
    device = Device()
    device.play(session="77;timeout=20")
    assert device.session.deadline() <= 10
    device.session.tick(10.0)
    device.asked = device.session.bytes_to_send().decode()
    assert device.method == "GET_PARAMETER"
    device.answer("501 Not Implemented")
    device.session.tick(20.0)
    device.asked = device.session.bytes_to_send().decode()
    assert device.method == "OPTIONS"
    with pytest.raises(SourceLost, match="forgotten"):
        device.answer("454 Session Not Found")


def test_each_step_has_a_deadline() -> None:
    device = Device()
    device.answer()
    with pytest.raises(SourceLost, match="DESCRIBE"):
        device.session.tick(5.1)


def test_a_stream_without_video_that_we_record_says_what_it_is() -> None:
    device = Device()
    with pytest.raises(SourceRefused, match="JPEG"):
        device.describe(sdp=b"v=0\r\nm=video 0 RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\n")


@given(st.lists(st.integers(1, 50), max_size=40))
def test_frames_and_replies_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    reply = b"RTSP/1.0 200 OK\r\nCSeq: 9\r\nContent-Length: 4\r\n\r\n$$$$"
    stream = interleaved(b"one") + reply + interleaved(b"") + b"\r\n" + interleaved(b"two" * 30, 1)
    demultiplexer, frames, at = rtsp.Demultiplexer(), [], 0
    for cut in [*cuts, len(stream)]:
        frames += demultiplexer.feed(stream[at : at + cut])
        at += cut
    assert frames == [(0, b"one"), (rtsp.MESSAGE, reply), (0, b""), (1, b"two" * 30)]
    assert demultiplexer.garbage == 0


def test_garbage_between_frames_is_skipped_and_counted() -> None:
    demultiplexer = rtsp.Demultiplexer()
    frames = demultiplexer.feed(b"\x00\x01junk" + interleaved(b"one") + b"zz" + interleaved(b"two"))
    assert frames == [(0, b"one"), (0, b"two")]
    assert demultiplexer.garbage == 8


@pytest.mark.parametrize(
    "flood", [b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * 4000, b"x" * 300_000,
    b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n"],
)  # fmt: skip
def test_floods_end_the_session(flood: bytes) -> None:
    demultiplexer = rtsp.Demultiplexer()
    pieces = [flood[at : at + 1000] for at in range(0, len(flood), 1000)]
    with pytest.raises(FormatError):
        list(map(demultiplexer.feed, pieces))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=20), st.integers(1, 200))
def test_mutated_conversations_end_in_named_errors_only(changes: list[tuple[int, int]], size: int) -> None:
    device = Device()
    replies = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS\r\n\r\n"
    replies += b"RTSP/1.0 401 No\r\nCSeq: 2\r\nWWW-Authenticate: " + MD5.encode() + b"\r\n\r\n"
    body = clip().sdp()
    replies += b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    replies += b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nSession: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
    replies += b"RTSP/1.0 200 OK\r\nCSeq: 5\r\n\r\n" + interleaved(b"video")
    noisy = bytearray(replies)
    for at, value in changes:
        noisy[at % len(noisy)] = value
    try:
        for at in range(0, len(noisy), size):
            device.session.receive(bytes(noisy[at : at + size]), 0.0)
            device.session.bytes_to_send()
    except (SourceLost, SourceRefused):
        pass
    assert len(device.session.bytes_to_send()) < 100_000
