"""Recorded replies of real devices, made into bundles by hand, and how far the agent gets with each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from field_bundles import onvif_bundle, rtsp_bundle

from edge_agent.capture import addresses, bundle, bundle_rtsp, bundle_shape, device, soap, wsd
from edge_agent.capture.bundle import StreamTape
from edge_agent.capture.bundle_tape import Collected
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.session import AuthRefused, Session
from edge_agent.capture.soap_request import envelope
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr import discovery, replay
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.device import Device
from edge_agent.errors import DeviceError, EdgeAgentError
from edge_agent.model import Endpoint

CLOCK = SystemClock()
# Where the agent's interview ends with what was recorded of each: few recordings are whole devices.
REPLAYABLE = {
    "dahua-sd4a425db": "clock",
    "hikvision-ds2cd2387": "clock",
    "hikvision-ds2df7276-2014": "clock",
    "hikvision-oem-enp1a14": "clock",
    "html-404": "clock",
    "ipd-h4k8m05": "auth",
    "ipg-8150pss": "clock",
    "multichannel-encoder": "clock",
    "reolink-e1zoom": "clock",
}


@contextmanager
def playing(folder: Path) -> Iterator[Device]:
    """The device in this process, on a loop of its own: without streams there is nothing to encode."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    recorded = replay.prepared(onvif_bundle(folder))
    config = DvrConfig(inputs=recorded.inputs, host="127.0.0.83", interfaces=(), replay=recorded)

    async def begin() -> Device:
        made = Device(config)
        await made.switch_on()
        return made

    async def end(made: Device) -> None:
        made.switch_off()
        made.recorder.library.close()
        await asyncio.sleep(0.05)

    made: Future[Device] = asyncio.run_coroutine_threadsafe(begin(), loop)
    running = made.result(10)
    try:
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(end(running), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.mark.parametrize("name", REPLAYABLE)
def test_every_recorded_reply_is_given_again(name: str, shared: Path) -> None:
    folder = shared / "onvif-captures" / name
    recorded = onvif_bundle(folder)
    with playing(folder) as played:
        session = Session(played.http.host, played.http.port, None, CLOCK, Lockouts(), timeout_s=5)
        for exchange in recorded.manifest.web:
            asked = envelope(f'<{exchange.operation} xmlns="{exchange.namespace or "urn:any"}"/>')
            expected = _told(partial(soap.reply, recorded.body(exchange.body)))
            assert _told(partial(session.call, "/onvif", asked)) == expected


@pytest.mark.parametrize(("name", "step"), REPLAYABLE.items())
def test_the_agent_gets_as_far_as_the_recording_goes(name: str, step: str, shared: Path) -> None:
    with playing(shared / "onvif-captures" / name) as played:
        passed: list[str] = []
        with pytest.raises(DeviceError) as error:
            device.probe(
                played.http.host, played.http.port, None, clock=CLOCK, gate=Lockouts(), timeout_s=5,
                on_step=lambda s: passed.append(s.name),
            )  # fmt: skip
    assert passed[-1] == step
    assert str(error.value)


def test_a_recorded_probe_match_is_given_to_whoever_asks(shared: Path) -> None:
    with playing(shared / "onvif-captures" / "multichannel-encoder") as played:
        announcement = played._announcement("127.0.0.83")
        probe = discovery.parse_probe(wsd.probe(wsd.Probed.DEVICE, "00000000-0000-4000-8000-000000000009"))
        assert probe is not None
        assert discovery.matches(probe, announcement)
        (match,) = wsd.matches(discovery.probe_matches(probe, announcement))
        assert match.xaddrs


def test_real_rtsp_replies_are_played_with_their_quirks(shared: Path, tmp_path: Path) -> None:
    devices = {
        "dahua": {"DESCRIBE": "dahua_describe_h265_pcma.txt", "PLAY": "dahua_play.txt"},
        "hikvision": {"DESCRIBE": "hikvision_describe.txt", "SETUP": "hikvision_setup_ssrc_space.txt"},
        "xm": {"DESCRIBE": "h264dvr_describe.txt"},
    }
    path = tmp_path / "three.zip"
    path.write_bytes(bundle.pack(rtsp_bundle(shared / "onvif-captures" / "rtsp-retina", devices)))
    with VirtualDvr(replay=path, host="127.0.0.84", interface="none") as dvr:
        taped = {name: _visited(dvr, name) for name in devices}
    dahua, hikvision, xm = taped.values()
    assert [shape.codec for _, shape in taped.values()] == ["h265", "h264", "h264"]
    assert {p.payload_type for p in dahua[1].packets} == {98}
    assert dahua[0]["PLAY"].header("rtp-info").count("url=trackID") == 3
    assert "ssrc= " in hikvision[0]["SETUP"].header("transport")
    assert xm[0]["DESCRIBE"].header("server") == "H264DVR 1.0"
    assert all(len(shape.packets) > 5 for _, shape in taped.values())


def _visited(dvr: VirtualDvr, name: str) -> tuple[dict[str, bundle.RtspExchange], bundle_shape.Shape]:
    url = addresses.url("rtsp", dvr.host, dvr.rtsp_port, f"/{name}")
    collected = Collected(CLOCK.monotonic() + 20)
    endpoint = Endpoint(url, dvr.host, dvr.rtsp_port)
    tape = bundle_rtsp.visit(StreamTape(url), endpoint, Lockouts(), 0.6, collected)
    assert not tape.note
    return {e.method: e for e in tape.dialogue}, bundle_shape.load(collected.files[tape.shape])


def _told(ask: Callable[[], soap.Element]) -> str:
    """What an answer says, whatever its addresses and times."""
    try:
        answer = ask()
    except (AuthRefused, soap.SoapFault) as error:
        refused = isinstance(error, AuthRefused) or error.fault.not_authorized
        return "a login is wanted" if refused else str(error)
    except EdgeAgentError as error:
        return str(error)
    return " ".join(soap.local(each) for each in answer.iter() if isinstance(each.tag, str))
