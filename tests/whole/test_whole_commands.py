"""Whoever holds the broker can command nothing: each forgery is published for real and refused by the box."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.demo.settings import COMMAND_KID, SITE
from edge_agent.uplink import topics, ulid
from edge_agent.uplink.commands import Command, sign_command
from edge_agent.uplink.topics import Down

pytestmark = pytest.mark.needs("mosquitto")

Soon = Callable[[Callable[[], object], float, str], None]


def command(watcher: Any, **changes: Any) -> Command:
    now = int(time.time())
    birth = watcher.client.birth(SITE)
    fields: dict[str, Any] = {
        "id": ulid.new(time.time_ns() // 1000),
        "site": SITE,
        "session": birth.session,
        "op": "snapshot",
        "args": {"camera": "cam-01"},
        "operator": "forger",
        "reason": "test",
        "iat": now,
        "exp": now + 60,
    }
    return Command.model_validate(fields | changes)


def publish(watcher: Any, payload: bytes) -> None:
    watcher.client.publish(topics.down(SITE, Down.COMMAND), payload)


def refusals(watcher: Any) -> list[str]:
    log = watcher.city.layout.logs / "agent.log"
    return [line for line in log.read_text(encoding="utf-8").splitlines() if "command refused" in line]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"session": ulid.new(1)}, "stale"),
        ({"iat": 1_700_000_000, "exp": 1_700_000_060}, "expired"),
        ({"exp": int(time.time()) + 86_400}, "expired"),
        ({"site": "some-other-site"}, "wrong_audience"),
        ({"op": "format.disk", "args": {}}, "unknown_op"),
        ({"args": {"camera": "cam-01", "shell": "rm"}}, "malformed"),
    ],
)
def test_a_signed_command_that_is_not_for_now_is_refused(
    watcher: Any, soon: Soon, changes: dict[str, Any], code: str
) -> None:
    # without NTP the box learns the time from the newest command that it believed
    watcher.client.command(SITE, "clock.report", operator="asha")
    before = len(refusals(watcher))
    publish(watcher, sign_command(watcher.city.pki.command_key(), COMMAND_KID, command(watcher, **changes)))
    soon(lambda: any(code in line for line in refusals(watcher)[before:]), 5, f"refused as {code}")


def test_an_unsigned_or_foreign_signed_or_altered_command_is_refused(watcher: Any, soon: Soon) -> None:
    good = sign_command(watcher.city.pki.command_key(), COMMAND_KID, command(watcher))
    head, body, signature = good.split(b".")
    altered = b".".join([head, body[:-2] + (b"AA" if body[-2:] != b"AA" else b"BB"), signature])
    foreign = sign_command(Ed25519PrivateKey.generate(), COMMAND_KID, command(watcher))
    unsigned = command(watcher).model_dump_json().encode()
    for payload in (altered, foreign, unsigned):
        before = len(refusals(watcher))
        publish(watcher, payload)
        soon(lambda before=before: len(refusals(watcher)) > before, 5, "refused")


def test_a_replayed_command_is_done_once(watcher: Any, soon: Soon) -> None:
    payload = sign_command(watcher.city.pki.command_key(), COMMAND_KID, command(watcher))
    before = len(refusals(watcher))
    publish(watcher, payload)
    publish(watcher, payload)
    soon(lambda: any("replayed" in line for line in refusals(watcher)[before:]), 5, "refused as replayed")


def test_every_command_is_in_the_ledger_with_operator_and_reason(watcher: Any, soon: Soon) -> None:
    watcher.client.snapshot(SITE, "cam-02", operator="asha", reason="call 4711")
    leaves = watcher.city.layout.agent / "ledger"

    def noted() -> bool:
        text = b"".join(p.read_bytes() for p in leaves.glob("leaves-*"))
        return b'"operator":"asha"' in text and b'"reason":"call 4711"' in text

    soon(noted, 5, "the leaf")
