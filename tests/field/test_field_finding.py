"""The finder against recorders that moved, hide their ONVIF, or are asked by a box that lost its WSDLs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from onvif_world import SMALL, Eyes, Running, eventually

from edge_agent.agent import roster
from edge_agent.agent.cameras import opened
from edge_agent.agent.finder import Finder, RecorderFailed, RecorderFound
from edge_agent.agent.roster import Roster
from edge_agent.capture import device, onvif
from edge_agent.capture.lockout import Lockouts
from edge_agent.clock import SystemClock
from edge_agent.config import Capture, Config, Discovery, parse
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.events import BoundedInbox, StreamStarted
from edge_agent.model import Camera, Codec, Role, StreamKey, StreamSpec
from edge_agent.seal.keys import stream_id
from edge_agent.supervisor import Worker

HARD_PASSWORD = "p@ss:/#?"


class Search:
    """The finder in its thread, and what it told."""

    def __init__(self, config: Config, gate: Lockouts, run: Callable[[Worker], Running]) -> None:
        self.inbox = BoundedInbox()
        self.facts: list[RecorderFound | RecorderFailed] = []
        self.finder = Finder(config, SystemClock(), self.inbox, gate)
        run(self.finder)

    def found(self) -> list[RecorderFound]:
        while (fact := self.inbox.take(0)) is not None:
            assert isinstance(fact, RecorderFound | RecorderFailed)
            self.facts.append(fact)
        return [fact for fact in self.facts if isinstance(fact, RecorderFound)]

    def failed(self) -> list[RecorderFailed]:
        self.found()
        return [fact for fact in self.facts if isinstance(fact, RecorderFailed)]


def config_for(dvr: VirtualDvr, **recorder: object) -> Config:
    given = {
        "name": "dvr",
        "username": dvr.credentials.username,
        "password": dvr.credentials.password,
        "rtsp_port": dvr.rtsp_port,
        **recorder,
    }
    return parse(
        {
            "site": {"id": "site-1", "name": "Test"},
            "recorders": [given],
            "discovery": {"interfaces": ["lo"], "sweep": False},
        }
    )


@pytest.fixture
def run() -> Iterator[Callable[[Worker], Running]]:
    started: list[Running] = []

    def start(worker: Worker) -> Running:
        started.append(Running(worker))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def lockouts() -> Lockouts:
    return Lockouts()


@pytest.fixture
def eyes(lockouts: Lockouts) -> Iterator[Eyes]:
    eyes = Eyes(lockouts)
    yield eyes
    eyes.stop()


@pytest.fixture(scope="module")
def gappy() -> Iterator[VirtualDvr]:
    """Inputs 1, 2 and 4, the first in H.265, behind a password that must be encoded in a URL."""
    options = {**SMALL, "h265": "1"}
    with VirtualDvr((1, 2, 4), password=HARD_PASSWORD, serial="4E01B7FIELD0002", **options) as dvr:
        yield dvr


@pytest.fixture
def dvr(gappy: VirtualDvr) -> Iterator[VirtualDvr]:
    yield gappy
    gappy.control.set_device(onvif_off=False, http="good", onvif_auth="either", media="good", media2="absent")
    gappy.control.set_credentials(gappy.credentials.username, gappy.credentials.password)


def search(
    dvr: VirtualDvr, gate: Lockouts, run: Callable[[Worker], Running], **recorder: object
) -> RecorderFound:
    searching = Search(
        config_for(dvr, **{"address": dvr.host, "onvif_port": dvr.http_port, **recorder}), gate, run
    )
    eventually(searching.found, 20, "the recorder")
    return searching.found()[0]


def play(eyes: Eyes, cameras: tuple[Camera, ...]) -> None:
    streams = [
        (StreamKey(camera.id, role), endpoint)
        for camera in roster.admit(Roster(), cameras, ())[1]
        for role, endpoint in opened(camera, Capture()).items()
    ]
    for key, endpoint in streams:
        eyes.loop.start_stream(StreamSpec(key, endpoint, bytes(16), False))
    eventually(lambda: eyes.states().count("playing") == len(streams), 15, "all streams")


def test_case_15_inputs_1_2_4_keep_their_labels(
    dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running]
) -> None:
    cameras = search(dvr, lockouts, run).cameras

    assert [(c.channel, c.name, c.verified) for c in cameras] == [
        (1, "Channel 1", True),
        (2, "Channel 2", True),
        (4, "Channel 4", True),
    ]


@pytest.mark.parametrize("http", ["closed", "html"])
def test_case_15_inputs_1_2_4_keep_their_labels_without_onvif(
    dvr: VirtualDvr,
    lockouts: Lockouts,
    run: Callable[[Worker], Running],
    caplog: pytest.LogCaptureFixture,
    http: str,
) -> None:
    """ONVIF closed, or a web page where it should be: the maker's URLs are asked for one by one."""
    with_onvif = search(dvr, lockouts, run)
    dvr.control.set_device(**({"onvif_off": True} if http == "closed" else {"http": http}))

    without = search(dvr, lockouts, run)

    assert [(c.channel, c.verified) for c in without.cameras] == [(1, True), (2, True), (4, True)]
    assert without.make == "dahua"
    assert "because ONVIF does not work" in caplog.text
    known, before = roster.admit(Roster(), with_onvif.cameras, ())
    assert [c.id for c in roster.admit(known, without.cameras, ())[1]] == [c.id for c in before]
    assert [c.uid for c in roster.admit(known, without.cameras, ())[1]] == [c.uid for c in before]


