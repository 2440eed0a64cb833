"""The small pure rules: lock-out, Digest, addresses, brands, device clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import addresses, brands, digest, lockout
from edge_agent.capture.device_clock import read_clock, spoken
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.capture.ports import Door, Leave
from edge_agent.model import Credentials
from edge_agent.seal.keys import BoxKey

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


def test_a_lock_runs_out_but_two_wrong_answers_do_not() -> None:
    now = [1000.0]
    lockouts = Lockouts(monotonic=lambda: now[0])
    lockouts.wrong("10.0.0.2", ALICE, "the account is locked")
    assert not lockouts.may_try("10.0.0.2", ALICE)

    now[0] += lockout.LOCKED_S
    assert lockouts.may_try("10.0.0.2", ALICE)

    lockouts.wrong("10.0.0.2", ALICE)
    now[0] += 10 * lockout.LOCKED_S
    assert not lockouts.may_try("10.0.0.2", ALICE)


def test_what_is_on_its_way_counts_as_wrong_until_it_is_answered() -> None:
    lockouts, streams = Lockouts(), [object() for _ in range(8)]

    def ask(n: int) -> Leave:
        return lockouts.ask("10.0.0.2", ALICE, streams[n], door=Door.RTSP)

    assert [ask(n) for n in range(8)] == [Leave.GO] * 2 + [Leave.WAIT] * 6
    lockouts.wrong("10.0.0.2", ALICE, asker=streams[0], door=Door.RTSP)
    assert ask(2) is Leave.WAIT
    lockouts.right("10.0.0.2", ALICE, asker=streams[1], door=Door.RTSP)
    assert [ask(n) for n in (2, 3)] == [Leave.GO, Leave.WAIT]
    lockouts.right("10.0.0.2", ALICE, asker=streams[2], door=Door.RTSP)
    assert [ask(n) for n in (3, 4, 5)] == [Leave.GO, Leave.GO, Leave.WAIT]


def test_an_answer_to_what_was_sent_before_the_refusal_proves_nothing() -> None:
    """A pull was let in, the password changed, a stream is refused; then the pull returns."""
    lockouts = Lockouts()
    lockouts.ask("10.0.0.2", ALICE, "pull", door=Door.ONVIF)
    lockouts.ask("10.0.0.2", ALICE, "stream", door=Door.RTSP)
    lockouts.wrong("10.0.0.2", ALICE, asker="stream", door=Door.RTSP)

    lockouts.right("10.0.0.2", ALICE, asker="pull", door=Door.ONVIF)

    assert lockouts.standing("10.0.0.2", ALICE).wrong == 1


def test_a_claim_that_nobody_answers_runs_out() -> None:
    now = [1000.0]
    lockouts = Lockouts(monotonic=lambda: now[0])
    for _ in range(2):
        assert lockouts.ask("10.0.0.2", ALICE, object(), door=Door.RTSP, holds_s=5) is Leave.GO
    assert lockouts.ask("10.0.0.2", ALICE, "third", door=Door.ONVIF) is Leave.WAIT

    now[0] += 5.1

    assert lockouts.ask("10.0.0.2", ALICE, "third", door=Door.ONVIF) is Leave.GO


def test_onvif_is_asked_once_where_rtsp_said_yes() -> None:
    """ONVIF users are a list of their own on some recorders: streams go on, ONVIF is not asked again."""
    lockouts = Lockouts()
    lockouts.right("10.0.0.2", ALICE, door=Door.RTSP)
    lockouts.wrong("10.0.0.2", ALICE, door=Door.ONVIF)

    assert not lockouts.may_try("10.0.0.2", ALICE, Door.ONVIF)
    assert lockouts.may_try("10.0.0.2", ALICE, Door.RTSP)

    lockouts.wrong("10.0.0.2", ALICE, door=Door.RTSP)
    assert not lockouts.may_try("10.0.0.2", ALICE, Door.RTSP)


def test_a_right_answer_opens_no_door_but_its_own() -> None:
    lockouts = Lockouts()
    for _ in range(2):
        lockouts.wrong("10.0.0.2", ALICE, door=Door.ONVIF)
    lockouts.right("10.0.0.2", ALICE, door=Door.RTSP)  # it was on its way

    assert not lockouts.may_try("10.0.0.2", ALICE, Door.ONVIF)
    assert lockouts.may_try("10.0.0.2", ALICE, Door.RTSP)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(Door), st.sampled_from(["ask", "wrong", "leave"])),
        max_size=80,
    )
)
def test_no_order_of_questions_sends_a_wrong_password_three_times(
    steps: list[tuple[int, Door, str]],
) -> None:
    lockouts = Lockouts(monotonic=lambda: 0.0)
    sent: dict[int, Door] = {}
    refused = 0
    for asker, door, what in steps:
        if what == "ask" and asker not in sent:
            if lockouts.ask("10.0.0.2", ALICE, asker, door=door) is Leave.GO:
                sent[asker] = door
        elif what == "wrong" and asker in sent:
            lockouts.wrong("10.0.0.2", ALICE, asker=asker, door=sent.pop(asker))
            refused += 1
        elif what == "leave" and asker in sent:
            lockouts.give_back(asker)
            del sent[asker]
        assert refused + len(sent) <= 2


def test_refusals_outlive_a_restart_and_a_damaged_file_does_no_harm(tmp_path: Path) -> None:
    path, sign = tmp_path / "lockouts.json", BoxKey(bytes(32)).sign
    kept = LockoutFile(path, sign)
    kept.lockouts.right("10.0.0.2", ALICE, door=Door.RTSP)
    kept.lockouts.wrong("10.0.0.2", ALICE, "You still have 4 attempt(s)")
    assert kept.due
    kept.save()
    assert not kept.due

    again = LockoutFile(path, sign).lockouts
    assert again.standing("10.0.0.2", ALICE) == kept.lockouts.standing("10.0.0.2", ALICE)
    assert again.may_try("10.0.0.2", ALICE, Door.RTSP)
    assert not again.may_try("10.0.0.2", ALICE, Door.ONVIF)
    assert LockoutFile(path, BoxKey(bytes(31) + b"1").sign).lockouts.may_try("10.0.0.2", ALICE)
    assert b"one" not in path.read_bytes()

    for damage in (b"", b"{", b'{"refused": []}', b'{"refused": {"a": {"onvif": "x"}}}', b"\xff\xfe"):
        path.write_bytes(damage)
        assert LockoutFile(path, sign).lockouts.may_try("10.0.0.2", ALICE)


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


@pytest.mark.parametrize(
    ("offset_s", "told"),
    [
        (-1.2, "right"),
        (5.0, "5 s ahead"),
        (-150.0, "2 min behind"),
        (25_200.0, "7.0 h ahead"),
        (-259_200.0, "3 days behind"),
    ],
)
def test_an_error_of_the_clock_is_told_in_the_unit_that_fits(offset_s: float, told: str) -> None:
    assert spoken(offset_s) == told
