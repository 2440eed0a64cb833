"""Live view and playback over a real mosquitto, under the media certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from uplink_world import ONE, SITE, TWO, Center, Facts, Viewer, Wire, feed, records, running, until

from edge_agent.clock import SystemClock
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.errors import UplinkError
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink import topics
from edge_agent.uplink.facts import ViewingEnded
from edge_agent.uplink.link import Broker, Link, LinkSettings
from edge_agent.uplink.media import MAX_VIEWINGS, MediaLink
from edge_agent.uplink.mqtt import MqttConnection

pytestmark = pytest.mark.needs("mosquitto")


class Media:
    """A box's media connection."""

    def __init__(self, pki: Pki, port: int, linger_s: float = 30.0) -> None:
        self.clock, self.inbox, self.tap = SystemClock(), Facts(), Tap[Record]()
        identity = pki.client(topics.media_client(SITE))
        settings = LinkSettings(
            (Broker("127.0.0.1", port),), identity.common_name, pki.ca, identity.certificate, identity.key
        )
        link = Link(settings, self.clock, MqttConnection)
        self.link = MediaLink(site=SITE, link=link, inbox=self.inbox, clock=self.clock, linger_s=linger_s)


@pytest.fixture
def media(pki: Pki, broker: Mosquitto) -> Iterator[Media]:
    made = Media(pki, broker.port)
    with running(made.link):
        yield made


def watch(center: Callable[..., Center]) -> Center:
    return center(topics.media_filter(SITE))


def test_a_viewer_gets_the_group_so_far_and_then_what_follows(
    media: Media, center: Callable[..., Center]
) -> None:
    peer, some = watch(center), records(60)
    feed(media.tap, some[:30])
    started = media.link.start_live("cam-01", Role.SUB, media.tap, lease=ONE, lease_s=30)
    viewer = Viewer(peer, started.session)
    head = viewer.take(10)
    feed(media.tap, some[30:32])
    assert [r.raw for r in head] == [r.raw for r in (*some[:2], *some[22:30])]
    assert [r.raw for r in viewer.take(2)] == [r.raw for r in some[30:32]]
    assert (started.epoch, started.first) == (some[0].header.epoch.hex(), 22)


def test_viewers_share_a_session_and_it_ends_with_the_last(
    media: Media, center: Callable[..., Center]
) -> None:
    feed(media.tap, records(5))
    one = media.link.start_live("cam-01", Role.SUB, media.tap, lease=ONE, lease_s=30)
    two = media.link.start_live("cam-01", Role.SUB, media.tap, lease=TWO, lease_s=30)
    assert one.session == two.session
    assert media.link.stop(one.session, ONE)
    assert media.inbox.none(ViewingEnded)
    assert media.link.stop(one.session, TWO)
    assert media.inbox.wait(ViewingEnded).session == one.session
    assert not media.link.renew(one.session, TWO, 30)


def test_a_large_keyframe_travels_in_parts(media: Media, center: Callable[..., Center]) -> None:
    peer, some = watch(center), records(2, size=400_000)
    feed(media.tap, some)
    started = media.link.start_live("cam-01", Role.MAIN, media.tap, lease=ONE, lease_s=30)
    assert [r.raw for r in Viewer(peer, started.session).take(4)] == [r.raw for r in some]


def test_playback_as_fast_as_the_link_gives_is_complete_beside_live(
    media: Media, center: Callable[..., Center]
) -> None:
    peer, some = watch(center), records(300, size=20_000)
    feed(media.tap, records(5))
    media.link.start_live("cam-01", Role.SUB, media.tap, lease=ONE, lease_s=30)
    started = media.link.start_playback("cam-02", Role.MAIN, iter(some), lease=TWO, lease_s=30, speed=None)
    assert [r.raw for r in Viewer(peer, started.session).take(302)] == [r.raw for r in some]
    ended = media.inbox.wait(ViewingEnded)
    assert (ended.reason, ended.records) == ("end of footage", 302)


def test_seeking_goes_on_elsewhere_in_the_same_session(media: Media, center: Callable[..., Center]) -> None:
    peer, some = watch(center), records(200)
    started = media.link.start_playback("cam-01", Role.MAIN, iter(some), lease=ONE, lease_s=30)
    viewer = Viewer(peer, started.session)
    viewer.take(5)
    first = media.link.seek_playback(started.session, iter([*some[:2], *some[102:]]))
    sent = 5
    while viewer.next().header.n != 102:
        sent += 1
    assert first == sent - 2, "the number that the reply to a seek names"
    assert viewer.next().header.n == 103


def test_playback_loses_nothing_to_a_cut(pki: Pki, wire: Wire, center: Callable[..., Center]) -> None:
    peer, some = watch(center), records(200, size=20_000)
    media = Media(pki, wire.port)
    with running(media.link):
        started = media.link.start_playback("cam-01", Role.MAIN, iter(some), lease=ONE, lease_s=30, speed=8.0)
        viewer = Viewer(peer, started.session)
        got = viewer.take(30)
        wire.cut()
        got += viewer.take(172)
    assert sorted(r.header.n for r in got) == list(range(202))


def test_the_connection_opens_for_the_first_viewer_and_closes_after_the_last(
    pki: Pki, broker: Mosquitto
) -> None:
    media = Media(pki, broker.port, linger_s=0.1)
    with running(media.link):
        assert media.link.stats().connects == 0
        started = media.link.start_live("cam-01", Role.SUB, media.tap, lease=ONE, lease_s=30)
        until(lambda: media.link.stats().connected)
        media.link.stop(started.session, ONE)
        until(lambda: not media.link.stats().connected)
        media.link.start_live("cam-01", Role.SUB, media.tap, lease=TWO, lease_s=30)
        until(lambda: media.link.stats().connects == 2)


def test_a_viewer_too_many_is_told_so(media: Media) -> None:
    for number in range(MAX_VIEWINGS):
        media.link.start_live(f"cam-{number}", Role.SUB, Tap(), lease=ONE, lease_s=30)
    with pytest.raises(UplinkError, match="viewings"):
        media.link.start_live("cam-99", Role.SUB, Tap(), lease=ONE, lease_s=30)
