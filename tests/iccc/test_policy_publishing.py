"""A policy from the command centre to a real control link and back, over a real broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigError, UplinkError
from edge_agent.events import BoundedInbox
from edge_agent.health.policy import DutyPolicy
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.link import TlsFiles
from edge_agent.iccc.policy import PolicyPublisher, order, read_policy
from edge_agent.model import ClockTrust
from edge_agent.uplink.commands import CommandVerifier, TrustedKey
from edge_agent.uplink.control import ControlLink
from edge_agent.uplink.facts import PolicyArrived
from edge_agent.uplink.link import Broker, Link, LinkSettings
from edge_agent.uplink.messages import Lifecycle, ReplyData, sign_message
from edge_agent.uplink.mqtt import MqttConnection
from edge_agent.uplink.operations import CommandRole
from edge_agent.uplink.policy import PolicyVerifier

SITE, KID = "theka-4", "supervisor-1"
SUPERVISOR, BOX = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
POLICY = DutyPolicy.model_validate({"default": {"hours": ["10:00-22:00"], "required_days": 15}})


class Box:
    """A control link that hears policies and answers as the agent does."""

    def __init__(self, city: Any) -> None:
        identity = city.pki.client(SITE)
        clock = SystemClock(lambda: ClockTrust.NTP)
        port = int(city.broker.rpartition(":")[2])
        settings = LinkSettings(
            (Broker("127.0.0.1", port),), SITE, city.pki.ca, identity.certificate, identity.key,
            will_delay_s=0,
        )  # fmt: skip
        self.inbox = BoundedInbox()
        self.verifier = PolicyVerifier(
            {KID: TrustedKey(CommandRole.SUPERVISOR, SUPERVISOR.public_key())}, SITE
        )
        self.control = ControlLink(
            site=SITE, link=Link(settings, clock, MqttConnection), inbox=self.inbox, clock=clock,
            verifier=CommandVerifier({}, SITE), sign=partial(sign_message, BOX, SITE),
        )  # fmt: skip
        self.versions: list[int] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self.control.run, args=(self._stop, lambda: None), daemon=True),
            threading.Thread(target=self._obey, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)

    def _obey(self) -> None:
        while not self._stop.is_set():
            fact = self.inbox.take(0.1)
            if isinstance(fact, PolicyArrived) and fact.payload:
                policy, _kid = self.verifier.verify(fact.payload, newer_than=0)
                self.versions.append(policy.version)
                self.control.send_reply(ReplyData(command=policy.id, op="policy", status=Lifecycle.DONE))


@pytest.fixture
def publisher(city: Any, until: Callable[..., None]) -> Iterator[Callable[[], PolicyPublisher]]:
    def make() -> PolicyPublisher:
        identity = city.pki.client("iccc-second")
        tls = TlsFiles(city.pki.ca, identity.certificate, identity.key)
        boxes = TrustedBoxes({SITE: BOX.public_key().public_bytes_raw()})
        return PolicyPublisher(city.broker, tls, "iccc-second", boxes)

    yield make
    cleared = make()
    cleared._link.start()
    until(lambda: cleared._link.connected)
    cleared._link.publish(f"iccc/v1/{SITE}/dn/config", b"", retain=True)
    cleared._link.stop()


@pytest.mark.needs("mosquitto")
def test_a_box_that_is_there_answers_and_one_that_was_away_hears_it_later(
    city: Any, publisher: Callable[[], PolicyPublisher], until: Callable[..., None]
) -> None:
    away = publisher().publish(order(SITE, POLICY, "asha", "GO 112", 7), SUPERVISOR, KID, patience_s=1)
    assert away.reply is None
    box = Box(city)
    try:
        until(lambda: box.versions == [7])
        done = publisher().publish(order(SITE, POLICY, "asha", "GO 113", 8), SUPERVISOR, KID)
        assert done.reply is not None
        assert done.reply.status is Lifecycle.DONE
        assert box.versions == [7, 8]
    finally:
        box.stop()


def test_a_group_is_published_site_by_site() -> None:
    policy = order(SITE, POLICY, "asha", "").model_copy(update={"site": None, "group": "thekas"})
    with pytest.raises(UplinkError, match="each of its sites"):
        PolicyPublisher.publish(object.__new__(PolicyPublisher), policy, SUPERVISOR, KID)


def test_versions_rise_by_themselves() -> None:
    first = order(SITE, POLICY, "asha", "")
    assert first.version == first.iat
    assert order(SITE, POLICY, "asha", "", 5).version == 5


def test_a_policy_is_read_from_toml_or_json_and_every_mistake_is_named(tmp_path: Path) -> None:
    toml, wrong = tmp_path / "policy.toml", tmp_path / "wrong.json"
    toml.write_text('[default]\nhours = ["10:00-22:00"]\nrequired_days = 15\n', encoding="utf-8")
    assert read_policy(toml) == POLICY
    wrong.write_text(json.dumps({"night": "1-2", "default": {"hours": "always"}}), encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        read_policy(wrong)
    assert len(told.value.problems) == 2
    for text in ("not json", "[" * 2000):
        wrong.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError):
            read_policy(wrong)
