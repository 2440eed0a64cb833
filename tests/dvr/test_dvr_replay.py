"""A captured recorder, played back: the agent finds the same cameras, a second capture the same device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edge_agent.capture import bundle, bundle_finish, bundle_secrets, bundle_shape, device, sdp
from edge_agent.capture.bundle import Bundle, Manifest, RtspExchange, StreamTape, WebExchange
from edge_agent.capture.bundle_capture import Wish, capture
from edge_agent.capture.device import DeviceReport
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.pullpoint import PullPoint
from edge_agent.capture.rtsp_ask import describe
from edge_agent.capture.session import Session
from edge_agent.capture.soap import SoapFault
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.dvr.replay_rtsp import ReplaySkin, ReplayStream
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials, Role

SMALL = {"main": "320x180@25", "sub": "320x180@12"}
REPLAYED = Credentials("played", "b@ck:/#?")
CLOCK = SystemClock()


@dataclass(frozen=True)
class Skin:
    """A recorder as it may stand in a shop."""

    brand: str
    channels: tuple[int, ...]
    faults: dict[str, object]
    channel_faults: dict[str, object]
    h265: str = "none"


SKINS = {
    "dahua-gaps": Skin("dahua", (1, 4), {"onvif_auth": "digest"}, {"sprop": "missing"}, "4"),
    "hikvision-late-liar": Skin(
        "hikvision",
        (2,),
        {"clock_skew_s": -2.5e8, "sha256": True, "xaddr": "10.9.8.7:80", "odd_topics": True},
        {"sr_absent": True, "pcma": True},
    ),
    "dahua-no-events": Skin(
        "dahua", (3,), {"onvif_auth": "token", "events_forbidden": True, "date_time": "local-only"}, {}
    ),
}


@dataclass(frozen=True)
class World:
    """One device: what was seen of it directly, and its bundle."""

    skin: Skin
    report: DeviceReport
    encodings: list[str]
    notices: list[tuple[object, ...]]
    bundle: Bundle
    http_port: int
    rtsp_port: int


def taken(dvr: VirtualDvr, login: Credentials, seconds: float = 0.4) -> Bundle:
    wish = Wish(dvr.host, dvr.http_port, dvr.rtsp_port, login, seconds, pulls=1, pull_s=1, budget_s=60)
    collected = capture(wish, Lockouts(), CLOCK)
    return bundle_finish.finish(collected, bundle_secrets.of(login), [dvr.host])


def interviewed(dvr: VirtualDvr, login: Credentials) -> DeviceReport:
    return device.probe(dvr.host, dvr.http_port, login, clock=CLOCK, gate=Lockouts())


def encodings(report: DeviceReport, login: Credentials) -> list[str]:
    """The codec of each stream as its SDP tells it."""
    found = []
    for channel in report.channels:
        for each in (channel.main, channel.sub):
            assert each is not None
            reply = describe(each.url, each.host, each.port, login, Lockouts())
            media = sdp.parse(reply.body).video()
            assert media is not None
            found.append(f"{media.encoding} {len(media.parameter_sets())}")
    return found


def heard(dvr: VirtualDvr, report: DeviceReport, login: Credentials) -> list[tuple[object, ...]]:
    """The first messages of a pull point; empty when the user may not have one."""
    assert report.events is not None
    session = Session(dvr.host, dvr.http_port, login, CLOCK, Lockouts())
    session.prove()
    try:
        point = PullPoint.create(session, *report.events, CLOCK.monotonic())
    except SoapFault as error:
        return [(str(error),)]
    notices = point.pull(1)
    point.unsubscribe()
    return sorted((n.topic, n.kind.value, n.source, n.active, n.initial) for n in notices)


@pytest.fixture(scope="module", params=SKINS)
def world(request: pytest.FixtureRequest) -> World:
    skin = SKINS[request.param]
    with VirtualDvr(
        skin.channels, skin.brand, host="127.0.0.81", password="s3cret W0rd", serial="7K0REPLAY00123",
        h265=skin.h265, **SMALL,
    ) as dvr:  # fmt: skip
        dvr.control.set_device(**skin.faults)
        for channel in dvr.channels:
            dvr.control.set_channel(channel, **skin.channel_faults)
        report = interviewed(dvr, dvr.credentials)
        return World(
            skin,
            report,
            encodings(report, dvr.credentials),
            heard(dvr, report, dvr.credentials),
            taken(dvr, dvr.credentials),
            dvr.http_port,
            dvr.rtsp_port,
        )


@pytest.fixture(scope="module")
def played(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualDvr]:
    path = tmp_path_factory.mktemp("bundle") / "device.zip"
    path.write_bytes(bundle.pack(world.bundle))
    with VirtualDvr(
        replay=path, host="127.0.0.82", user=REPLAYED.username, password=REPLAYED.password,
        http_port=world.http_port, rtsp_port=world.rtsp_port,
    ) as dvr:  # fmt: skip
        yield dvr


def test_the_agent_finds_the_same_cameras_in_the_replay(world: World, played: VirtualDvr) -> None:
    report = interviewed(played, REPLAYED)

    def cameras(of: DeviceReport) -> list[tuple[object, ...]]:
        return [
            (c.number, c.label, c.verified, c.source_token, bool(c.main), bool(c.sub)) for c in of.channels
        ]

    assert cameras(report) == cameras(world.report)
    assert played.channels == world.skin.channels
    assert (report.identity.manufacturer, report.identity.model) == (
        world.report.identity.manufacturer,
        world.report.identity.model,
    )
    assert encodings(report, REPLAYED) == world.encodings
    offsets = report.clock_offset_s, world.report.clock_offset_s
    assert offsets[0] == pytest.approx(offsets[1], abs=3)


def test_the_same_events_are_heard_in_the_replay(world: World, played: VirtualDvr) -> None:
    assert heard(played, interviewed(played, REPLAYED), REPLAYED) == world.notices


def test_a_wrong_password_is_refused_in_the_replay(played: VirtualDvr) -> None:
    wrong = Credentials(REPLAYED.username, "guessed")
    with pytest.raises(DeviceError) as error:
        device.probe(played.host, played.http_port, wrong, clock=CLOCK, gate=Lockouts())
    assert error.value.step == "auth"


def test_a_capture_of_the_replay_is_the_bundle_again(world: World, played: VirtualDvr) -> None:
    again = taken(played, REPLAYED)
    first = world.bundle
    assert first.manifest.web
    assert first.manifest.streams
    assert [_plain(first, e) for e in first.manifest.web] == [_plain(again, e) for e in again.manifest.web]
    assert [s.url for s in first.manifest.streams] == [s.url for s in again.manifest.streams]
    for one, other in zip(first.manifest.streams, again.manifest.streams, strict=True):
        assert [_said(first, e) for e in one.dialogue] == [_said(again, e) for e in other.dialogue]
        shapes = [bundle_shape.load(b.body(t.shape)) for b, t in ((first, one), (again, other))]
        assert shapes[0].codec == shapes[1].codec
        assert bool(shapes[0].reports) == bool(shapes[1].reports)
        assert {p.payload_type for p in shapes[0].packets} == {p.payload_type for p in shapes[1].packets}
    assert [_timeless(first.body(d)) for d in first.manifest.discovery] == [
        _timeless(again.body(d)) for d in again.manifest.discovery
    ]


def test_no_bundle_tells_who_or_where(world: World) -> None:
    everything = b"".join((bundle.manifest_json(world.bundle.manifest), *world.bundle.files.values()))
    for secret in (b"s3cret W0rd", b"7K0REPLAY00123", b"127.0.0.81", b"country/india", b"s3cret%20W0rd"):
        assert secret not in everything
    foreign = world.skin.faults.get("xaddr", "")
    assert str(foreign).partition(":")[0].encode() not in everything or not foreign


_RANDOM = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|(?<=>)\d{1,4}(?=</tt:(?:Hour|Minute|Second|Year|Month|Day)>)|"
    r"[0-9a-f]{8}-[0-9a-f-]{27}|ssrc=\s?\w+|(?:seq|rtptime)=\d+|nonce=\"[^\"]*\"|(?<!\d)\d{12}(?!\d)|"
    r"sprop-[a-z-]+=[^;\s]*|profile-level-id=\w+"
)


def _timeless(content: bytes | str) -> str:
    text = content if isinstance(content, str) else content.decode()
    return _RANDOM.sub("*", text)


def _plain(of: Bundle, e: WebExchange) -> tuple[object, ...]:
    headers = [(name, _timeless(value)) for name, value in e.headers]
    return e.operation, e.arguments, e.port, e.path, e.login, e.status, headers, _timeless(of.body(e.body))


def _said(of: Bundle, e: RtspExchange) -> tuple[object, ...]:
    headers = [(name, _timeless(value)) for name, value in e.headers]
    return e.method, e.url, e.login, e.status, e.reason, headers, _timeless(of.body(e.body))


@pytest.mark.parametrize(
    ("typed", "subtype"),
    [
        ("rtsp://h/cam/realmonitor?channel=1&subtype=0", 0),
        ("rtsp://h:554/cam/realmonitor?subtype=1&channel=1", 1),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=0/trackID=0", 0),
        ("rtsp://h/cam/realmonitor?channel=2&subtype=0", None),
        ("rtsp://h/cam/realmonitor?channel=1", None),
    ],
)
def test_a_url_typed_by_hand_means_the_stream_that_onvif_named_with_more_words(
    typed: str, subtype: int | None
) -> None:
    names = [StreamName(1, role) for role in (Role.MAIN, Role.SUB)]
    urls = [f"/cam/realmonitor?channel=1&subtype={n}&unicast=true&proto=Onvif" for n in (0, 1)]
    streams = [ReplayStream(name, url, StreamTape(url)) for name, url in zip(names, urls, strict=True)]
    skin = ReplaySkin(Bundle(Manifest("t", "2026-11-23T00:00Z", "192.0.2.1", 80, 554)), tuple(streams), str)
    assert skin.stream(typed) == (None if subtype is None else names[subtype])
