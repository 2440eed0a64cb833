"""The small pure rules: lock-out, Digest, addresses, brands, device clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import addresses, brands, digest, lockout
from edge_agent.capture.device_clock import read_clock
from edge_agent.capture.lockout import Lockouts
from edge_agent.model import Credentials

ALICE = Credentials("alice", "one")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_two_wrong_answers_end_it_until_the_credentials_change() -> None:
    lockouts = Lockouts()
    lockouts.wrong("10.0.0.2", ALICE)
    assert lockouts.may_try("10.0.0.2", ALICE)
    lockouts.wrong("10.0.0.2", ALICE)

    assert not lockouts.may_try("10.0.0.2", ALICE)
    assert lockouts.may_try("10.0.0.3", ALICE)
    assert lockouts.may_try("10.0.0.2", Credentials("alice", "two"))


def test_a_right_answer_clears_the_count() -> None:
    lockouts = Lockouts()
    lockouts.wrong("10.0.0.2", ALICE)
    lockouts.right("10.0.0.2", ALICE)
    lockouts.wrong("10.0.0.2", ALICE)

    assert lockouts.may_try("10.0.0.2", ALICE)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("You still have 5 attempt(s).", 5),
        ("Sender not authorized, remaining attempts: 3", 3),
        ("2 tries", 2),
        ("The sender is not authorized", None),
        ("HTTP 401", None),
    ],
)
def test_the_devices_countdown_is_read(text: str, left: int | None) -> None:
    assert lockout.countdown(text) == left


def test_the_last_attempt_is_left_to_the_owner() -> None:
    lockouts = Lockouts()

    standing = lockouts.wrong("10.0.0.2", ALICE, "You still have 1 attempt(s)")

    assert not standing.may_try
    assert "1 attempt(s) are left" in lockout.sentence("10.0.0.2", "alice", standing)


def test_a_locked_account_is_named_and_the_password_is_not() -> None:
    standing = Lockouts().wrong("10.0.0.2", Credentials("alice", "s3cret"), "account locked")

    told = lockout.sentence("10.0.0.2", "alice", standing)

    assert not standing.may_try
    assert "locked" in told
    assert "s3cret" not in told


def test_digest_matches_the_example_of_rfc_7616() -> None:
    header = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    challenge = digest.choose([header.format("MD5"), header.format("SHA-256")])
    assert challenge is not None

    told = digest.authorization(
        challenge,
        Credentials("Mufasa", "Circle of Life"),
        "GET",
        "/dir/index.html",
        count=1,
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )

    assert "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1" in told


def test_two_challenges_in_one_header_are_told_apart() -> None:
    both = 'Digest realm="a", nonce="n1", qop="auth", Digest realm="a", nonce="n2", algorithm=SHA-256'

    challenge = digest.choose([both])

    assert challenge is not None
    assert (challenge.nonce, challenge.algorithm) == ("n2", "SHA-256")


@given(st.text(max_size=200))
def test_any_challenge_is_parsed_or_ignored(header: str) -> None:
    challenge = digest.choose([header, "Digest " + header])

    if challenge is not None:
        told = digest.authorization(challenge, ALICE, "POST", "/x", count=1, cnonce="c")
        assert "\n" not in told


@pytest.mark.parametrize(
    ("uri", "rest", "port"),
    [
        ("rtsp://10.0.0.2:8554/a?b=c", "/a?b=c", 8554),
        ("rtsp://admin:p@ss@10.0.0.2/a", "/a", None),
        ("rtsp://0.0.0.0:554:554/a", "/a", 554),
        ("rtsp://10.0.0.2", "/", None),
        ("rtsp://10.0.0.2:0/a", "/a", None),
        ("rtsp://h/s?transportmode=mcast&profile=1", "/s?transportmode=unicast&profile=1", None),
    ],
)
def test_a_stream_uri_keeps_its_path_and_port(uri: str, rest: str, port: int | None) -> None:
    claim = addresses.stream(uri)

    assert claim is not None
    assert (claim.rest, claim.port) == (rest, port)


@pytest.mark.parametrize(
    "uri", ["http://10.0.0.2/a", "file:///etc/passwd", "rtsp://h/a b", "rtsp://h/a\r\nX: y", ""]
)
def test_what_is_no_stream_is_refused(uri: str) -> None:
    assert addresses.stream(uri) is None


@given(st.text(max_size=60))
def test_a_claim_never_splits_a_request_line(url: str) -> None:
    claim = addresses.claim("http://h/" + url)

    assert claim is None or not any(c.isspace() for c in claim.rest)


def test_xm_passwords_are_encoded_in_the_path() -> None:
    main, _ = brands.endpoints(brands.BRANDS["xm"], "10.0.0.2", 554, Credentials("admin", "p@ss:/#?"), 2)

    assert main.url == (
        "rtsp://10.0.0.2:554/user=admin_password=p%40ss%3A%2F%23%3F_channel=2_stream=0.sdp?real_stream"
    )


@pytest.mark.parametrize(
    ("realm", "server", "brand"),
    [
        ("Login to 4E01B7E", "", "dahua"),
        ("IP Camera(C1234)", "", "hikvision"),
        ("", "H264DVR 1.0", "xm"),
        ("something", "", None),
    ],
)
def test_a_realm_tells_the_brand(realm: str, server: str, brand: str | None) -> None:
    found = brands.fingerprint(realm, server)

    assert (found.name if found else None) == brand


def clock_reply(kind: str, hour: int, minute: int) -> bytes:
    moment = (
        f"<Date><Year>2026</Year><Month>1</Month><Day>2</Day></Date>"
        f"<Time><Hour>{hour}</Hour><Minute>{minute}</Minute><Second>5</Second></Time>"
    )
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><GetSystemDateAndTimeResponse>'
        f"<SystemDateAndTime><{kind}>{moment}</{kind}></SystemDateAndTime></GetSystemDateAndTimeResponse>"
        "</s:Body></s:Envelope>"
    ).encode()


def test_local_time_alone_yields_the_error_without_the_zone() -> None:
    indian = clock_reply("LocalDateTime", 8, 36)  # 05:30 ahead, two minutes fast

    assert read_clock(indian, "", NOW) == NOW + timedelta(minutes=2)


def test_an_impossible_minute_yields_to_the_http_date() -> None:
    broken = clock_reply("UTCDateTime", 3, 61)

    assert read_clock(broken, "Fri, 02 Jan 2026 05:04:05 GMT", NOW) == NOW + timedelta(hours=2)
    assert read_clock(broken, "yesterday", NOW) is None
