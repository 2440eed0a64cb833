"""A million broken inputs for the sans-I/O core of capture, a hundred thousand for the decode process.

The core may refuse an input with one of its own errors, nothing else; no case may take long, and memory must
not grow. The decode process may say no; that it dies of a picture is counted and bounded, that an exception
of ours ends it is a failure.

    python tests/long/fuzz_core.py --core 1000000 --decode 100000
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import FrameType

import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))

from mutation import mutated, reordered
from rtsp_world import Clip, Packetizer, clip, interleaved

from edge_agent.capture import fmp4, picture_wire, rtp, sdp
from edge_agent.capture.decode_child import ChildLost, DecodeChild
from edge_agent.capture.h264 import RULES as H264
from edge_agent.capture.h265 import RULES as H265
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.parameters import ParameterSets
from edge_agent.capture.rtsp_session import RtspSession, State
from edge_agent.capture.stream import Run, Stream, annexb
from edge_agent.errors import FormatError, SourceLost, SourceRefused
from edge_agent.model import AccessUnit, Codec, Credentials, Endpoint

REFUSALS = (FormatError, SourceLost, SourceRefused)
SLOWEST_S = 2.0  # of one core case, on a busy machine
GROWTH_BYTES = 96 << 20
DECODE_S = 8.0
KEEPALIVE_S = 25.0
ENDPOINT = Endpoint("rtsp://10.0.0.9/cam?channel=1", "10.0.0.9", 554, Credentials("admin", "p@ss"))
CHALLENGE = b'WWW-Authenticate: Digest realm="Login to 4E01", nonce="%s", algorithm=MD5, qop="auth"\r\n'

Case = Callable[[random.Random], None]


class Hang(Exception):
    """The alarm clock rang inside a case."""


@dataclass
class Tally:
    """What became of one target's cases."""

    name: str
    cases: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    seconds: float = 0.0
    growth_bytes: int = 0
    deaths: int = 0
    findings: int = 0

    def row(self) -> str:
        return (
            f"| {self.name} | {self.cases:,} | {self.refused / max(self.cases, 1):.0%} | "
            f"{self.cases / max(self.seconds, 1e-9):,.0f}/s | {self.slowest_s * 1000:.0f} ms | "
            f"{self.growth_bytes / 1e6:+.1f} MB | {self.deaths} | {self.findings} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=1_000_000)
    parser.add_argument("--decode", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tallies = [*fuzz_core(options.core, options.seed), fuzz_decode(options.decode, options.seed)]
    print("| target | cases | refused | rate | slowest | memory | deaths | findings |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(tally.row() for tally in tallies))
    bad = [t for t in tallies if t.findings or t.growth_bytes > GROWTH_BYTES]
    print("FAILED" if bad else "passed")
    return int(bool(bad))


def fuzz_core(cases: int, seed: int) -> Iterator[Tally]:
    """Each target gets its share of the cases."""
    clips = [clip(codec, gop=5, b=b) for codec in Codec for b in (0, 2)]
    targets: dict[str, tuple[float, Case]] = {
        "session descriptions": (0.25, description(clips)),
        "parameter sets and init segments": (0.25, parameter_sets(clips)),
        "RTCP": (0.1, rtcp()),
        "conversations": (0.1, conversation(clips)),
        "packets of a living session": (0.3, packets(clips)),
    }
    for name, (share, case) in targets.items():
        yield fuzz(name, case, int(cases * share), random.Random(f"{seed} {name}"))


def fuzz(name: str, case: Case, count: int, rng: random.Random) -> Tally:
    tally, process = Tally(name), psutil.Process()
    warm = max(count // 10, 1)
    resident = 0
    previous = signal.signal(signal.SIGALRM, _ring)
    began = time.perf_counter()
    try:
        for number in range(count):
            if number == warm:
                resident = process.memory_info().rss
            _try(tally, case, rng)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    tally.seconds = time.perf_counter() - began
    tally.growth_bytes = process.memory_info().rss - resident
    return tally


def _try(tally: Tally, case: Case, rng: random.Random) -> None:
    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
    try:
        case(rng)
    except REFUSALS:
        tally.refused += 1
    except Exception:
        tally.findings += 1
        if tally.findings <= 3:
            print(f"{tally.name}, case {tally.cases}:", file=sys.stderr)
            traceback.print_exc()
    tally.cases += 1
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - began)


def _ring(number: int, frame: FrameType | None) -> None:
    raise Hang(f"a case took more than {SLOWEST_S:g} s")


def description(clips: Sequence[Clip]) -> Case:
    corpus = [c.sdp(extra) for c in clips for extra in ("", _AUDIO)]

    def case(rng: random.Random) -> None:
        found = sdp.parse(mutated(rng.choice(corpus), corpus, rng)).video()
        if found is not None:
            found.parameter_sets()
            found.has_don()

    return case


def parameter_sets(clips: Sequence[Clip]) -> Case:
    corpora = [(H264 if c.codec is Codec.H264 else H265, c.sets) for c in clips]

    def case(rng: random.Random) -> None:
        rules, corpus = rng.choice(corpora)
        sets = ParameterSets(rules)
        for nal in corpus:
            sets.take(mutated(nal, corpus, rng))
        if sets.complete():
            fmp4.describe(fmp4.init_segment(sets).data)

    return case


def rtcp() -> Case:
    report = bytes.fromhex("80c80006000012340000000100000000") + bytes(12)
    corpus = [report + bytes.fromhex("81ca0003000012340104656467650000"), report]

    def case(rng: random.Random) -> None:
        rtp.parse_sender_report(mutated(rng.choice(corpus), corpus, rng))

    return case


def conversation(clips: Sequence[Clip]) -> Case:
    """The whole way from OPTIONS to video, every reply and the frames between them wounded."""
    scripts = [_script(c) for c in clips]
    everything = [reply for script in scripts for reply in script]

    def case(rng: random.Random) -> None:
        session = RtspSession(ENDPOINT, 0.0, gate=Lockouts())
        now = 0.0
        for reply in rng.choice(scripts):
            now += KEEPALIVE_S if session.state is State.PLAYING else rng.choice((0.0, 0.1, 2.0))
            session.tick(now)
            session.receive(mutated(reply, everything, rng) if rng.random() < 0.3 else reply, now)
            session.report(b"RTCP")
            session.bytes_to_send()
        session.tear_down(now)

    return case


def packets(clips: Sequence[Clip]) -> Case:
    """Five pictures at a time into a stream that lives for fifty cases."""
    living: list[tuple[Stream, list[list[bytes]], int]] = []
    corpora = [_packed(c) for c in clips]
    medias = [[sdp.parse(c.sdp().replace(b"sprop", more, 1)).video() for more in _MODES] for c in clips]

    def case(rng: random.Random) -> None:
        if not living or rng.random() < 0.02:
            chosen = rng.randrange(len(clips))
            media = rng.choice(medias[chosen])
            assert media is not None
            living[:] = [(Stream(media, fragment_s=0.2), corpora[chosen], 0)]
        stream, corpus, now_ns = living.pop()
        some = rng.choice(corpus)
        runs = stream.feed(reordered(some, some, rng), now_ns)
        last = stream.flush(now_ns)
        for run in [*runs, *([last] if last else [])]:
            _write(run)
        living.append((stream, corpus, now_ns + rng.choice((0, 1_000_000, 200_000_000, 5_000_000_000))))

    return case


def _write(run: Run) -> None:
    fmp4.fragment(1, run.units[0].dts, run.units, run.end_dts)


def fuzz_decode(count: int, seed: int) -> Tally:
    """Keyframes, wounded, through the real decode process; it is started anew when one kills it."""
    tally, rng = Tally("the decode process"), random.Random(f"{seed} decode")
    clips = [clip(codec, b=b, width=width) for codec in Codec for b, width in ((0, 160), (2, 320))]
    corpus = [(c.codec, annexb(c.sets, AccessUnit(c.units[0], 0, 0, True))) for c in clips]
    blobs = [blob for _, blob in corpus]
    child = DecodeChild()
    smallest = largest = psutil.Process(child.pid).memory_info().rss
    began = time.perf_counter()
    for _ in range(count):
        codec, keyframe = rng.choice(corpus)
        asked = time.perf_counter()
        try:
            request = picture_wire.Request(codec, mutated(keyframe, blobs, rng), 80, rng.choice((0, 64)))
            tally.refused += bool(child.ask(request, DECODE_S).reason)
        except ChildLost as lost:
            tally.deaths += 1
            if "exit 1)" in str(lost):
                tally.findings += 1
                print(f"decode: {lost}", file=sys.stderr)
            child = DecodeChild()
        tally.cases += 1
        tally.slowest_s = max(tally.slowest_s, time.perf_counter() - asked)
        if tally.cases % 500 == 0:
            largest = max(largest, psutil.Process(child.pid).memory_info().rss)
    tally.seconds = time.perf_counter() - began
    tally.growth_bytes = largest - smallest
    child.close()
    return tally


def _packed(source: Clip) -> list[list[bytes]]:
    """Pictures in packets, five at a time; the parameter sets of every second keyframe in one packet."""
    packer = Packetizer(source.codec)
    pictures = []
    for nals, stamp in zip(source.units, source.stamps, strict=True):
        sets = [nal for nal in nals if nal in source.sets]
        if sets and len(pictures) % 2:
            pictures.append([packer.packet(_aggregate(sets, source.codec), stamp, marker=False)])
            nals = nals[len(sets) :]
        pictures.append(packer.pack(nals, stamp))
    return [list(chain.from_iterable(pictures[at : at + 5])) for at in range(0, len(pictures), 5)]


def _aggregate(nals: Sequence[bytes], codec: Codec) -> bytes:
    """STAP-A (RFC 6184 section 5.7.1) or AP (RFC 7798 section 4.4.2)."""
    head = b"\x78" if codec is Codec.H264 else b"\x60\x01"
    return head + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def _script(source: Clip) -> list[bytes]:
    """What a device says to one session, as Dahua words it."""
    body = source.sdp(_AUDIO)
    described = b"Content-Base: rtsp://0.0.0.0/cam?channel=1/\r\nContent-Length: %d\r\n" % len(body)
    frames = b"".join(map(interleaved, _packed(source)[0]))
    reply = partial(_reply, status=b"200 OK")
    return [
        reply(1, b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n"),
        _reply(2, CHALLENGE % b"abc" + CHALLENGE.replace(b"MD5", b"SHA-256") % b"def", b"401 Unauthorized"),
        reply(3, described, body=body),
        reply(
            4, b"Session: 77;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627\r\n"
        ),
        frames[:3000] + reply(5, b"RTP-Info: url=trackID=0;seq=1;rtptime=0\r\n") + frames[3000:],
        frames + reply(6, b""),
        _reply(7, CHALLENGE % b"new", b"401 Unauthorized") + frames,
        reply(8, b""),
        _reply(9, b"", b"400 Bad Request"),
        _reply(10, b"", b"454 Session Not Found"),
    ]


def _reply(cseq: int, headers: bytes, status: bytes, body: bytes = b"") -> bytes:
    return b"RTSP/1.0 %s\r\nCSeq: %d\r\nServer: Rtsp Server/3.0\r\n%s\r\n%s" % (status, cseq, headers, body)


_MODES = (b"sprop", b"sprop-max-don-diff=1;sprop")  # decoding order numbers that nobody sends
_AUDIO = "m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\na=rtpmap:8 PCMA/8000\r\n"


if __name__ == "__main__":
    sys.exit(main())
