"""What the capture path costs on this machine: nanoseconds a packet and microseconds a fragment.

    python bench/capture_cost.py

Feeds packets of a made-up 4 Mbit/s H.264 stream (25 pictures a second, FU-A of 1,400 bytes, a keyframe
every 2 s) through each stage alone, without sockets, and prints what one core would be busy with for 16
cameras. Sealing is included, disk is not.
"""

from __future__ import annotations

import base64
import os
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.capture import fmp4, h264, sdp
from edge_agent.capture.depacketize import H264Depacketizer
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.rtp import AccessUnits
from edge_agent.capture.rtsp import Demultiplexer
from edge_agent.capture.stream import Stream
from edge_agent.clock import ManualClock
from edge_agent.model import Endpoint, Role, StreamKey, StreamSpec
from edge_agent.seal.keys import BoxKey, Recipient, choose_aead
from edge_agent.seal.record import Record
from edge_agent.seal.sealer import StreamSealer

T = TypeVar("T")
SECONDS, FPS, RATE = 60, 25, 4_000_000
SPS, PPS = (base64.b64decode(text) for text in ("Z00AKZpkA8ARPyzUBAQFAAADA+gAAOpgBA==", "aO48gA=="))
SDP = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


class Nowhere:
    def reserve(self, role: Role, size: int) -> bool:
        return True

    def put(self, key: StreamKey, record: Record) -> None:
        pass

    def end_stream(self, key: StreamKey, stream_id: bytes) -> None:
        pass


def batches() -> list[bytes]:
    """One batch of interleaved frames a picture."""
    sequence, made = 0, []
    for picture in range(SECONDS * FPS):
        keyframe = picture % (2 * FPS) == 0
        body = os.urandom(RATE // 8 // FPS * (8 if keyframe else 1) * 50 // 57)
        head, kind = 0x60 | 28, 5 if keyframe else 1
        payloads = [SPS, PPS] if keyframe else []
        pieces = [body[i : i + 1386] for i in range(0, len(body), 1386)]
        last = len(pieces) - 1
        payloads += [
            bytes([head, (i == 0) << 7 | (i == last) << 6 | kind]) + piece for i, piece in enumerate(pieces)
        ]
        batch = b""
        for payload in payloads:
            marker = payload is payloads[-1]
            rtp = (
                struct.pack(">BBHII", 0x80, marker << 7 | 96, sequence & 0xFFFF, picture * 3600, 1) + payload
            )
            batch += struct.pack(">BBH", 0x24, 0, len(rtp)) + rtp
            sequence += 1
        made.append(batch)
    return made


class Stopwatch:
    """CPU time of this thread by stage; what other programs do meanwhile does not count."""

    def __init__(self) -> None:
        self.spent_ns: dict[str, int] = {}

    def time(self, stage: str, body: Callable[[], T]) -> T:
        began = time.thread_time_ns()
        result = body()
        self.spent_ns[stage] = self.spent_ns.get(stage, 0) + time.thread_time_ns() - began
        return result


def recorder(clock: ManualClock) -> Recorder:
    reader = X25519PrivateKey.generate().public_key().public_bytes_raw()
    sealer = StreamSealer(
        box=BoxKey(bytes(32)),
        recipients=[Recipient("iccc", reader)],
        stream_id=bytes(16),
        boot_id=bytes(16),
        aead=choose_aead(),
    )
    spec = StreamSpec(StreamKey("cam-01", Role.MAIN), Endpoint("rtsp://h/", "127.0.0.1", 554), bytes(16))
    return Recorder(spec, sealer, Nowhere(), {}, clock)


def main() -> None:
    media = sdp.parse(SDP).video()
    assert media is not None
    demultiplexer, access = Demultiplexer(), AccessUnits(h264.RULES, H264Depacketizer())
    stream, clock = Stream(media, fragment_s=0.2), ManualClock()
    sealing, watch = recorder(clock), Stopwatch()
    packets = fragments = 0
    for batch in batches():
        frames = watch.time("split", partial(demultiplexer.feed, batch))
        payloads = [payload for _, payload in frames]
        packets += len(payloads)
        watch.time("units", partial(access.feed, payloads, clock.boot_ns))
        for run in watch.time("stream", partial(stream.feed, payloads, clock.boot_ns)):
            fragments += 1
            watch.time("mux", partial(fmp4.fragment, 1, 0, run.units, run.end_dts))
            watch.time("record", partial(sealing.take, run))
        clock.advance(1 / FPS)
    report(watch.spent_ns, packets, fragments)


def report(spent: dict[str, int], packets: int, fragments: int) -> None:
    share = 16 / SECONDS / 1e9 * 100
    for name, ns, count, unit in (
        ("interleaved frames", spent["split"], packets, "packet"),
        ("RTP to access units", spent["units"], packets, "packet"),
        ("timeline and runs", spent["stream"] - spent["units"], SECONDS * FPS, "picture"),
        ("moof + mdat", spent["mux"], fragments, "fragment"),
        ("seal, chain, hand on", spent["record"] - spent["mux"], fragments, "fragment"),
    ):
        print(f"{name:22}{ns / count:9.0f} ns a {unit:9}{ns * share:6.2f} % of a core for 16 cameras")
    total = spent["split"] + spent["stream"] + spent["record"]
    print(f"{'all':22}{packets / SECONDS:9.0f} packets a second{total * share:6.2f} %")


if __name__ == "__main__":
    main()
