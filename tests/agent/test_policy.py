"""The signed policy: believed after every check, obeyed at once, kept, and never set back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.agent import policy_file
from edge_agent.agent.policy import PolicyDesk
from edge_agent.clock import ManualClock
from edge_agent.config import Config, parse
from edge_agent.health.duty import Hours
from edge_agent.health.policy import DutyPolicy, demand
from edge_agent.uplink import jws, ulid
from edge_agent.uplink.commands import Code
from edge_agent.uplink.facts import CommandRefused, PolicyArrived
from edge_agent.uplink.policy import POLICY_TYP, Policy, sign_policy

Told = Callable[[Any], None]
KEYS = {name: Ed25519PrivateKey.generate() for name in ("supervisor", "operator", "stranger")}
DUTY = {
    "kinds": {"liquor_shop": {"hours": ["18:00-02:00"], "required_days": 45}},
    "cameras": {"cam-02": {"hours": [], "holidays": {"2026-10-02": ["00:00-24:00"]}}},
}


def public(name: str) -> str:
    return base64.b64encode(KEYS[name].public_key().public_bytes_raw()).decode()


def config(state: Path, *, pinned: tuple[str, ...] = ("supervisor", "operator")) -> Config:
    keys = [
        {
            "kid": n,
            "role": n,
            "public_key": base64.b64encode(KEYS[n].public_key().public_bytes_raw()).decode(),
        }
        for n in pinned
    ]
    site = {"id": "theka-4", "name": "Theka", "kind": "liquor_shop", "duty": ["08:00-22:00"]}
    return parse({"site": site, "state": {"directory": str(state)}, "keys": {"commands": keys}})


def signed(version: int = 1, signer: str = "supervisor", **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "id": ulid.new(1_790_000_000_000_000 + version), "version": version, "site": "theka-4",
        "operator": "asha", "reason": "GO 112", "iat": 1_790_000_000, "policy": DUTY,
    }  # fmt: skip
    policy = Policy.model_validate_json(json.dumps(fields | changes))
    return sign_policy(KEYS[signer], signer, policy)


class Owner:
    """What the desk leans on, written down."""

    def __init__(self, settings: Config) -> None:
        self.leaves: list[dict[str, Any]] = []
        self.replies: list[Any] = []
        self.refusals: list[CommandRefused] = []
        self.changes = 0
        self.disk_works = True
        self.parts = SimpleNamespace(config=settings, chores=SimpleNamespace(ask=self._ask))
        self.journal = SimpleNamespace(policy=self.leaves.append)
        self.link = SimpleNamespace(reply=self.replies.append, refused=self.refusals.append)
        self.desk = PolicyDesk(self, self._changed)  # type: ignore[arg-type]

    def take(self, payload: bytes) -> None:
        self.desk.reactions[PolicyArrived](PolicyArrived(ManualClock().now(), payload))

    def _ask(
        self, question: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[str], None]
    ) -> None:
        if self.disk_works:
            then(question())
        else:
            failed("no space left")

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(config(tmp_path))


def test_without_a_policy_the_configuration_holds(owner: Owner) -> None:
    assert owner.desk.demand.schedule.usual == Hours(("08:00-22:00",))
    assert owner.desk.demand.required_days == 30
    assert owner.desk.status()["version"] == 0


def test_a_policy_holds_at_once_is_noted_and_answered(owner: Owner) -> None:
    owner.take(signed(7))
    held = owner.desk.demand
    assert held.schedule.usual.spans == ("18:00-02:00",)
    assert held.schedule.of("cam-02").on(date(2026, 10, 1)) == ()
    assert held.schedule.of("cam-02").on(date(2026, 10, 2)) == ("00:00-24:00",)
    assert (held.required_days, held.schedule.policy, owner.changes) == (45, 7, 1)
    (leaf,) = owner.leaves
    assert (leaf["version"], leaf["operator"], leaf["kid"], leaf["for"]) == (
        7,
        "asha",
        "supervisor",
        "theka-4",
    )
    assert owner.replies[0].status.value == "done"


def test_it_survives_a_restart_and_an_older_one_does_not_replace_it(owner: Owner) -> None:
    owner.take(signed(7))
    again = Owner(owner.parts.config)
    assert again.desk.demand.schedule.policy == 7
    for old in (signed(6), signed(7, reason="another text")):
        again.take(old)
    assert [r.code for r in again.refusals] == [Code.STALE, Code.STALE]
    assert again.desk.demand.schedule.policy == 7
    again.take(signed(8))
    assert again.desk.demand.schedule.policy == 8


def test_the_same_one_again_with_every_connection_is_no_news(owner: Owner) -> None:
    payload = signed(7)
    for _ in range(3):
        owner.take(payload)
    owner.take(b"")
    assert len(owner.leaves) == len(owner.replies) == owner.changes == 1
    assert not owner.refusals


@pytest.mark.parametrize(
    ("payload", "code", "kid"),
    [
        (signed(signer="stranger"), Code.UNKNOWN_KID, ""),
        (signed(signer="operator"), Code.NOT_ALLOWED, "operator"),
        (signed(site="theka-5"), Code.WRONG_AUDIENCE, "supervisor"),
        (signed(site=None, group="thekas"), Code.WRONG_AUDIENCE, "supervisor"),
        (signed()[:-4] + b"AAAA", Code.BAD_SIGNATURE, ""),
        (jws.sign(KEYS["supervisor"], "supervisor", "edge-command+jws", b"{}"), Code.MALFORMED, ""),
        (jws.sign(KEYS["supervisor"], "supervisor", POLICY_TYP, b"{}"), Code.MALFORMED, "supervisor"),
        (b"\xff" * 100, Code.MALFORMED, ""),
        (b"a" * 70_000, Code.MALFORMED, ""),
    ],
)  # fmt: skip
def test_what_is_not_a_supervisors_word_for_this_site_changes_nothing(
    owner: Owner, payload: bytes, code: Code, kid: str
) -> None:
    owner.take(payload)
    (refusal,) = owner.refusals
    assert (refusal.code, refusal.kid, refusal.op) == (code, kid, "policy")
    assert not owner.leaves
    assert owner.desk.demand.schedule.policy == 0


def test_a_key_that_is_no_longer_pinned_ends_its_policy(owner: Owner, tmp_path: Path) -> None:
    owner.take(signed(7))
    assert policy_file.kept_demand(config(tmp_path)).schedule.policy == 7
    assert policy_file.kept_demand(config(tmp_path, pinned=("operator",))).schedule.policy == 0


def test_a_file_that_was_edited_is_not_obeyed(owner: Owner, tmp_path: Path) -> None:
    owner.take(signed(7))
    path = tmp_path / policy_file.NAME
    path.write_bytes(path.read_bytes().replace(b".", b".e", 1))
    assert policy_file.load(config(tmp_path)) is None


def test_a_policy_that_could_not_be_kept_is_written_when_it_comes_again(owner: Owner, tmp_path: Path) -> None:
    payload = signed(7)
    owner.disk_works = False
    owner.take(payload)
    assert owner.desk.demand.schedule.policy == 7
    owner.disk_works = True
    owner.take(payload)
    assert policy_file.load(config(tmp_path)) is not None
    assert len(owner.leaves) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"default": {"hours": ["25:00-26:00"]}},
        {"default": {"hours": ["08:00-20:00"] * 9}},
        {"night": "08:00-20:00"},
        {"kinds": {"casino": {}}},
        {"cameras": {"../etc": {}}},
        {"default": {"required_days": 0}},
        {"default": {"weekdays": {"sonntag": []}}},
        {"surprise": 1},
    ],
)
def test_a_policy_with_a_mistake_is_no_policy(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        DutyPolicy.model_validate_json(json.dumps(wrong))


def test_a_kind_that_the_policy_does_not_name_gets_its_default(tmp_path: Path) -> None:
    policy = DutyPolicy.model_validate({"default": {"hours": ["09:00-18:00"], "required_days": 12}})
    held = demand(config(tmp_path), policy, 3)
    assert (held.schedule.usual.spans, held.required_days) == (("09:00-18:00",), 12)
