"""What bites in paho 2, a test each; docs/design/link.md has the table, with those that live elsewhere."""

from __future__ import annotations

import os
import re
import resource
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import sleep

import pytest
from quiet_broker import QuietBroker
from uplink_world import SITE, Box, Facts, Wire, records, running, until

from edge_agent.clock import SystemClock
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.model import ClockTrust, Role
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink import topics
from edge_agent.uplink.facts import LinkDown, LinkUp
from edge_agent.uplink.link import Broker, Link, LinkSettings
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.messages import EventData
from edge_agent.uplink.mqtt import WINDOW, MqttConnection
from edge_agent.uplink.outbox import RULES, Lane

pytestmark = pytest.mark.needs("mosquitto")


@contextmanager
def quiet(pki: Pki, properties: bytes = b"") -> Iterator[QuietBroker]:
    broker = QuietBroker(pki, properties)
    yield broker
    broker.close()


def test_unacknowledged_messages_are_few_and_the_rest_waits_where_it_is_bounded(pki: Pki) -> None:
    with quiet(pki) as broker:
        box = Box(pki, broker.port)
        with running(box.control):
            box.connected()
            for number in range(1000):
                box.control.send_event(EventData(kind="test", index=number))
            until(lambda: len(broker.publishes) == WINDOW)
            stats = box.control.stats()
            assert stats.waiting <= RULES[Lane.EVENT].items
            assert stats.dropped["event"] >= 1000 - WINDOW - RULES[Lane.EVENT].items


def test_receive_maximum_of_the_broker_is_respected_with_room_to_spare(pki: Pki) -> None:
    with quiet(pki, b"\x21" + struct.pack(">H", 6)) as broker:
        box = Box(pki, broker.port)
        with running(box.control):
            box.connected()
            for number in range(50):
                box.control.send_event(EventData(kind="test", index=number))
            until(lambda: len(broker.publishes) == 4)
            assert box.inbox.none(LinkDown)
            assert len(broker.publishes) == 4


def test_a_broker_that_never_acknowledges_is_left_although_it_looks_connected(pki: Pki) -> None:
    with quiet(pki) as broker:
        box = Box(pki, broker.port, ack_timeout_s=0.5)
        with running(box.control):
            box.connected()
            assert "no acknowledgement" in box.inbox.wait(LinkDown).reason


def test_a_half_open_connection_is_noticed_and_replaced(pki: Pki, wire: Wire) -> None:
    box = Box(pki, wire.port, ack_timeout_s=0.5, connect_timeout_s=1.0)
    with running(box.control):
        first = box.connected()
        until(lambda: not box.control._outbox._under_way)
        wire.hold()
        box.control.send_event(EventData(kind="test"))
        assert "no acknowledgement" in box.inbox.wait(LinkDown).reason
        wire.cut()
        wire.release()
        box.control.kick()
        assert box.inbox.wait(LinkUp, 20).session != first.session


def test_a_bug_in_a_callback_ends_the_worker_for_the_supervisor_to_see(box: Box) -> None:
    raised = []

    def body() -> None:
        try:
            box.control.run(Event(), lambda: None)
        except RuntimeError as error:
            raised.append(error)

    def link_up(*_: object) -> None:
        box.control.acknowledged = broken  # type: ignore[method-assign,assignment]

    def broken(_token: int) -> None:
        raise RuntimeError("a bug")

    thread = Thread(target=body, daemon=True)
    thread.start()
    box.connected()
    link_up()
    box.control.send_event(EventData(kind="test"))
    thread.join(5)
    assert [str(e) for e in raised] == ["a bug"]


