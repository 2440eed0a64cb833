"""The command verifier: every check, in its order, with its code."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import CONFIRMED_WITHIN_S
from edge_agent.model import ClockTrust, Instant
from edge_agent.uplink import commands, jws, ulid
from edge_agent.uplink.commands import Code, Command, CommandVerifier, Refusal, TrustedKey, sign_command
from edge_agent.uplink.operations import OPERATIONS, CommandRole, LiveStartArgs

NOW_S = 1_790_000_000
NOW = Instant(NOW_S * 1_000_000, 10**12, ClockTrust.NTP)
SESSION = ulid.from_bytes(b"\x01" * 16)
OPERATOR, SUPERVISOR, TECHNICIAN = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = {
    "op": TrustedKey(CommandRole.OPERATOR, OPERATOR.public_key()),
    "sup": TrustedKey(CommandRole.SUPERVISOR, SUPERVISOR.public_key()),
    "tech": TrustedKey(CommandRole.TECHNICIAN, TECHNICIAN.public_key()),
}


def verifier() -> CommandVerifier:
    return CommandVerifier(KEYS, "pump-17", frozenset({"pumps"}))


def command(number: int = 0, **changes: object) -> Command:
    fields: dict[str, object] = {
        "id": ulid.from_bytes(number.to_bytes(16, "big")), "site": "pump-17", "session": SESSION,
        "op": "live.start", "args": {"camera": "cam-01"}, "operator": "asha", "reason": "alarm",
        "iat": NOW_S, "exp": NOW_S + 60,
    }  # fmt: skip
    return Command.model_validate({**fields, **changes})


def signed(number: int = 0, **changes: object) -> bytes:
    return sign_command(OPERATOR, "op", command(number, **changes))


def refusal(payload: bytes, now: Instant = NOW, on: CommandVerifier | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        (on or verifier()).verify(payload, session=SESSION, now=now)
    return caught.value


def test_a_good_command_is_believed_with_its_signer_and_typed_arguments() -> None:
    believed = verifier().verify(signed(), session=SESSION, now=NOW)
    assert believed.kids == ("op",)
    assert isinstance(believed.typed_args(), LiveStartArgs)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"site": "pump-18"}, Code.WRONG_AUDIENCE),
        ({"group": "pumps"}, Code.WRONG_AUDIENCE),
        ({"site": None, "session": None}, Code.WRONG_AUDIENCE),
        ({"site": None, "session": None, "group": "banks"}, Code.WRONG_AUDIENCE),
        ({"session": ulid.from_bytes(b"\x02" * 16)}, Code.STALE),
        ({"session": None}, Code.STALE),
        ({"exp": NOW_S + 301}, Code.EXPIRED),
        ({"exp": NOW_S}, Code.EXPIRED),
        ({"iat": NOW_S - 100, "exp": NOW_S - 1}, Code.EXPIRED),
        ({"iat": NOW_S + 100, "exp": NOW_S + 160}, Code.EXPIRED),
        ({"op": "explode"}, Code.UNKNOWN_OP),
        ({"op": "reboot", "args": {}}, Code.NOT_ALLOWED),
        ({"args": {}}, Code.MALFORMED),
        ({"args": {"camera": "cam-01", "more": 1}}, Code.MALFORMED),
        ({"args": {"camera": "../etc"}}, Code.MALFORMED),
        ({"args": {"camera": "cam-01", "lease_s": 1e9}}, Code.MALFORMED),
    ],
)
def test_each_check_has_its_code_and_names_the_operator(changes: dict[str, object], code: Code) -> None:
    refused = refusal(signed(**changes))
    assert refused.code is code
    assert (refused.kid, refused.operator) == ("op", "asha")


def test_a_replay_is_refused_and_a_refused_command_is_not_remembered() -> None:
    judge = verifier()
    assert refusal(signed(op="explode"), on=judge).code is Code.UNKNOWN_OP
    judge.verify(signed(), session=SESSION, now=NOW)
    assert refusal(signed(), on=judge).code is Code.REPLAYED


def with_header(**changes: object) -> bytes:
    head, body, _ = signed().split(b".")
    header = {**json.loads(urlsafe_b64decode(head + b"==")), **changes}
    text = json.dumps({k: v for k, v in header.items() if v is not None}).encode()
    head = urlsafe_b64encode(text).rstrip(b"=")
    signature = urlsafe_b64encode(OPERATOR.sign(head + b"." + body)).rstrip(b"=")
    return b".".join((head, body, signature))


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "JWT"},
        {"alg": "none"},
        {"alg": "EdDSA"},
        {"alg": "HS256"},
        {"jku": "https://evil.example/keys"},
        {"jwk": {"kty": "OKP"}},
        {"b64": False, "crit": ["b64"]},
        {"crit": ["exp"]},
        {"kid": None},
        {"kid": 7},
    ],
)
def test_a_header_that_is_not_exactly_ours_is_malformed_even_when_signed(changes: dict[str, object]) -> None:
    refused = refusal(with_header(**changes))
    assert refused.code is Code.MALFORMED
    assert refused.kid == ""


def test_the_algorithm_cannot_be_confused_with_a_shared_secret() -> None:
    import hashlib
    import hmac

    head = urlsafe_b64encode(b'{"alg":"HS256","typ":"edge-command+jws","kid":"op"}').rstrip(b"=")
    body = signed().split(b".")[1]
    mac = hmac.digest(OPERATOR.public_key().public_bytes_raw(), head + b"." + body, hashlib.sha256)
    token = b".".join((head, body, urlsafe_b64encode(mac).rstrip(b"=")))
    assert refusal(token).code is Code.MALFORMED


def test_a_box_message_is_not_a_command() -> None:
    token = jws.sign(OPERATOR, "op", "edge-message+jws", commands._canonical(command()))
    assert refusal(token).code is Code.MALFORMED


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_changed_byte_survives(position: int, value: int) -> None:
    payload = bytearray(signed())
    position %= len(payload)
    if payload[position] == value:
        return
    payload[position] = value
    try:
        believed = verifier().verify(bytes(payload), session=SESSION, now=NOW)
    except Refusal:
        return
    assert believed == command()  # unused bits at the end of base64 may differ, never the content


@given(st.one_of(st.binary(max_size=400), st.text(alphabet='{}[]".,:aeyJ', max_size=300).map(str.encode)))
def test_garbage_is_malformed(payload: bytes) -> None:
    assert refusal(payload).code in {Code.MALFORMED, Code.UNKNOWN_KID}


def test_a_long_payload_is_refused_before_it_is_read() -> None:
    assert refusal(b"{" * (commands.MAX_COMMAND + 1)).code is Code.MALFORMED


def twice(first: tuple[Ed25519PrivateKey, str], second: tuple[Ed25519PrivateKey, str]) -> bytes:
    return commands.sign_command_twice(first, second, command(op="wipe", args={}))


@pytest.mark.parametrize("op", [name for name, o in OPERATIONS.items() if o.signatures == 2])
def test_one_person_alone_cannot_order_what_needs_two(op: str) -> None:
    args = {
        "update": {"version": "1", "sha256": "0" * 64, "url": "https://a.example/x"},
        "ring.release": {"case": "7"},
    }.get(op, {})
    assert refusal(signed(op=op, args=args)).code is Code.NOT_ALLOWED


def test_two_keys_of_distinct_roles_can() -> None:
    believed = verifier().verify(twice((SUPERVISOR, "sup"), (TECHNICIAN, "tech")), session=SESSION, now=NOW)
    assert believed.kids == ("sup", "tech")


def test_the_same_key_twice_or_a_bad_second_signature_cannot() -> None:
    assert refusal(twice((SUPERVISOR, "sup"), (SUPERVISOR, "sup"))).code is Code.NOT_ALLOWED
    assert refusal(twice((SUPERVISOR, "sup"), (OPERATOR, "tech"))).code is Code.BAD_SIGNATURE


def untrusted(now: Instant, after_s: float = 0) -> Instant:
    return replace(now, wall_us=0, boot_ns=now.boot_ns + int(after_s * 1e9), trust=ClockTrust.NONE)


def test_a_box_in_1970_obeys_its_session_and_learns_the_time_from_it() -> None:
    judge = verifier()
    judge.verify(signed(1), session=SESSION, now=untrusted(NOW))
    judge.verify(signed(2, iat=NOW_S - 30, exp=NOW_S + 30), session=SESSION, now=untrusted(NOW, 20))
    assert refusal(signed(3), now=untrusted(NOW, 61), on=judge).code is Code.EXPIRED
    group = signed(4, site=None, session=None, group="pumps")
    assert refusal(group, now=untrusted(NOW), on=judge).code is Code.STALE


def test_a_clock_that_is_only_confirmed_may_be_minutes_off() -> None:
    """The command centre's signed time says that it is right within two minutes, and no more."""
    for ahead_s, expected in ((CONFIRMED_WITHIN_S - 1, None), (CONFIRMED_WITHIN_S + 1, Code.EXPIRED)):
        late_us = round((command().exp - NOW_S + ahead_s) * 1e6)
        now = replace(NOW, wall_us=NOW.wall_us + late_us, trust=ClockTrust.WITNESS)
        if expected is None:
            verifier().verify(signed(1), session=SESSION, now=now)
        else:
            assert refusal(signed(1), now=now).code is expected
    early_us = round((commands.SKEW_S + CONFIRMED_WITHIN_S - 1) * 1e6)
    slow = replace(NOW, wall_us=command().iat * 1_000_000 - early_us, trust=ClockTrust.WITNESS)
    verifier().verify(signed(1), session=SESSION, now=slow)
    assert refusal(signed(1), now=replace(slow, trust=ClockTrust.NTP)).code is Code.EXPIRED


def test_replay_memory_is_bounded_and_never_forgets_what_could_still_run() -> None:
    judge = verifier()
    for number in range(commands.REMEMBERED):
        judge._seen[f"{number}"] = NOW_S + 60
    assert refusal(signed(), on=judge).code is Code.BUSY
    later = replace(NOW, wall_us=NOW.wall_us + 61_000_000)
    judge.verify(signed(9, iat=NOW_S + 61, exp=NOW_S + 90), session=SESSION, now=later)
    assert len(judge._seen) == 1


def test_an_id_taken_before_a_restart_is_refused() -> None:
    judge = verifier()
    judge.remember(command().id, NOW_S + 60)
    assert refusal(signed(), on=judge).code is Code.REPLAYED
