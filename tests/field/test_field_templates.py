"""Recorders of other makers whose ONVIF is off: their usual stream URLs, asked for over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from onvif_world import SMALL, Eyes, eventually

from edge_agent.capture import brands, templates
from edge_agent.capture.channels import Channel
from edge_agent.capture.lockout import Lockouts
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials, Role, StreamKey, StreamSpec

PASSWORD = "p@ss:/#?"  # must be encoded where it stands in a URL
MAKERS = ("tvt", "xm", "uniview")


@pytest.fixture(scope="module")
def shops() -> Iterator[dict[str, VirtualDvr]]:
    """One recorder of each maker, inputs 1, 2 and 4, without ONVIF; each at an address of its own."""
    options = {**SMALL, "main": "160x90@12", "password": PASSWORD}
    found = {
        maker: VirtualDvr((1, 2, 4), maker, host=f"127.0.0.{90 + at}", serial=f"4E01B7EPTMPL{at}", **options)
        for at, maker in enumerate(MAKERS)
    }
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        for dvr in found.values():
            stack.callback(dvr.stop)
        list(pool.map(VirtualDvr.start, found.values()))
        for dvr in found.values():
            dvr.control.set_device(onvif_off=True)
        yield found


@pytest.fixture(params=MAKERS)
def dvr(request: pytest.FixtureRequest, shops: dict[str, VirtualDvr]) -> Iterator[VirtualDvr]:
    dvr = shops[request.param]
    yield dvr
    dvr.control.set_device(paths_open=False, lockout_after=0)
    dvr.control.set_credentials(dvr.credentials.username, dvr.credentials.password)


@pytest.fixture
def lockouts() -> Lockouts:
    return Lockouts()


@pytest.fixture
def eyes(lockouts: Lockouts) -> Iterator[Eyes]:
    eyes = Eyes(lockouts)
    yield eyes
    eyes.stop()


def ask(
    dvr: VirtualDvr, gate: Lockouts, credentials: Credentials | None = None
) -> tuple[str, tuple[Channel, ...]]:
    make, found = templates.cameras(dvr.host, dvr.rtsp_port, "auto", credentials or dvr.credentials, gate)
    return make.name, found


def wrong(dvr: VirtualDvr) -> int:
    return int(str(dvr.control.state()["wrong_passwords"]))


def test_the_maker_is_known_and_its_streams_are_found_and_play(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes
) -> None:
    make, found = ask(dvr, lockouts)

    assert make == dvr.brand
    assert [(c.number, c.verified) for c in found] == [(1, True), (2, True), (4, True)]
    assert wrong(dvr) == 0
    for channel in found:
        for role, endpoint in ((Role.MAIN, channel.main), (Role.SUB, channel.sub)):
            assert endpoint is not None
            assert endpoint.url == dvr.rtsp_url(channel.number, role)
            key = StreamKey(f"cam-{channel.number:02d}", role)
            eyes.loop.start_stream(StreamSpec(key, endpoint, bytes(16), False))
    eventually(lambda: eyes.states().count("playing") == 6, 15, "six streams")
    assert PASSWORD not in repr((found, eyes.told()))


def test_whether_a_stream_exists_is_asked_without_credentials(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    """A recorder that denies a path unasked hears the password for the six streams that it has, no more."""
    dvr.control.set_device(paths_open=True)
    counts = {status: dvr.control.count(f"rtsp_status_{status}") for status in (200, 401, 404)}

    _, found = ask(dvr, lockouts)

    told = {status: dvr.control.count(f"rtsp_status_{status}") - was for status, was in counts.items()}
    assert len(found) == 3
    assert told[200] == 6
    assert told[401] == (0 if dvr.brand == "xm" else 6)
    assert told[404] >= templates.MISSING_IN_A_ROW + 2


def test_a_wrong_password_is_told_at_most_twice(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(lockout_after=3)

    for _ in range(3):
        with pytest.raises(DeviceError) as refused:
            ask(dvr, lockouts, Credentials("admin", "changed"))
        assert refused.value.step == "auth"

    assert wrong(dvr) <= 2


def test_an_unknown_maker_is_tried_with_every_url_and_no_wrong_password(
    dvr: VirtualDvr, lockouts: Lockouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that challenges is never told the password in a URL."""
    monkeypatch.setattr(brands, "fingerprint", lambda *_: None)
    monkeypatch.setattr(templates, "MISSING_IN_A_ROW", 2)

    if dvr.brand == "xm":
        with pytest.raises(DeviceError, match=r"set recorders\.brand"):
            ask(dvr, lockouts)
    else:
        make, found = ask(dvr, lockouts)
        assert (make, [c.number for c in found]) == (dvr.brand, [1, 2, 4])
    assert wrong(dvr) == 0