def test_small_packets_leave_at_once_and_little_waits_in_the_kernel(
    pki: Pki, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[tuple[int, int, int]] = []

    class Spied(MqttConnection):
        def pump(self, timeout_s: float) -> None:
            sock = self._client.socket()
            if sock is not None and not tuned:
                options = (socket.TCP_NODELAY, socket.TCP_NOTSENT_LOWAT, socket.TCP_USER_TIMEOUT)
                tuned.append(tuple(sock.getsockopt(socket.IPPROTO_TCP, o) for o in options))  # type: ignore
            super().pump(timeout_s)

    box = Box(pki, broker.port)
    monkeypatch.setattr(box.link, "_transport", Spied)
    with running(box.control):
        box.connected()
    assert tuned == [(1, 16 * 1024, 30_000)]


def test_video_for_a_wire_that_takes_nothing_is_dropped_and_nothing_piles_up(pki: Pki, wire: Wire) -> None:
    identity = pki.client(topics.media_client(SITE))
    clock, tap = SystemClock(), Tap[Record]()
    link = Link(
        LinkSettings((Broker("127.0.0.1", wire.port),), identity.common_name, pki.ca, identity.certificate,
                     identity.key), clock, MqttConnection,
    )  # fmt: skip
    media = MediaLink(site=SITE, link=link, inbox=Facts(), clock=clock)
    some = records(600, size=60_000, gop=5)
    with running(media):
        tap.begin_epoch(*some[:2])
        media.start_live("cam-01", Role.MAIN, tap, lease="0" * 26, lease_s=60)
        until(lambda: media.stats().connected)
        wire.hold()
        for record in some[2:]:
            tap.publish(record, len(record.raw), keyframe=record.header.keyframe)
        session = media._viewings[0]
        assert media.stats().dropped > 300
        assert session._pacer._held <= 4 * 1024**2  # type: ignore[attr-defined]
        wire.release()


class Sipping(QuietBroker):
    """Takes 60 KB a second, of which little waits on its side."""

    def __init__(self, pki: Pki) -> None:
        super().__init__(pki)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def _exactly(self, end: ssl.SSLSocket, count: int) -> bytes:
        sleep(count / 60_000)
        return super()._exactly(end, count)


def test_a_flooded_line_still_carries_the_ping_that_keeps_it_open(pki: Pki) -> None:
    clock, tap = SystemClock(), Tap[Record]()
    identity = pki.client(topics.media_client(SITE))
    with closing(Sipping(pki)) as broker:
        settings = LinkSettings(
            (Broker("127.0.0.1", broker.port),), identity.common_name, pki.ca, identity.certificate,
            identity.key, keepalive_s=1, gentle=True,
        )  # fmt: skip
        media = MediaLink(site=SITE, link=Link(settings, clock, MqttConnection), inbox=Facts(), clock=clock)
        some = records(300, size=30_000, gop=5)
        with running(media):
            tap.begin_epoch(*some[:2])
            media.start_live("cam-01", Role.MAIN, tap, lease="0" * 26, lease_s=60)
            until(lambda: media.stats().connected)
            for record in some[2:]:
                tap.publish(record, len(record.raw), keyframe=record.header.keyframe)
                sleep(0.01)
                if broker.pings > 1:
                    break
            assert media.stats().dropped
            assert broker.pings > 1
            assert (media.stats().connects, media.stats().connected) == (1, True)


class Forgetful(QuietBroker):
    """Notes what came over each connection, acknowledges nothing, and leaves the first one after a while."""

    def __init__(self, pki: Pki) -> None:
        self.heard: dict[int, list[bytes]] = {}
        super().__init__(pki)

    def _took(self, end: ssl.SSLSocket, head: int, body: bytes) -> None:
        mine = self.heard.setdefault(id(end), [])
        mine += [body]
        if len(self.heard) == 1 and sum(b"/up/event" in b for b in mine) == 3:
            end.shutdown(socket.SHUT_RDWR)


def test_what_was_under_way_at_a_cut_is_sent_again_by_us_and_by_nobody_else(pki: Pki) -> None:
    with closing(Forgetful(pki)) as broker:
        box = Box(pki, broker.port)
        with running(box.control):
            box.connected()
            for number in range(3):
                box.control.send_event(EventData(kind="test", index=number))
            box.connected()
            box.control.send_ledger(b"{}")
            until(lambda: len(broker.heard) == 2 and len(list(broker.heard.values())[1]) == 5)
            assert box.inbox.none(LinkUp)
    before, after = ([b for b in c if b"/up/event" in b] for c in broker.heard.values())
    assert [b[b.index(b"{"):] for b in after] == [b[b.index(b"{"):] for b in before]  # fmt: skip
    assert len(after) == 3


def test_a_kick_ends_the_pause_before_the_next_attempt(
    pki: Pki, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 60.0)
    broker.stop()
    box = Box(pki, broker.port)
    with running(box.control):
        box.inbox.wait(LinkDown)
        broker.start()
        box.control.kick()
        box.connected()


def test_the_second_broker_is_tried_when_the_first_is_away(pki: Pki, broker: Mosquitto) -> None:
    box = Box(pki, broker.port)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    brokers = (Broker("127.0.0.1", port), *box.settings.brokers)
    box.link._settings = LinkSettings(
        brokers, SITE, box.settings.ca, box.settings.certificate, box.settings.key
    )
    with running(box.control):
        assert box.connected().broker == f"127.0.0.1:{broker.port}"


def test_more_than_a_thousand_open_files_do_not_matter(pki: Pki, broker: Mosquitto) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1300:
        pytest.skip("the hard limit of open files is below 1300")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1300), hard))
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        box = Box(pki, broker.port)
        with running(box.control):
            box.connected()
    finally:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_stranger_with_the_brokers_address_is_not_believed(
    pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Pki(tmp_path_factory.mktemp("stranger"))
    with quiet(stranger) as broker:
        box = Box(pki, broker.port)
        with running(box.control):
            assert "certificate is not accepted" in box.inbox.wait(LinkDown).reason


@pytest.mark.parametrize(("trust", "works"), [(ClockTrust.NONE, True), (ClockTrust.NTP, False)])
def test_dates_in_certificates_wait_for_a_clock(
    trust: ClockTrust, works: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from datetime import UTC, datetime, timedelta

    future = Pki(tmp_path_factory.mktemp("future"), now=lambda: datetime.now(UTC) + timedelta(days=30))
    with quiet(future) as broker:
        box = Box(future, broker.port)
        box.link._clock = SystemClock(lambda: trust)
        with running(box.control):
            if works:
                box.connected()
            else:
                assert "not yet valid" in box.inbox.wait(LinkDown).reason


def test_every_trap_of_the_page_names_tests_that_exist() -> None:
    here = Path(__file__).parent
    page = (here.parents[1] / "docs/design/link.md").read_text(encoding="utf-8")
    rows = page.split("## What bites")[1].split("\n## ")[0].splitlines()[4:]
    known = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in here.glob("test_*.py")), re.M))
    named = [re.findall(r"`(test_\w+)`", row) for row in rows if row.startswith("|")]
    assert len(named) == 14
    assert all(named)
    assert {name for names in named for name in names} <= known
