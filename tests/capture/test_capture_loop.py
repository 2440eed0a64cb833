"""The capture thread against real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rtsp_world import (
    KEY,
    Facts,
    Packetizer,
    Script,
    Server,
    Shelf,
    clip,
    interleaved,
    played,
    send_clip,
    spec_for,
    until,
)

from edge_agent.capture.loop import CaptureLoop
from edge_agent.clock import SystemClock
from edge_agent.events import StreamLost, StreamStarted
from edge_agent.model import Codec, Credentials, Role, StreamKey, StreamSpec
from edge_agent.seal.keys import BoxKey, Recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Kind, Record
from edge_agent.seal.sealer import StreamSealer

CHALLENGE = 'Digest realm="DVR", nonce="abc", algorithm=MD5, qop="auth"'


class Box:
    """A capture loop in its thread, with everything around it real but the disk."""

    def __init__(self, silence_s: float = 5.0) -> None:
        self.facts = Facts()
        self.shelf = Shelf()
        self._reader = X25519PrivateKey.generate()
        self._key = BoxKey(bytes(32))
        self.loop = CaptureLoop(
            clock=SystemClock(),
            inbox=self.facts,
            sink=self.shelf,
            sealer_for=self.sealer,
            gather_s=0.005,
            silence_s=silence_s,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.loop.run, args=(self._stop, lambda: None))
        self._thread.start()

    def sealer(self, spec: StreamSpec) -> StreamSealer:
        recipient = Recipient("iccc", self._reader.public_key().public_bytes_raw())
        return StreamSealer(
            box=self._key,
            recipients=[recipient],
            stream_id=spec.stream_id,
            boot_id=bytes(16),
            aead=Aead.AES_256_GCM,
        )

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def records(self, key: StreamKey = KEY) -> list[Record]:
        return list(self.shelf.records.get(key, []))

    def fragments(self, key: StreamKey = KEY) -> int:
        return sum(r.header.kind is Kind.FRAGMENT for r in self.records(key))

    def lost(self) -> list[StreamLost]:
        return [fact for fact in self.facts.facts if isinstance(fact, StreamLost)]

    def mp4(self, key: StreamKey = KEY) -> bytes:
        opener = Opener("iccc", self._reader.private_bytes_raw(), self._key.public)
        opened = [(r.header.kind, opener.open(r)) for r in self.records(key)]
        return b"".join(plain for kind, plain in opened if kind in (Kind.INIT, Kind.FRAGMENT))


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box(silence_s=0.6)
    yield made
    made.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(script: Script | None = None) -> Server:
        servers.append(Server(script or Script(clip())))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[..., Server]


@pytest.mark.parametrize("codec", list(Codec))
def test_a_stream_is_recorded_and_left_with_a_teardown(box: Box, serve: Serve, codec: Codec) -> None:
    server = serve(Script(clip(codec)))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: box.fragments() >= 4)
    box.loop.stop_stream(KEY)
    until(lambda: "TEARDOWN" in server.methods())
    started = box.facts.of(StreamStarted)
    assert [(f.codec, f.width, f.height) for f in started if isinstance(f, StreamStarted)] == [
        (codec, 160, 96)
    ]
    pictures = played(box.mp4())
    assert pictures == list(clip(codec).digests)[: len(pictures)]
    assert box.shelf.ended == [KEY]


def test_stopping_the_thread_tears_down_every_session(serve: Serve) -> None:
    server, box = serve(), Box()
    keys = [StreamKey(f"cam-{n}", Role.MAIN) for n in range(3)]
    for key in keys:
        box.loop.start_stream(spec_for(server.port, key=key))
    until(lambda: all(box.fragments(key) for key in keys))
    box.stop()
    until(lambda: server.methods().count("TEARDOWN") == 3)


def test_a_wrong_password_is_tried_twice_and_then_never_again(box: Box, serve: Serve) -> None:
    server = serve(Script(clip(), authenticate=[CHALLENGE], accept=lambda method, header: False))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: len(box.lost()) == 2)
    threading.Event().wait(1.5)
    assert [(lost.auth, lost.refused) for lost in box.lost()] == [(False, True), (True, True)]
    assert sum("Authorization" in text for text in server.requests) == 2
    assert box.loop.stats()[KEY].state == "refused"
    server.script.accept = lambda method, header: True
    edited = replace(spec_for(server.port).endpoint, credentials=Credentials("admin", "edited"))
    box.loop.start_stream(replace(spec_for(server.port), endpoint=edited))
    until(lambda: box.fragments() > 0)


def test_digest_all_the_way(box: Box, serve: Serve) -> None:
    server = serve(Script(clip(), authenticate=[CHALLENGE]))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: box.fragments() > 0)
    assert not box.lost()


def test_a_camera_that_plays_but_sends_nothing_is_lost_by_silence(box: Box, serve: Serve) -> None:
    server = serve(Script(clip(), serve=lambda sock, stop: None))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: bool(box.lost()))
    assert "no video packets" in box.lost()[0].reason
    assert not box.facts.of(StreamStarted)


def test_a_stall_is_lost_since_its_last_packet_and_comes_back(box: Box, serve: Serve) -> None:
    def one_pass(sock: socket.socket, stop: threading.Event) -> None:
        send_clip(sock, stop, clip(), loops=1, speed=4)

    server = serve(Script(clip(), serve=one_pass))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: bool(box.lost()))
    lost = box.lost()[0]
    assert lost.at.boot_ns - lost.since.boot_ns > 500_000_000
    server.script.serve = None
    until(lambda: len(box.facts.of(StreamStarted)) == 2)
    until(lambda: len({r.header.epoch for r in box.records()}) == 2)
    assert any(r.header.kind is Kind.GAP for r in box.records())


@pytest.mark.parametrize(
    "script",
    [
        Script(clip(), silent={"DESCRIBE"}),
        Script(clip(), statuses={"SETUP": "453 Not Enough Bandwidth"}),
        Script(clip(), statuses={"DESCRIBE": "503 Busy"}),
        Script(clip(), sdp=b"<html>nothing here</html>"),
        Script(clip(), serve=lambda sock, stop: sock.shutdown(socket.SHUT_RDWR)),
        Script(clip(), serve=lambda sock, stop: sock.sendall(b"\x00" * 400_000)),
    ],
    ids=["silent", "453", "503", "html", "fin", "garbage"],
)
def test_one_bad_camera_is_retried_and_never_disturbs_another(box: Box, serve: Serve, script: Script) -> None:
    good, bad = serve(), serve(replace(script))
    other = StreamKey("cam-02", Role.MAIN)
    box.loop.start_stream(spec_for(bad.port, key=other))
    box.loop.start_stream(spec_for(good.port))
    until(lambda: bool(box.lost()), 8)
    bad.script = Script(clip())
    until(lambda: box.fragments(other) > 0, 8)
    until(lambda: box.fragments() > 5)
    assert {lost.key for lost in box.lost()} == {other}
    assert box.loop.stats()[KEY].reconnects == 0


def test_a_refused_connection_is_retried_until_somebody_listens(box: Box, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    box.loop.start_stream(spec_for(port))
    until(lambda: len(box.lost()) >= 2)
    assert "Connection refused" in box.lost()[0].reason
    assert box.lost()[1].since == box.lost()[0].since


def test_a_host_name_is_refused_because_dns_would_block_the_thread(box: Box) -> None:
    spec = spec_for(554)
    box.loop.start_stream(replace(spec, endpoint=replace(spec.endpoint, host="camera.local")))
    until(lambda: bool(box.lost()))
    assert "no address" in box.lost()[0].reason


def test_a_bug_in_one_stream_ends_that_stream_only(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    box, server = Box(), serve()
    other = StreamKey("cam-02", Role.MAIN)

    class Broken(Shelf):
        def put(self, key: StreamKey, record: Record) -> None:
            if key == other and record.header.n == 3:
                raise RuntimeError("bug")
            super().put(key, record)

    box.loop._sink = box.shelf = Broken()
    try:
        box.loop.start_stream(spec_for(server.port, key=other))
        box.loop.start_stream(spec_for(server.port))
        until(lambda: len([f for f in box.lost() if f.key == other]) >= 1)
        before = box.fragments()
        until(lambda: box.fragments() > before + 3)
        assert "internal error" in box.lost()[0].reason
        assert not [f for f in box.lost() if f.key == KEY]
    finally:
        box.stop()


def test_replies_and_rtcp_between_the_packets_disturb_nothing(box: Box, serve: Serve) -> None:
    def mixed(sock: socket.socket, stop: threading.Event) -> None:
        packetizer = Packetizer(Codec.H264)
        for nals, stamp in zip(clip().units, clip().stamps, strict=True):
            for packet in packetizer.pack(nals, stamp):
                sock.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 999\r\n\r\n" + interleaved(packet))
            sock.sendall(interleaved(b"\x80\xc8\x00\x06" + bytes(24), 1) + interleaved(b"?", 7))
            stop.wait(0.01)
        stop.wait(5)

    server = serve(Script(clip(), serve=mixed))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: box.loop.stats()[KEY].reconnects > 0 if KEY in box.loop.stats() else False)
    first = box.records()[0].header.epoch
    box.shelf.records[KEY] = [r for r in box.records() if r.header.epoch == first]
    assert played(box.mp4()) == list(clip().digests)


def test_keyframe_and_tap_serve_a_stream_that_is_not_recorded(box: Box, serve: Serve) -> None:
    server = serve()
    tap = box.loop.tap(KEY)
    box.loop.start_stream(spec_for(server.port, record=False))
    until(lambda: box.loop.keyframe(KEY) is not None)
    live: list[Record] = []
    until(lambda: len(tap.subscribe(live.append)) > 2)
    until(lambda: len(live) > 3)
    assert not box.records()
    keyframe = box.loop.keyframe(KEY)
    assert keyframe is not None
    assert keyframe.annexb.startswith(b"\x00\x00\x00\x01" + clip().sets[0])


def test_stats_tell_the_cameras_clock_as_its_opinion(box: Box, serve: Serve) -> None:
    def reporting(sock: socket.socket, stop: threading.Event) -> None:
        report = bytes.fromhex("80c80006000012340000000100000000") + bytes(12)
        sock.sendall(interleaved(report, 1))
        send_clip(sock, stop, clip())

    server = serve(Script(clip(), serve=reporting))
    box.loop.start_stream(spec_for(server.port))
    until(lambda: box.fragments() > 0)
    stats = box.loop.stats()[KEY]
    assert stats.camera_clock_us == (1 - 2_208_988_800) * 1_000_000
    assert abs(box.records()[0].header.wall_us / 1e6 - SystemClock().now().wall_us / 1e6) < 60
    assert (stats.state, stats.codec, stats.lost_packets) == ("playing", Codec.H264, 0)