def test_case_08_an_account_that_onvif_refuses_plays_over_rtsp(
    dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running], eyes: Eyes
) -> None:
    """Hikvision and Prama keep ONVIF users in a list of their own: the web account is good for RTSP alone."""
    dvr.control.set_device(onvif_users_apart=True)
    try:
        found = search(dvr, lockouts, run)
        play(eyes, found.cameras)
    finally:
        dvr.control.set_device(onvif_users_apart=False)

    assert len(found.cameras) == 3
    assert dvr.control.state()["wrong_passwords"] == 1


def test_case_18_a_profile_without_encoder_is_recorded_by_its_sdp(
    dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running], eyes: Eyes
) -> None:
    """Dahua leaves VideoEncoderConfiguration out of an H.265 profile: still the main stream, still H.265."""
    first = search(dvr, lockouts, run).cameras[0]
    assert first.main is not None
    assert "subtype=0" in first.main.url

    play(eyes, (first,))

    def codecs() -> dict[str, Codec]:
        return {str(f.key): f.codec for f in eyes.told() if isinstance(f, StreamStarted)}

    eventually(lambda: len(codecs()) == 2, 15, "both streams")
    assert codecs() == {"cam-01/main": Codec.H265, "cam-01/sub": Codec.H264}


MEDIA_SERVICES = [("good", "broken"), ("broken", "good"), ("good", "good")]


@pytest.mark.parametrize(("media", "media2"), MEDIA_SERVICES, ids=lambda manners: str(manners))
def test_case_18_one_media_service_that_works_is_enough(
    dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running], eyes: Eyes, media: str, media2: str
) -> None:
    """The Media2 of some D-Link faults, Profile T devices have no other: the same cameras, and they play."""
    usual = [replace(camera, snapshot_url="") for camera in search(dvr, lockouts, run).cameras]
    dvr.control.set_device(media=media, media2=media2)
    asked = dvr.control.count("onvif_faults")

    found = search(dvr, lockouts, run)

    assert [replace(camera, snapshot_url="") for camera in found.cameras] == usual
    assert (dvr.control.count("onvif_faults") > asked) == (media == "broken")
    play(eyes, found.cameras)


