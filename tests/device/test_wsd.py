"""WS-Discovery: the messages, and asking for real over loopback."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture import discovery, wsd
from edge_agent.capture.wsd import Found
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import FormatError

MATCH = (
    '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope">{header}<e:Body><ProbeMatches><ProbeMatch>'
    "<EndpointReference><Address>{epr}</Address></EndpointReference>{types}<Scopes>{scopes}</Scopes>"
    "<XAddrs>{xaddrs}</XAddrs></ProbeMatch></ProbeMatches></e:Body></e:Envelope>"
)
SCOPES = "onvif://www.onvif.org/name/CP%20Plus onvif://www.onvif.org/hardware/XVR onvif://www.onvif.org/MAC/AA-BB-CC-00-11-22"


def answer(**parts: str) -> bytes:
    given = {
        "header": "",
        "epr": "urn:uuid:1",
        "types": "",
        "scopes": SCOPES,
        "xaddrs": "http://10.0.0.2/onvif",
    }
    return MATCH.format(**{**given, **parts}).encode()


def device(**changes: object) -> Found:
    plain = {"epr": "e1", "address": "10.0.0.2", "port": 80, "xaddrs": (), "scopes": (), "interface": "lo"}
    return Found(**{**plain, **changes})  # type: ignore[arg-type]


def test_probes_are_on_one_line_and_ask_for_one_type_each() -> None:
    probes = [wsd.probe(kind, "id").decode() for kind in wsd.Probed]

    assert all("\n" not in p for p in probes)
    assert [("NetworkVideoTransmitter" in p, "tds:Device" in p) for p in probes] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_an_answer_without_types_and_header_is_understood() -> None:
    (match,) = wsd.matches(answer())
    found = wsd.found(match, "10.0.0.2", "eth0")

    assert (found.name, found.hardware, found.mac) == ("CP Plus", "XVR", "aa:bb:cc:00:11:22")
    assert (found.address, found.port, found.interface) == ("10.0.0.2", 80, "eth0")
    assert not found.foreign


def test_the_recorded_answer_is_understood(shared: Path) -> None:
    recorded = (shared / "onvif-captures/multichannel-encoder/ProbeMatches.xml").read_bytes()

    (match,) = wsd.matches(recorded)

    assert match.epr == "uuid:c9790c3a-701b-464d-a189-0060351c8ada"
    assert wsd.found(match, "10.0.0.2", "eth0").name == "PREDATOR"


@pytest.mark.parametrize(
    ("xaddrs", "port"),
    [
        ("http://10.0.0.2:8999/onvif", 8999),
        ("http://10.0.0.2:8106:8106/onvif", 8106),
        ("http://10.0.0.2/onvif", 80),
        ("http://192.168.1.9:81/onvif http://10.0.0.2:82/onvif", 82),
        ("http://0.0.0.0:83/onvif", 83),
        ("http://10.0.0.2:99999/onvif", 80),
        ("nonsense", 80),
        ("", 80),
    ],
)
def test_the_port_is_read_from_whatever_the_device_says(xaddrs: str, port: int) -> None:
    (match,) = wsd.matches(answer(xaddrs=xaddrs))

    assert wsd.found(match, "10.0.0.2", "lo").port == port


def test_a_device_that_names_only_another_subnet_is_marked_foreign() -> None:
    (match,) = wsd.matches(answer(xaddrs="http://192.168.99.5/onvif"))

    assert wsd.found(match, "10.0.0.2", "lo").foreign


def test_a_document_type_declaration_is_refused() -> None:
    with pytest.raises(FormatError):
        wsd.matches(b'<!DOCTYPE a [<!ENTITY b "c">]>' + answer())


def test_duplicates_merge_by_endpoint_then_mac_then_address() -> None:
    by_epr = wsd.merge([device(), device(address="10.0.1.2", interface="eth1")])
    by_mac = wsd.merge([device(mac="aa"), device(epr="e2", mac="aa", address="10.0.0.3")])
    by_address = wsd.merge([device(epr=""), device(epr="")])
    apart = wsd.merge([device(), device(epr="e2", port=81)])

    assert (len(by_epr), len(by_mac), len(by_address), len(apart)) == (1, 1, 1, 2)


def test_a_merged_device_keeps_the_address_that_can_be_reached() -> None:
    foreign = device(address="10.0.0.2", xaddrs=("http://192.168.9.9/onvif",))
    direct = device(address="10.0.0.7", xaddrs=("http://10.0.0.7/onvif",), name="DVR")

    (merged,) = wsd.merge([foreign, direct])

    assert (merged.address, merged.name) == ("10.0.0.7", "DVR")


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_only_format_errors_leave_the_parser(epr: str, scopes: str, xaddrs: str) -> None:
    datagrams = [
        answer(epr=escape(epr), scopes=escape(scopes), xaddrs=escape(xaddrs)),
        answer(epr=epr, scopes=scopes, xaddrs="http://" + xaddrs),
        xaddrs.encode("utf-8", "replace"),
    ]
    for datagram in datagrams:
        try:
            found = [wsd.found(m, "10.0.0.2", "lo") for m in wsd.matches(datagram)]
        except FormatError:
            continue
        assert all(0 < f.port < 65536 for f in wsd.merge(found))


def test_a_recorder_is_found_once_over_loopback_multicast(dvr: VirtualDvr) -> None:
    seen: list[Found] = []

    found = discovery.discover(["lo"], rounds=2, timeout_s=1.0, stop=Event(), on_found=seen.append)

    ours = [f for f in found if f"http://{dvr.host}:{dvr.http_port}/onvif/device_service" in f.xaddrs]
    assert len(ours) == 1
    assert ours[0].name
    assert len(seen) == len(found)


@pytest.mark.parametrize("fault", [{"probe_types": False}, {"probe_header": False}])
def test_a_recorder_with_sloppy_answers_is_found(dvr: VirtualDvr, fault: dict[str, bool]) -> None:
    dvr.control.set_device(**fault)

    found = discovery.discover(["lo"], rounds=1, timeout_s=0.6, stop=Event())

    assert any(f"http://{dvr.host}:{dvr.http_port}/onvif/device_service" in f.xaddrs for f in found)


def test_a_dead_interface_is_left_out_and_named(dvr: VirtualDvr, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = discovery.discover(["wg-dead0", "lo"], rounds=1, timeout_s=0.6, stop=Event())

    assert found
    assert "wg-dead0" in caplog.text


def test_discovery_ends_when_told() -> None:
    stop = Event()
    stop.set()

    assert discovery.discover(["lo"], timeout_s=60, stop=stop) == []
