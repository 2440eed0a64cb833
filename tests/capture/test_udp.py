from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtsp_world import clip

from edge_agent.capture import rtsp_urls
from edge_agent.capture.rtsp_session import RtspSession, State
from edge_agent.capture.udp import PATIENCE_NS, WINDOW, Reorderer, UdpPair
from edge_agent.errors import SourceRefused
from edge_agent.model import Endpoint

URL = "rtsp://10.0.0.9:554/live"


def packet(number: int) -> bytes:
    return b"\x80\x60" + (number & 0xFFFF).to_bytes(2, "big") + bytes(8) + b"x"


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(p[2:4], "big") for p in packets]


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, WINDOW // 2), min_size=1, max_size=200))
def test_packets_that_are_a_little_late_come_out_in_order(first: int, delays: list[int]) -> None:
    order = sorted(range(len(delays)), key=lambda at: (at + delays[at], at)) if delays else []
    order.remove(0)
    sent = [packet(first), *(packet(first + at) for at in order)]
    reorderer = Reorderer()
    out = [p for each in sent for p in reorderer.feed([each], 0)]
    assert numbers(out) == [(first + at) & 0xFFFF for at in range(len(delays))]


def test_a_lost_packet_is_waited_for_a_tenth_of_a_second_and_no_longer() -> None:
    reorderer = Reorderer()
    assert numbers(reorderer.feed([packet(7), packet(9), packet(10)], 0)) == [7]
    assert reorderer.feed([], PATIENCE_NS) == []
    assert numbers(reorderer.feed([], PATIENCE_NS + 1)) == [9, 10]
    assert numbers(reorderer.feed([packet(8)], PATIENCE_NS + 2)) == [8]


def test_a_lost_packet_is_not_waited_for_when_many_others_come() -> None:
    reorderer = Reorderer()
    sent = [packet(n) for n in range(2 * WINDOW) if n != 1]
    assert numbers(reorderer.feed(sent, 0)) == [n for n in range(2 * WINDOW) if n != 1]


@given(st.lists(st.binary(max_size=20), max_size=200))
def test_any_datagrams_are_taken_and_few_are_held(datagrams: list[bytes]) -> None:
    reorderer = Reorderer()
    out = reorderer.feed(datagrams, 0) + reorderer.feed([], PATIENCE_NS + 1)
    assert len(out) <= len(datagrams)
    assert len(reorderer._held) <= WINDOW


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            yield client, server


def test_only_the_devices_own_datagrams_are_taken(connected: tuple[socket.socket, socket.socket]) -> None:
    with closing(UdpPair(connected[0])) as pair:
        assert pair.port % 2 == 0
        for address, number in (("127.0.0.2", 5), ("127.0.0.1", 6)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((address, 0))
                sender.sendto(packet(number), ("127.0.0.1", pair.port))
        assert numbers(pair.receive(0)) == [6]
        assert pair.reports() == []


def reply(cseq: int, status: str = "200 OK", headers: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}{length}\r\n".encode() + body


def test_udp_is_asked_for_only_when_tcp_is_refused() -> None:
    session = RtspSession(Endpoint(URL, "10.0.0.9", 554), 0.0, open_udp=lambda: 40_000)
    session.receive(reply(1) + reply(2, body=clip().sdp()), 0.0)
    assert b"interleaved=0-1" in session.bytes_to_send()
    session.receive(reply(3, "461 Unsupported Transport"), 0.0)
    assert b"Transport: RTP/AVP;unicast;client_port=40000-40001\r\n" in session.bytes_to_send()
    transport = "Transport: RTP/AVP;unicast;client_port=40000-40001;server_port=9000-9001\r\n"
    session.receive(reply(4, headers=f"Session: 5\r\n{transport}") + reply(5), 0.0)
    assert (session.state, session.rtcp_port) == (State.PLAYING, 9001)


def test_a_device_that_refuses_both_is_named_and_not_asked_for_ever() -> None:
    session = RtspSession(Endpoint(URL, "10.0.0.9", 554), 0.0, open_udp=lambda: 40_000)
    session.receive(reply(1) + reply(2, body=clip().sdp()) + reply(3, "461 Unsupported Transport"), 0.0)
    with pytest.raises(SourceRefused, match="neither over TCP nor over UDP"):
        session.receive(reply(4, "461 Unsupported Transport"), 0.0)


@given(st.text(max_size=60))
def test_no_transport_header_names_an_impossible_port(text: str) -> None:
    assert 0 <= rtsp_urls.rtcp_port(f"RTP/AVP;server_port={text}") < 65536
