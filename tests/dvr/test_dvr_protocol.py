"""The pure parts: passwords, RTSP messages, faults, names, probes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.demo.dvr import brand as brands
from edge_agent.demo.dvr import rtsp, soap
from edge_agent.demo.dvr.auth import Accounts, UsernameToken, Verdict
from edge_agent.demo.dvr.brand import Brand, StreamName
from edge_agent.demo.dvr.discovery import Announcement, matches, parse_probe, probe_matches
from edge_agent.demo.dvr.faults import ChannelFaults, DeviceFaults, Mode, Sprop, patch, to_json
from edge_agent.demo.dvr.loops import EncodedLoop, EncodedUnit
from edge_agent.errors import FormatError
from edge_agent.model import Codec, Role

NOW = datetime(2026, 11, 1, tzinfo=UTC)
STRICT = DeviceFaults()
H264 = EncodedLoop(
    Codec.H264, 1280, 720, Fraction(25), (EncodedUnit((b"\x67\x64\x00\x1f\xac", b"\x68\xef", b"\x65"), True),)
)


def digest(
    accounts: Accounts, password: str, algorithm: str = "MD5", faults: DeviceFaults = STRICT
) -> Verdict:
    challenge = next(
        each for each in accounts.challenges(0.0, faults) if algorithm == "MD5" or algorithm in each
    )
    given = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    name = {"MD5": "md5", "SHA-256": "sha256"}[algorithm]

    def hashed(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    middle = given["nonce"] + (":00000001:c0ffee:auth" if "qop" in given else "")
    answer = hashed(f"{hashed(f'u:{accounts.realm}:{password}')}:{middle}:{hashed('DESCRIBE:/x')}")
    header = f'Digest username="u", realm="{accounts.realm}", nonce="{given["nonce"]}", uri="/x"'
    header += f', response="{answer}"'
    if "qop" in given:
        header += f', algorithm={algorithm}, qop=auth, nc=00000001, cnonce="c0ffee"'
    return accounts.verify_digest("DESCRIBE", header, 1.0, faults)


def token(password: str, created: str) -> UsernameToken:
    raw = hashlib.sha1(b"nonce" + created.encode() + password.encode()).digest()
    return UsernameToken("u", base64.b64encode(raw).decode(), base64.b64encode(b"nonce").decode(), created)


def test_digest_knows_right_from_wrong_in_both_algorithms() -> None:
    accounts = Accounts("u", "secret", "Login to X")
    modern = dataclasses.replace(STRICT, sha256=True)
    assert digest(accounts, "secret") is Verdict.GOOD
    assert digest(accounts, "secret", "SHA-256", modern) is Verdict.GOOD
    assert digest(accounts, "secret", "MD5", modern) is Verdict.GOOD
    assert digest(accounts, "Secret") is Verdict.WRONG
    assert accounts.wrong == 1


def test_no_answer_is_no_attempt_and_a_foreign_nonce_is_stale() -> None:
    accounts = Accounts("u", "secret", "r")
    assert accounts.verify_digest("PLAY", "", 0.0, STRICT) is Verdict.MISSING
    header = 'Digest username="u", realm="r", nonce="beef", uri="/", response="0"'
    assert accounts.verify_digest("PLAY", header, 0.0, STRICT) is Verdict.STALE
    assert accounts.wrong == 0


def test_an_account_locks_counts_down_and_opens_again() -> None:
    accounts, locking = Accounts("u", "secret", "r"), dataclasses.replace(STRICT, lockout_after=2)
    assert accounts.attempts_left(locking) == 2
    assert digest(accounts, "no", faults=locking) is Verdict.WRONG
    assert accounts.attempts_left(locking) == 1
    assert digest(accounts, "no", faults=locking) is Verdict.WRONG
    assert digest(accounts, "secret", faults=locking) is Verdict.LOCKED
    assert not accounts.locked(3600.0)


@pytest.mark.parametrize(
    ("created", "verdict"),
    [
        ("2026-11-01T00:00:04Z", Verdict.GOOD),
        ("2026-11-01T00:00:04+00:00", Verdict.GOOD),
        ("2026-11-01T05:30:04+05:30", Verdict.GOOD),
        ("2026-11-01T00:00:06Z", Verdict.LATE),
        ("2018-11-01T00:00:00Z", Verdict.LATE),
        ("2026-11-01T00:00:00", Verdict.LATE),
        ("noon", Verdict.LATE),
    ],
)
def test_a_token_must_be_of_the_recorders_time(created: str, verdict: Verdict) -> None:
    accounts = Accounts("u", "secret", "r")
    assert accounts.verify_token(token("secret", created), 0.0, NOW, STRICT) is verdict
    assert accounts.verify_token(token("wrong", created), 0.0, NOW, STRICT) is Verdict.WRONG


def test_a_zulu_only_recorder_refuses_offsets() -> None:
    zulu = dataclasses.replace(STRICT, zulu_only=True)
    accounts = Accounts("u", "secret", "r")
    offset = NOW.astimezone(UTC).isoformat()
    assert accounts.verify_token(token("secret", offset), 0.0, NOW, zulu) is Verdict.LATE
    assert accounts.verify_token(token("secret", "2026-11-01T00:00:00Z"), 0.0, NOW, zulu) is Verdict.GOOD


@given(st.lists(st.integers(1, 60), max_size=8))
def test_requests_are_read_however_they_are_cut(cuts: list[int]) -> None:
    rtcp = b"$\x01\x00\x08" + bytes(8)
    first = b"OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    second = b"SET_PARAMETER rtsp://h/ RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\n$abc"
    stream = first + rtcp + second + rtcp
    reader, requests, at = rtsp.RequestReader(), [], 0
    for cut in [*cuts, len(stream)]:
        requests += reader.feed(stream[at : at + cut])
        at += cut
    assert [(request.method, request.cseq) for request in requests] == [
        ("OPTIONS", "1"),
        ("SET_PARAMETER", "2"),
    ]
    assert reader.rtcp_packets == 2


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 9000, b"PLAY x RTSP/1.0\r\nContent-Length: 999999\r\n\r\n"],
)
def test_what_is_not_rtsp_is_refused(noise: bytes) -> None:
    with pytest.raises(FormatError):
        rtsp.RequestReader().feed(noise)


@given(st.binary(max_size=200))
def test_noise_raises_nothing_but_format_errors(noise: bytes) -> None:
    try:
        rtsp.RequestReader().feed(noise)
    except FormatError:
        return


def test_sdp_carries_the_parameter_sets_or_misses_or_spoils_them() -> None:
    good, missing, garbage = (
        rtsp.describe(H264, Brand.DAHUA, "rtsp://h/", ChannelFaults(sprop=each)).decode() for each in Sprop
    )
    assert "profile-level-id=64001f;sprop-parameter-sets=Z2QAH6w=,aO8=" in good
    assert "sprop" not in missing
    assert "sprop-parameter-sets=Z2QA!" in garbage
    whole = rtsp.describe(
        H264, Brand.HIKVISION, "rtsp://h/Streaming/Channels/101/", ChannelFaults(pcma=True)
    ).decode()
    assert "a=control:rtsp://h/Streaming/Channels/101/trackID=1\r\na=rtpmap:8 PCMA/8000" in whole
    jpeg = rtsp.describe(H264, Brand.DAHUA, "rtsp://h/", ChannelFaults(mjpeg=True)).decode()
    assert "m=video 0 RTP/AVP 26\r\n" in jpeg
    assert "H264" not in jpeg


@given(st.integers(1, 99), st.sampled_from(list(Role)), st.sampled_from(list(Brand)))
def test_a_streams_path_names_it_with_or_without_more_behind(channel: int, role: Role, brand: Brand) -> None:
    name = StreamName(channel, role)
    path = brands.stream_path(brand, name)
    for url in (path, f"{path}/trackID=0", f"{path}&unicast=true&proto=Onvif", f"rtsp://h:554{path}/"):
        assert brands.parse_stream_path(brand, url) == name


def test_profiles_are_named_as_the_brands_name_them() -> None:
    name = StreamName(2, Role.SUB)
    assert brands.profile_token(Brand.DAHUA, name) == "MediaProfile00101"
    assert brands.profile_name(Brand.DAHUA, name) == "MediaProfile_Channel2_SubStream1"
    assert brands.source_token(Brand.DAHUA, 2) == "00100"
    assert brands.profile_token(Brand.HIKVISION, name) == "ProfileToken004"
    assert brands.profile_name(Brand.HIKVISION, name) == "Profile_202"


def test_faults_are_patched_from_json_and_shown_as_json() -> None:
    state = patch(ChannelFaults(), {"mode": "slate", "rtp_shift_s": 2, "pcma": True})
    assert (state.mode, state.rtp_shift_s, state.pcma) == (Mode.SLATE, 2.0, True)
    assert patch(ChannelFaults(), to_json(state)) == state


@pytest.mark.parametrize(
    "changes", [{"mode": "sideways"}, {"pcma": 1}, {"loss": "much"}, {"loss": True}, {"x": 1}]
)
def test_impossible_faults_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no such|takes|not a valid"):
        patch(ChannelFaults(), changes)


def probe(types: str = "", scopes: str = "") -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:x="http://example.org/">'
        f"<e:Header><w:MessageID>urn:uuid:7</w:MessageID></e:Header><e:Body><d:Probe><d:Types>{types}</d:Types>"
        f"<d:Scopes>{scopes}</d:Scopes></d:Probe></e:Body></e:Envelope>"
    ).encode()


@pytest.mark.parametrize(
    ("types", "scopes", "answered"),
    [
        ("", "", True),
        ("dn:NetworkVideoTransmitter", "", True),
        ("x:NetworkVideoTransmitter", "", False),
        ("dn:NetworkVideoTransmitter x:Printer", "", False),
        ("", "onvif://www.onvif.org/Profile/", True),
        ("", "onvif://elsewhere/", False),
    ],
)
def test_a_probe_is_answered_when_types_and_scopes_fit(types: str, scopes: str, answered: bool) -> None:
    announcement = Announcement("urn:uuid:1", ("onvif://www.onvif.org/Profile/Streaming",), "http://h/")
    asked = parse_probe(probe(types, scopes))
    assert asked is not None
    assert matches(asked, announcement) is answered


def test_answers_name_the_question_and_may_lack_types_or_header() -> None:
    asked = parse_probe(probe())
    assert asked is not None
    full = probe_matches(asked, Announcement("urn:uuid:1", (), "http://h/"))
    assert b"<a:RelatesTo>urn:uuid:7</a:RelatesTo>" in full
    bare = probe_matches(asked, Announcement("urn:uuid:1", (), "http://h/", types=False, header=False))
    assert b"Types" not in bare
    assert b"Header" not in bare


@given(st.binary(max_size=100))
def test_other_datagrams_are_no_probes(noise: bytes) -> None:
    assert parse_probe(noise) is None


def test_entities_and_strangers_are_no_soap() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + probe()
    for body in (bomb, b"<html/>", b"", b"\xff\xfe"):
        with pytest.raises(FormatError):
            soap.parse(body)


def test_the_recorders_clock_may_be_years_off() -> None:
    eight_years_behind = NOW - timedelta(days=8 * 365)
    accounts = Accounts("u", "secret", "r")
    created = eight_years_behind.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert accounts.verify_token(token("secret", created), 0.0, eight_years_behind, STRICT) is Verdict.GOOD
