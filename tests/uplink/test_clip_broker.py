"""Clips over a real mosquitto: acknowledged, windowed, behind what somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from uplink_world import ONE, SITE, TWO, Center, Facts, Wire, feed, records, running, until

from edge_agent.clock import SystemClock
from edge_agent.demo.pki import Pki
from edge_agent.errors import RingError, UplinkError
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink import topics
from edge_agent.uplink.clip import WINDOW, ClipChanged, parse, payloads, survey
from edge_agent.uplink.clip_session import ALL_SENT, ClipSession
from edge_agent.uplink.facts import ViewingEnded
from edge_agent.uplink.link import Broker, Limits, Link, LinkSettings
from edge_agent.uplink.media import MAX_CLIPS, MediaLink
from edge_agent.uplink.mqtt import MqttConnection
from edge_agent.uplink.playback import PlaybackSession

SOME = records(120, size=20_000)
CLIP = survey(b"s" * 16, 1, 2, SOME)
PARTS = list(payloads(CLIP, SOME))


class Media:
    """A box's media connection."""

    def __init__(self, pki: Pki, port: int) -> None:
        self.clock, self.inbox = SystemClock(), Facts()
        identity = pki.client(topics.media_client(SITE))
        settings = LinkSettings(
            (Broker("127.0.0.1", port),), identity.common_name, pki.ca, identity.certificate, identity.key
        )
        self.link = MediaLink(
            site=SITE, link=Link(settings, self.clock, MqttConnection), inbox=self.inbox, clock=self.clock
        )


@pytest.fixture
def media(pki: Pki) -> Media:
    """Not running: the test takes the broker's place."""
    made = Media(pki, 1)
    made.link.link_up(Broker("nowhere"), Limits(1_000_000, 100))
    return made


def start(media: Media, lease: str = ONE, source: Iterator[bytes] | None = None) -> ClipSession:
    wanted = source if source is not None else payloads(CLIP, iter(SOME))
    return media.link.start_clip("cam-01", Role.MAIN, wanted, lease=lease, lease_s=30)


@pytest.mark.needs("mosquitto")
def test_a_clip_loses_nothing_to_a_cut(pki: Pki, wire: Wire, center: Callable[..., Center]) -> None:
    peer, media = center(topics.media_filter(SITE)), Media(pki, wire.port)
    with running(media.link):
        session = start(media)
        bodies: dict[int, bytes] = {}
        while len(bodies) < CLIP.parts:
            part = parse(peer.wait("/clip/cam-01/main").payload)
            bodies[part.number] = part.body
            if len(bodies) == 5:
                wire.cut()
        ended = media.inbox.wait(ViewingEnded)
    assert b"".join(bodies[n] for n in sorted(bodies)) == b"".join(r.raw for r in SOME)
    assert (ended.session, ended.reason, ended.records) == (session.session, ALL_SENT, CLIP.parts)


def taken(media: Media, wanted: int) -> list[str]:
    """Topics of what the link is given while everything may be sent."""
    got: list[str] = []

    def one() -> bool:
        message = media.link.next_message(window_open=True, room=True)
        got.extend([message.topic] if message else [])
        return len(got) >= wanted

    until(one)
    return got


def test_no_more_than_a_window_is_unacknowledged(media: Media) -> None:
    start(media)
    taken(media, WINDOW)
    assert media.link.next_message(window_open=True, room=True) is None
    media.link.acknowledged(1)
    taken(media, 1)
    assert media.link.next_message(window_open=True, room=True) is None


def test_it_is_over_when_the_broker_has_every_part(media: Media) -> None:
    session = start(media, source=iter(PARTS[:2]))
    taken(media, 2)
    until(lambda: session.ended(media.clock.monotonic()) == ALL_SENT)
    media.link._wanted()
    assert media.inbox.none(ViewingEnded, 0.05)
    for token in (1, 2):
        media.link.acknowledged(token)
    media.link._wanted()
    assert media.inbox.wait(ViewingEnded).records == 2


def test_what_somebody_watches_goes_first(media: Media) -> None:
    clip = start(media)
    until(clip._ahead.full)
    media.link.start_playback("cam-02", Role.MAIN, iter(SOME), lease=TWO, lease_s=30)
    playback = media.link._viewings[1]
    assert isinstance(playback, PlaybackSession)
    until(lambda: playback._reader is not None and len(playback._reader._waiting) > 20)
    kinds = [topic.split("/")[4] for topic in taken(media, 16)]
    assert kinds[:10] == ["playback"] * 10


def test_live_goes_before_what_a_lost_connection_left(media: Media) -> None:
    start(media)
    taken(media, WINDOW)
    tap = Tap[Record]()
    feed(tap, records(5))
    media.link.start_live("cam-02", Role.SUB, tap, lease=TWO, lease_s=30)
    media.link.link_up(Broker("nowhere"), Limits(1_000_000, 100))
    kinds = [topic.split("/")[4] for topic in taken(media, 7 + WINDOW)]
    assert kinds == ["live"] * 7 + ["clip"] * WINDOW


def test_a_third_clip_is_refused(media: Media) -> None:
    for _ in range(MAX_CLIPS):
        start(media)
    assert (media.link.stats().clips, media.link.stats().playback) == (MAX_CLIPS, 0)
    with pytest.raises(UplinkError, match="clips"):
        start(media)


def test_without_a_renewed_lease_or_when_stopped_it_ends(media: Media) -> None:
    session = start(media)
    now = media.clock.monotonic()
    assert session.ended(now) == ""
    assert session.ended(now + 31) == "lease ran out"
    assert media.link.renew(session.session, ONE, 60)
    assert not media.link.renew(session.session, TWO, 60)
    assert session.ended(now + 31) == ""
    assert media.link.stop(session.session, ONE)
    assert session.ended(now) == "stopped"


@pytest.mark.parametrize("error", [ClipChanged(), RingError("disk: I/O error")])
def test_a_reading_that_fails_ends_it_with_the_reason(media: Media, error: Exception) -> None:
    def read() -> Iterator[bytes]:
        yield PARTS[0]
        raise error

    session = start(media, source=read())
    taken(media, 1)
    until(lambda: session.ended(media.clock.monotonic()) == str(error))


def test_its_reader_holds_a_window_and_ends_when_it_is_closed(media: Media) -> None:
    read: list[bytes] = []

    def count() -> Iterator[bytes]:
        for part in PARTS:
            read.append(part)
            yield part

    session = start(media, source=count())
    until(lambda: len(read) == WINDOW + 1)
    session.close()
    until(lambda: bool(session._end))
    assert len(read) == WINDOW + 1