def test_case_18_two_media_services_that_fault_are_told_in_one_sentence(
    dvr: VirtualDvr, lockouts: Lockouts
) -> None:
    dvr.control.set_device(media="broken", media2="broken")

    with pytest.raises(DeviceError, match="refuses this question") as failed:
        device.probe(dvr.host, dvr.http_port, dvr.credentials, clock=SystemClock(), gate=lockouts)

    assert failed.value.step == "channels"


def test_case_20_a_recorder_that_moved_keeps_cameras_and_footage(
    lockouts: Lockouts, run: Callable[[Worker], Running]
) -> None:
    options = {**SMALL, "interface": "lo", "serial": "4E01B7FIELDMOVE", "main": "160x90@12"}
    with VirtualDvr(2, host="127.0.0.2", **options) as before:
        settings = config_for(before, endpoint=before.endpoint_reference)
        searching = Search(settings, lockouts, run)
        eventually(searching.found, 20, "the recorder")
    with VirtualDvr(2, host="127.0.0.3", **options):
        searching.finder.rediscover()
        eventually(lambda: len(searching.found()) == 2, 20, "the recorder at its new address")

    first, second = searching.found()
    assert (first.address, second.address) == ("127.0.0.2", "127.0.0.3")
    known, cameras = roster.admit(Roster(), first.cameras, ())
    known, moved = roster.admit(known, second.cameras, ())
    assert [c.id for c in moved] == [c.id for c in cameras]
    for old, new in zip(cameras, moved, strict=True):
        assert new.main is not None
        assert new.main.host == "127.0.0.3"
        for role in Role:
            assert stream_id(bytes(32), old.uid, role) == stream_id(bytes(32), new.uid, role)


def test_case_20_a_configured_address_is_left_when_the_recorder_is_elsewhere(
    lockouts: Lockouts, run: Callable[[Worker], Running]
) -> None:
    options = {**SMALL, "interface": "lo", "serial": "4E01B7FIELDAWAY", "main": "160x90@12"}
    with VirtualDvr(1, host="127.0.0.4", **options) as dvr:
        settings = config_for(
            dvr, address="127.0.0.5", onvif_port=dvr.http_port, endpoint=dvr.endpoint_reference
        )
        searching = Search(settings, lockouts, run)
        eventually(searching.found, 20, "the recorder where it is")

    assert searching.found()[0].address == "127.0.0.4"


def test_case_28_a_password_full_of_signs_works_and_is_never_told(
    dvr: VirtualDvr,
    lockouts: Lockouts,
    run: Callable[[Worker], Running],
    eyes: Eyes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for auth in ("token", "digest"):
        dvr.control.set_device(onvif_auth=auth)
        found = search(dvr, lockouts, run)
    play(eyes, found.cameras)

    told = caplog.text + repr(found) + repr(eyes.told())
    assert HARD_PASSWORD not in told
    assert "p%40ss" not in told


def test_case_30_without_its_wsdl_files_the_box_says_so_and_records(
    dvr: VirtualDvr,
    lockouts: Lockouts,
    run: Callable[[Worker], Running],
    eyes: Eyes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(onvif, "_candidates", lambda: iter([tmp_path / "wsdl"]))

    found = search(dvr, lockouts, run)
    play(eyes, found.cameras)

    assert len(found.cameras) == 3
    assert str(tmp_path) in caplog.text


def test_a_recorder_that_may_not_be_looked_for_is_told_to_be_given_an_address(
    dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running]
) -> None:
    config = config_for(dvr)
    searching = Search(config.model_copy(update={"discovery": Discovery(enabled=False)}), lockouts, run)

    eventually(searching.failed, 5, "the sentence")

    (failed,) = searching.failed()
    assert (failed.step, failed.retry_in_s) == ("configuration", None)
    assert failed.sentence == (
        "dvr: nothing tells where it is: give its address (recorders.address), or allow looking for it "
        "(discovery.enabled = true)"
    )
