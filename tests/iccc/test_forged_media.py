"""A picture that the broker made up: sealed to the command centre's public key, but signed by no box."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from edge_agent.clock import SystemClock, boot_id
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.model import ClockTrust, Fragment, Role
from edge_agent.seal.keys import Recipient
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer
from edge_agent.uplink import parts, ulid

pytestmark = pytest.mark.needs("mosquitto")
SITE = "pump-17"


def forged_records(box: Any, stream: Any) -> list[bytes]:
    """All that the forger has: the ICCC's public key, the stream's id, and the genuine init."""
    settings = box.city.client_settings()
    public = box.city.pki.recipient_key().public_key().public_bytes_raw()
    sealer = StreamSealer(
        box=type(box.city.box)(b"f" * 32),
        recipients=(Recipient(settings.recipient_id, public),),
        stream_id=stream.id,
        boot_id=boot_id(),
        aead=Aead.AES_256_GCM,
    )
    now = SystemClock(lambda: ClockTrust.NTP).now()
    key, init = sealer.begin_epoch(stream.loop.init, now)
    picture = sealer.seal(Fragment(b"forged picture", now, 200_000, 0, True, False, 1))
    return [record.raw for record in (key, init, picture)]


def test_a_record_forged_with_the_public_key_alone_is_refused_over_the_broker(client: Any, box: Any) -> None:
    with client.live(SITE, "cam-01", Role.SUB, operator="asha") as live:
        assert isinstance(live.next_item(5), LiveInit)
        session = box.sessions["cam-01", Role.SUB]
        numbers = itertools.count(1_000_000)
        for raw in forged_records(box, session.stream):
            for payload in parts.split(raw, ulid.to_bytes(session.session), next(numbers), 32 * 1024):
                box.publish(session.topic, payload, media=True)
        items = [item for item in (live.next_item(5) for _ in range(12)) if item]
        assert live.receiver.refused
    fragments = [item for item in items if isinstance(item, LiveFragment)]
    assert len(fragments) >= 10, "the genuine stream goes on"
    assert not any(b"forged picture" in item.data for item in fragments)
    assert not any(isinstance(item, LiveInit) for item in items), "no forged epoch was begun"
