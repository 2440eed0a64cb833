"""Port, router, names and neighbours, as this machine has them, and as tables tell them."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.host import neighbours, net
from edge_agent.host.knock import knock
from edge_agent.host.neighbours import Neighbour, present
from edge_agent.host.net import NameQuestion, Route, carrier, default_route

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
WIFI = "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
CABLE = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LOCAL = "eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"


def test_the_default_route_of_the_lowest_metric_counts() -> None:
    assert default_route(HEAD + WIFI + CABLE + LOCAL) == Route("eth0", "10.0.0.1")
    assert default_route(HEAD + LOCAL) is None
    assert default_route("") is None


@given(st.text(max_size=200))
def test_any_text_is_a_table_without_harm(text: str) -> None:
    default_route(HEAD + text)


def test_a_port_tells_its_link(tmp_path: Path) -> None:
    (tmp_path / "eth0").mkdir()
    file = tmp_path / "eth0/carrier"
    file.write_text("1\n")
    assert carrier("eth0", tmp_path) is True
    file.write_text("0\n")
    assert carrier("eth0", tmp_path) is False
    assert carrier("eth1", tmp_path) is None


def test_names_are_asked_and_addresses_are_not() -> None:
    question = NameQuestion()
    assert question.ask("localhost") is True
    assert question.ask("192.0.2.1") is None
    assert "127.0.0.1" in question.addresses("127.0.0.1")


def test_a_name_service_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = [], threading.Event()

    def hang(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        answer.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    question = NameQuestion()
    assert question.ask("broker.example", timeout_s=0.1) is False
    assert question.ask("broker.example", timeout_s=0.1) is False
    assert asked == ["broker.example"]
    answer.set()


def test_many_hosts_are_knocked_at_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        here, gone = server.getsockname(), closed.getsockname()
        closed.close()
        answers = knock([here, gone, ("no address", 80), ("127.0.0.1", 99999)], 2.0)
    assert answers[here].answers
    assert not answers[here].refuses
    assert answers[gone].refuses
    assert not answers["no address", 80].answers
    assert not answers["127.0.0.1", 99999].answers


def entry(state: int, address: bytes, confirmed: int, family: int = socket.AF_INET) -> bytes:
    cache = struct.pack("=4I", confirmed, 0, 0, 0)
    attributes = struct.pack("=HH", 4 + len(address), 1) + address + struct.pack("=HH", 20, 3) + cache
    return struct.pack("=BxxxiHBB", family, 2, state, 0, 1) + attributes


def test_an_entry_says_when_its_machine_was_last_heard() -> None:
    heard = neighbours.read(entry(0x02, socket.inet_aton("10.0.0.9"), 150))
    gone = neighbours.read(entry(0x20, socket.inet_aton("10.0.0.9"), 9000))
    assert heard == Neighbour("10.0.0.9", False, 1.5)
    assert (present(heard, 2.0), present(heard, 1.0), present(gone, 2.0)) == (True, None, False)
    assert present(None, 2.0) is None


@given(st.binary(max_size=300))
def test_any_bytes_from_the_kernel_are_read_without_harm(buffer: bytes) -> None:
    for _, body in neighbours.messages(buffer):
        neighbours.read(body)
    neighbours.read(buffer)


def test_this_machines_own_table_can_be_read() -> None:
    assert all(found.address == address for address, found in neighbours.neighbours().items())


def test_a_router_that_answers_is_there() -> None:
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as server:
        patch.setattr(net, "ROUTER_PORTS", (server.getsockname()[1],))
        assert net.router_answers("127.0.0.1") is True
