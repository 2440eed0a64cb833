"""The probe against a virtual recorder over real sockets, well and ill."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.capture import channels, device, onvif
from edge_agent.capture.device import DeviceReport, Step
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.onvif import OnvifDevice
from edge_agent.capture.session import AuthRefused, Session
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials, Role

Probe = Callable[..., DeviceReport]


def test_inputs_1_2_4_keep_their_numbers(dvr: VirtualDvr, probe: Probe) -> None:
    report = probe(dvr)

    assert [c.number for c in report.channels] == [1, 2, 4]
    assert all(c.verified for c in report.channels)


def test_streams_are_paired_and_point_to_the_reached_host(dvr: VirtualDvr, probe: Probe) -> None:
    fourth = probe(dvr).channels[2]

    assert fourth.main is not None
    assert fourth.sub is not None
    assert "channel=4&subtype=0" in fourth.main.url
    assert "channel=4&subtype=1" in fourth.sub.url
    assert (fourth.main.host, fourth.main.port) == (dvr.host, dvr.rtsp_port)
    assert "@" not in fourth.main.url
    assert fourth.main.credentials == dvr.credentials


def test_hikvision_names_are_understood(hikvision: VirtualDvr, probe: Probe) -> None:
    report = probe(hikvision)

    assert [(c.number, c.verified) for c in report.channels] == [(1, True), (2, True)]
    assert all(c.main and "/Streaming/" in c.main.url for c in report.channels)
    assert all(c.main != c.sub for c in report.channels)


def test_identity_names_the_recorder_and_its_cameras_for_good(dvr: VirtualDvr, probe: Probe) -> None:
    first, second = probe(dvr), probe(dvr)

    assert first.identity.serial == "4E01B7EPAZ0DEV1"
    uids = [channels.uid(first.identity, c) for c in first.channels]
    assert uids == [channels.uid(second.identity, c) for c in second.channels]
    assert len(set(uids)) == 3


def test_every_step_is_told_in_order(dvr: VirtualDvr, probe: Probe) -> None:
    told: list[Step] = []

    report = probe(dvr, on_step=told.append)

    names = [s.name for s in report.steps]
    assert names == ["reachable", "clock", "auth", "services", "channels", "streams"]
    assert [s for s in told if s in report.steps] == list(report.steps)


@pytest.mark.parametrize("skew_s", [7 * 3600, -8 * 365 * 86400])
@pytest.mark.parametrize("auth", ["token", "digest"])
def test_a_wrong_device_clock_is_no_wrong_password(
    dvr: VirtualDvr, probe: Probe, auth: str, skew_s: int
) -> None:
    dvr.control.set_device(onvif_auth=auth, clock_skew_s=skew_s, zulu_only=True)

    report = probe(dvr)

    assert report.clock_offset_s == pytest.approx(skew_s, abs=3)
    assert len(report.channels) == 3


@pytest.mark.parametrize("manners", ["needs-auth", "local-only", "minute-61"])
@pytest.mark.parametrize("auth", ["token", "digest"])
def test_a_device_that_tells_its_time_badly_is_still_asked(
    dvr: VirtualDvr, probe: Probe, auth: str, manners: str
) -> None:
    dvr.control.set_device(onvif_auth=auth, date_time=manners)

    assert len(probe(dvr).channels) == 3


def test_digest_prefers_sha256_and_survives_short_lived_nonces(dvr: VirtualDvr, probe: Probe) -> None:
    dvr.control.set_device(onvif_auth="digest", sha256=True, nonce_life_s=0.05)

    assert len(probe(dvr).channels) == 3


def test_eight_threads_at_seven_hours_skew_are_never_refused(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="token", clock_skew_s=7 * 3600, zulu_only=True)
    session = Session(dvr.host, dvr.http_port, dvr.credentials, SystemClock(), lockouts)
    session.ask_clock()
    recorder = OnvifDevice(session)

    def ask(_: int) -> str:
        return str(recorder.call("devicemgmt", "GetDeviceInformation").tag)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(240)))

    assert len(answers) == 240
    assert lockouts.standing(dvr.host, dvr.credentials).wrong == 0


def test_a_clock_step_on_the_device_costs_one_question_and_no_attempt(
    dvr: VirtualDvr, lockouts: Lockouts
) -> None:
    dvr.control.set_device(onvif_auth="token")
    session = Session(dvr.host, dvr.http_port, dvr.credentials, SystemClock(), lockouts)
    session.ask_clock()
    recorder = OnvifDevice(session)
    recorder.call("devicemgmt", "GetDeviceInformation")

    dvr.control.set_device(clock_skew_s=-3600)
    recorder.call("devicemgmt", "GetDeviceInformation")

    assert lockouts.standing(dvr.host, dvr.credentials).wrong == 0


@pytest.mark.parametrize("auth", ["token", "digest"])
def test_a_wrong_password_is_tried_at_most_twice_however_often_we_probe(
    dvr: VirtualDvr, probe: Probe, lockouts: Lockouts, auth: str
) -> None:
    dvr.control.set_device(onvif_auth=auth, lockout_after=3)
    wrong = Credentials(dvr.credentials.username, "wrong")

    for _ in range(5):
        with pytest.raises(DeviceError) as refused:
            probe(dvr, wrong)
        assert refused.value.step == "auth"
        assert "password" in str(refused.value)
        assert "wrong" not in str(refused.value)

    assert lockouts.standing(dvr.host, wrong).wrong <= 2
    assert len(probe(dvr).channels) == 3  # three wrong answers would have locked the account


def test_no_credentials_at_all_says_what_to_configure(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    with pytest.raises(DeviceError, match="user name and password") as refused:
        device.probe(dvr.host, dvr.http_port, None, clock=SystemClock(), gate=lockouts)

    assert refused.value.step == "auth"


@pytest.mark.parametrize("claim", ["10.9.8.7:80", "0.0.0.0", "127.0.1.1:8106:8106", "192.168.1.64"])
def test_a_wrong_xaddr_leads_back_to_the_reached_host(dvr: VirtualDvr, probe: Probe, claim: str) -> None:
    dvr.control.set_device(xaddr=claim)

    report = probe(dvr)

    assert {c.main.host for c in report.channels if c.main} == {dvr.host}


@pytest.mark.parametrize("manners", ["hang", "drip", "flood", "html"])
def test_a_web_server_gone_wrong_costs_bounded_time(dvr: VirtualDvr, probe: Probe, manners: str) -> None:
    dvr.control.set_device(http=manners)
    began = time.monotonic()

    with pytest.raises(DeviceError) as failed:
        probe(dvr, timeout_s=1.0)

    assert failed.value.step in ("clock", "auth")
    assert time.monotonic() - began < 8


def test_a_closed_port_names_the_ports_to_try(probe: Probe, dvr: VirtualDvr) -> None:
    with pytest.raises(DeviceError, match="8899") as failed:
        device.probe(dvr.host, 1, dvr.credentials, clock=SystemClock())

    assert failed.value.step == "reachable"


def test_the_streams_named_are_the_recorders_own(dvr: VirtualDvr, probe: Probe) -> None:
    main = probe(dvr).channels[0].main

    assert main is not None
    assert main.url.startswith(dvr.rtsp_url(1, Role.MAIN))


def test_many_threads_with_a_wrong_password_cost_two_attempts(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="token", lockout_after=3)
    wrong = Credentials(dvr.credentials.username, "wrong")
    session = Session(dvr.host, dvr.http_port, wrong, SystemClock(), lockouts)
    session.ask_clock()
    recorder = OnvifDevice(session)

    def ask(_: int) -> bool:
        with pytest.raises(AuthRefused):
            recorder.call("devicemgmt", "GetDeviceInformation")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(16)))

    assert lockouts.standing(dvr.host, wrong).wrong <= 2


def test_refusals_over_rtsp_count_too(dvr: VirtualDvr, probe: Probe, lockouts: Lockouts) -> None:
    lockouts.wrong(dvr.host, dvr.credentials)
    lockouts.wrong(dvr.host, dvr.credentials)

    with pytest.raises(DeviceError, match="No further attempt") as refused:
        probe(dvr)

    assert refused.value.step == "auth"


def test_missing_wsdl_files_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onvif, "_candidates", lambda: iter([tmp_path / "wsdl"]))

    with pytest.raises(DeviceError, match=str(tmp_path)) as missing:
        onvif.wsdl_directory()

    assert missing.value.step == "services"


def test_a_refused_nonce_does_not_pass_for_a_stale_one(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    """Two questions with a wrong password in one session are two wrong answers, not three."""
    dvr.control.set_device(onvif_auth="digest")
    wrong = Credentials("admin", "guessed")
    session = Session(dvr.host, dvr.http_port, wrong, SystemClock(), lockouts)
    for _ in range(3):
        with pytest.raises(AuthRefused):
            session.prove()
    assert dvr.control.state()["wrong_passwords"] == 2
