"""The control link against a real mosquitto with mutual TLS and access rules."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uplink_world import SITE, Box, Center, Wire, running, until

from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.uplink import parts, topics
from edge_agent.uplink.commands import Code, sign_command
from edge_agent.uplink.facts import (
    CommandArrived,
    CommandRefused,
    LeavesWanted,
    LinkDown,
    LinkUp,
    MessageRefused,
    WitnessNoteArrived,
)
from edge_agent.uplink.link import Outgoing
from edge_agent.uplink.messages import (
    BirthData,
    EventData,
    HeartbeatData,
    Lifecycle,
    ReplyData,
    State,
    decode,
    verify_message,
)
from edge_agent.uplink.outbox import Lane
from edge_agent.uplink.topics import Down

pytestmark = pytest.mark.needs("mosquitto")

COMMAND = topics.down(SITE, Down.COMMAND)
BIRTH = BirthData(site=SITE, boot="0" * 32, software="test")


def state_of(center: Center) -> str:
    message = decode(center.wait("/up/state").payload)
    assert isinstance(message, State)
    return message.data.state.value


def test_birth_is_retained_and_names_the_new_session_after_every_reconnect(
    box: Box, broker: Mosquitto, center: Callable[..., Center]
) -> None:
    with running(box.control):
        first = box.connected()
        box.control.send_birth(BIRTH)
        until(lambda: not box.control.stats().waiting)
        broker.stop()
        box.inbox.wait(LinkDown)
        broker.start()
        box.control.kick()
        second = box.inbox.wait(LinkUp, 20)
        box.control.send_birth(BIRTH)
        watcher = center(f"iccc/v1/{SITE}/up/birth")
        birth = watcher.wait("/up/birth")

    assert birth.retain
    assert verify_message(birth.payload, box.key.public_key()).session == second.session != first.session


def test_last_will_speaks_after_a_cut_and_goodbye_after_a_stop(
    pki: Pki, wire: Wire, center: Callable[..., Center]
) -> None:
    box = Box(pki, wire.port)
    watcher = center(f"iccc/v1/{SITE}/up/state")
    with running(box.control):
        box.connected()
        assert state_of(watcher) == "online"
        wire.cut()
        box.inbox.wait(LinkDown)
        assert state_of(watcher) == "offline"
        box.control.kick()
        assert state_of(watcher) == "online"
    assert b"stopped" in watcher.wait("/up/state").payload


def test_every_kind_of_message_reaches_the_command_centre(box: Box, center: Callable[..., Center]) -> None:
    watcher = center("iccc/v1/+/up/#")
    with running(box.control):
        session = box.connected().session
        box.control.send_heartbeat(HeartbeatData())
        box.control.send_event(EventData(kind="camera_dark", camera="cam-01"))
        box.control.send_reply(ReplyData(command=session, status=Lifecycle.DONE))
        box.control.send_ledger(b"leaves")
        got = {}
        while len(got) < 5:
            message = watcher.messages.get(timeout=8)
            got[message.topic.rsplit("/", 1)[1]] = message.payload
    assert decode(got["heartbeat"]).session == session
    assert decode(got["event"]).session == session
    assert verify_message(got["reply"], box.key.public_key()).session == session
    assert got["ledger"] == b"leaves"


def test_a_snapshot_larger_than_any_message_travels_in_parts(box: Box, center: Callable[..., Center]) -> None:
    class Sealed:
        raw = bytes(range(256)) * 1200  # 300 KiB

    watcher = center("iccc/v1/+/up/snapshot/+")
    with running(box.control):
        box.connected()
        assert box.control.send_snapshot("cam-01", (Sealed(),))  # type: ignore[arg-type]
        first = watcher.wait("/cam-01").payload
        together = parts.Reassembler(parts.parse(first).session)
        whole = together.receive(first)
        while whole is None:
            whole = together.receive(watcher.wait("/cam-01").payload)
    assert whole == Sealed.raw


def test_a_signed_command_arrives_once(box: Box, center: Callable[..., Center]) -> None:
    operator = center()
    with running(box.control):
        session = box.connected().session
        payload = box.signed(session)
        operator.publish(COMMAND, payload)
        assert box.inbox.wait(CommandArrived).command.operator == "asha"
        operator.publish(COMMAND, payload)
        refused = box.inbox.wait(CommandRefused)
    assert refused.code is Code.REPLAYED
    assert refused.operator == "asha"


def test_a_group_command_arrives(box: Box, center: Callable[..., Center]) -> None:
    with running(box.control):
        box.connected()
        payload = sign_command(
            box.operator, "op-1", box.command("0" * 26, site=None, session=None, group="pumps")
        )
        center().publish(topics.group_command("pumps"), payload)
        assert box.inbox.wait(CommandArrived).command.group == "pumps"


def unsigned(box: Box, session: str) -> bytes:
    return box.command(session).model_dump_json(exclude_none=True).encode()


def altered(box: Box, session: str) -> bytes:
    head, body, signature = box.signed(session).split(b".")
    return b".".join((head, body[:-2] + (b"AA" if body[-2:] != b"AA" else b"BB"), signature))


def strangers(box: Box, session: str) -> bytes:
    return sign_command(Ed25519PrivateKey.generate(), "op-1", box.command(session))


def unpinned(box: Box, session: str) -> bytes:
    return sign_command(box.operator, "op-2", box.command(session))


def late(box: Box, session: str) -> bytes:
    now_s = box.clock.now().wall_us // 1_000_000
    return box.signed(session, iat=now_s - 120, exp=now_s - 60)


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (unsigned, Code.MALFORMED),
        (altered, Code.BAD_SIGNATURE),
        (strangers, Code.BAD_SIGNATURE),
        (unpinned, Code.UNKNOWN_KID),
        (late, Code.EXPIRED),
        (lambda box, session: box.signed(session, session="0" * 26), Code.STALE),
        (lambda box, session: box.signed(session, site="pump-18"), Code.WRONG_AUDIENCE),
        (lambda box, session: box.signed(session, op="reboot", args={}), Code.NOT_ALLOWED),
        (lambda box, session: box.signed(session, op="explode", args={}), Code.UNKNOWN_OP),
    ],
)  # fmt: skip
def test_what_is_not_a_fresh_command_for_this_box_is_refused(
    box: Box, center: Callable[..., Center], forge: Callable[[Box, str], bytes], code: Code
) -> None:
    with running(box.control):
        session = box.connected().session
        center().publish(COMMAND, forge(box, session))
        assert box.inbox.wait(CommandRefused).code is code


def test_a_command_queued_during_a_cut_is_stale_when_the_box_returns(
    box: Box, center: Callable[..., Center]
) -> None:
    with running(box.control):
        old = box.connected().session
    center().publish(COMMAND, box.signed(old))
    with running(box.control):
        assert box.inbox.wait(CommandRefused).code is Code.STALE


def test_another_site_cannot_publish_or_read_here(box: Box, center: Callable[..., Center]) -> None:
    neighbour = center("iccc/v1/+/up/#", f"iccc/v1/{SITE}/dn/#", name="pump-18")
    with running(box.control):
        session = box.connected().session
        assert neighbour.publish(COMMAND, box.signed(session)) == 0x87
        assert neighbour.publish(f"iccc/v1/{SITE}/up/state", b"{}") == 0x87
        box.control.send_heartbeat(HeartbeatData())
        until(lambda: not box.control.stats().waiting)
        assert box.inbox.none(CommandArrived)
    assert neighbour.messages.empty()


def test_a_publish_that_the_access_rules_deny_is_told_and_not_repeated(box: Box) -> None:
    with running(box.control):
        box.connected()
        box.control._put(Lane.EVENT, Outgoing("iccc/v1/pump-18/up/event", b"{}"))
        refused = box.inbox.wait(MessageRefused)
        assert refused.topic == "iccc/v1/pump-18/up/event"
        assert "ot authorized" in refused.reason
        assert box.inbox.none(LinkDown)


def test_a_message_larger_than_the_broker_takes_is_told_and_the_link_stays(
    pki: Pki, broker_with: Callable[[str], int]
) -> None:
    box = Box(pki, broker_with("max_packet_size 2000"))
    with running(box.control):
        box.connected()
        box.control.send_ledger(bytes(3000))
        assert "2000" in box.inbox.wait(MessageRefused).reason
        box.control.send_ledger(b"small")
        until(lambda: not box.control._outbox._under_way)
        assert box.inbox.none(LinkDown)


def test_events_of_an_outage_arrive_once_and_in_order_after_a_broker_restart(
    box: Box, broker: Mosquitto, center: Callable[..., Center], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 60.0)  # not before somebody listens
    with running(box.control):
        box.connected()
        broker.stop()
        box.inbox.wait(LinkDown)
        for number in range(20):
            box.control.send_event(EventData(kind="test", index=number))
        broker.start()
        watcher = center("iccc/v1/+/up/event")
        box.control.kick()
        got = [json.loads(watcher.wait("/up/event").payload)["data"]["index"] for _ in range(20)]
    assert got == list(range(20))


def test_witness_notes_are_read_at_connect_and_wants_as_they_come(
    box: Box, center: Callable[..., Center]
) -> None:
    peer = center()
    peer.publish(topics.down(SITE, Down.WITNESS), b"note", retain=True)
    with running(box.control):
        assert box.inbox.wait(WitnessNoteArrived).payload == b"note"
        peer.publish(topics.down(SITE, Down.WANT), b"want")
        assert box.inbox.wait(LeavesWanted).payload == b"want"
