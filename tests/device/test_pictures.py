"""Snapshots through the real decode process, and what happens when it is treated badly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_agent.capture import picture_wire
from edge_agent.capture.decode_child import ChildLost, DecodeChild
from edge_agent.capture.picture_wire import Answer, Request
from edge_agent.capture.pictures import (
    DecodingQuarantined,
    KeyframeMeasured,
    PictureFailed,
    PictureReady,
    Pictures,
)
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr import media
from edge_agent.demo.dvr.media import LoopKey, Shape, Variant
from edge_agent.errors import FormatError
from edge_agent.events import BoundedInbox, Fact
from edge_agent.model import Codec, Instant, Keyframe, Role, StreamKey

CAM = StreamKey("cam-01", Role.MAIN)
TAKEN = Instant(1_790_000_000_000_000, 1)

CHILD = """
import sys, os, time
def say(body): sys.stdout.buffer.write(len(body).to_bytes(4, "big") + body); sys.stdout.buffer.flush()
say(b"\\0ready")
while head := sys.stdin.buffer.read(4):
    body = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    if b"die" in body: os._exit(9)
    if b"hang" in body: time.sleep(60)
    say(b"\\0jpeg")
"""


def encoded(codec: Codec, width: int = 320, height: int = 180) -> bytes:
    context = av.VideoCodecContext.create({"h264": "libx264", "h265": "libx265"}[codec.value], "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"x265-params": "log-level=none"} if codec is Codec.H265 else {}
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = (0, 0, 255)  # the left half is red in BGR
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


def keyframe(annexb: bytes, key: StreamKey = CAM, codec: Codec = Codec.H264) -> Keyframe:
    return Keyframe(key, codec, annexb, TAKEN)


class Desk:
    """A running Pictures worker and its inbox."""

    def __init__(self, **options: object) -> None:
        self.inbox = BoundedInbox()
        self.pictures = Pictures(SystemClock(), self.inbox, **options)  # type: ignore[arg-type]
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self.pictures.run, args=(self._stop, lambda: None), daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def ask(self, picture: Keyframe, max_width: int | None = None) -> Fact:
        self.pictures.snapshot(picture, 80, max_width, "ticket")
        return self.next()

    def next(self) -> Fact:
        fact = self.inbox.take(60)
        assert fact is not None
        return fact

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def build(**options: object) -> Desk:
        desks.append(Desk(**options))
        desks[-1].start()
        return desks[-1]

    yield build
    for each in desks:
        each.stop()


@pytest.mark.parametrize("codec", list(Codec))
def test_a_keyframe_becomes_a_jpeg_of_the_same_picture(desk: Callable[..., Desk], codec: Codec) -> None:
    answer = desk().ask(keyframe(encoded(codec), codec=codec), max_width=160)

    assert isinstance(answer, PictureReady)
    assert (answer.ticket, answer.key, answer.taken) == ("ticket", CAM, TAKEN)
    shown = cv2.imdecode(np.frombuffer(answer.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (90, 160, 3)
    assert shown[45, 20][2] > 200
    assert shown[45, 140].max() < 60


def test_garbage_is_an_answer_and_the_process_lives_on(desk: Callable[..., Desk]) -> None:
    room = desk()

    first = room.ask(keyframe(b"\x00\x00\x00\x01\x65" + bytes(range(256)) * 40))
    pid = room.pictures.child_pid
    second = room.ask(keyframe(encoded(Codec.H264)))

    assert isinstance(first, PictureFailed)
    assert isinstance(second, PictureReady)
    assert room.pictures.child_pid == pid


def test_a_killed_process_is_replaced(desk: Callable[..., Desk]) -> None:
    room = desk()
    picture = keyframe(encoded(Codec.H264))
    room.ask(picture)
    assert room.pictures.child_pid is not None
    os.kill(room.pictures.child_pid, signal.SIGKILL)

    assert isinstance(room.ask(picture), PictureFailed)
    assert isinstance(room.ask(picture), PictureReady)


def test_a_stream_that_kills_twice_is_quarantined_and_others_are_not(desk: Callable[..., Desk]) -> None:
    room = desk(command=(sys.executable, "-c", CHILD))
    other = StreamKey("cam-02", Role.MAIN)

    deaths = [room.ask(keyframe(b"die")), room.ask(keyframe(b"die"))]
    quarantined = room.next()
    refused = room.ask(keyframe(b"fine"))

    assert all(isinstance(d, PictureFailed) for d in deaths)
    assert isinstance(quarantined, DecodingQuarantined)
    assert room.pictures.quarantined == {CAM}
    assert isinstance(refused, PictureFailed)
    assert "twice" in refused.reason
    assert isinstance(room.ask(keyframe(b"fine", other)), PictureReady)
    room.pictures.release(CAM)
    assert isinstance(room.ask(keyframe(b"fine")), PictureReady)


def test_a_hanging_process_is_ended_at_the_deadline(desk: Callable[..., Desk]) -> None:
    room = desk(command=(sys.executable, "-c", CHILD), deadline_s=0.5)
    began = time.monotonic()

    answer = room.ask(keyframe(b"hang"))

    assert isinstance(answer, PictureFailed)
    assert "in time" in answer.reason
    assert time.monotonic() - began < 20


def test_a_broken_installation_is_not_blamed_on_the_picture(desk: Callable[..., Desk]) -> None:
    room = desk(command=(sys.executable, "-c", "raise SystemExit(3)"))

    answers = [room.ask(keyframe(b"fine")) for _ in range(3)]

    assert all(isinstance(a, PictureFailed) for a in answers)
    assert room.pictures.quarantined == frozenset()


def test_a_full_queue_answers_at_once_and_is_counted() -> None:
    room = Desk(queue_size=1)  # not started: nobody takes

    room.pictures.snapshot(keyframe(b"a"), 80, None, "1")
    room.pictures.snapshot(keyframe(b"b"), 80, None, "2")

    refused = room.next()
    assert isinstance(refused, PictureFailed)
    assert (refused.ticket, room.pictures.dropped) == ("2", 1)


def test_an_oversized_picture_is_refused_without_harm(desk: Callable[..., Desk]) -> None:
    room = desk(command=(sys.executable, "-c", CHILD))

    assert isinstance(room.ask(keyframe(bytes(9 * 1024 * 1024))), PictureFailed)
    assert isinstance(room.ask(keyframe(b"fine")), PictureReady)


def test_the_process_has_no_descriptors_no_secrets_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AGENT_SECRET", "s3cret")
    child = DecodeChild()
    try:
        proc = Path(f"/proc/{child.pid}")
        opened = sorted(int(p.name) for p in (proc / "fd").iterdir())
        status = (proc / "status").read_text()
        resident_kb = int(next(v for v in status.splitlines() if v.startswith("VmRSS")).split()[1])

        assert opened == [0, 1, 2]
        assert b"s3cret" not in (proc / "environ").read_bytes()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert resident_kb < 120 * 1024
    finally:
        child.close()


def test_the_sandbox_refuses_sockets_programs_and_files(tmp_path: Path) -> None:
    key = tmp_path / "box.key"
    key.write_bytes(b"secret")
    code = f"""
import os, socket, sys
os.dup2(os.open({str(key)!r}, os.O_RDWR), 9)
from edge_agent.capture import sandbox, picture_wire as wire
enforced = sandbox.enter(1 << 30)
said = [str(enforced)]
for attempt in (lambda: socket.socket(), lambda: os.execv("/bin/true", ["true"]), lambda: os.kill(1, 0),
                lambda: open({str(key)!r}, "rb"), lambda: os.write(9, b"1")):
    try: attempt(); said.append("done")
    except OSError as error: said.append(error.strerror.split()[0])
sys.stdout.buffer.write(wire.frame(wire.encode_answer(wire.Answer(reason=" ".join(said)))))
sys.stdout.flush()
sys.stdin.read()
"""
    said = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True
    ).stdout
    assert said[5:] == b"True Operation Operation Operation Too File"


def measured(room: Desk, picture: Keyframe, thumbnail_width: int = 0) -> KeyframeMeasured:
    room.pictures.measure(picture, thumbnail_width)
    fact = room.next()
    assert isinstance(fact, KeyframeMeasured)
    return fact


@pytest.mark.parametrize("codec", list(Codec))
def test_a_keyframe_is_measured(desk: Callable[..., Desk], codec: Codec) -> None:
    room, picture = desk(), keyframe(encoded(codec), codec=codec)

    first, second = measured(room, picture), measured(room, picture, thumbnail_width=160)

    # half red, half black: 16 and 81 of luma in video range, one edge, far from grey
    assert first.mean == pytest.approx((16 + 81) / 2, abs=2)
    assert first.deviation == pytest.approx((81 - 16) / 2, abs=2)
    assert first.detail < 0.02
    assert first.flat > 0.9
    assert first.colour > 20
    assert (first.change, second.change) == (None, 0.0)
    assert first.print == second.print
    assert first.thumbnail == b""
    assert cv2.imdecode(np.frombuffer(second.thumbnail, np.uint8), cv2.IMREAD_COLOR).shape == (90, 160, 3)


def test_a_slate_with_a_running_clock_repeats_exactly_and_a_scene_does_not(desk: Callable[..., Desk]) -> None:
    room, shape = desk(), Shape(640, 360, 12)
    changes: dict[Variant, list[float | None]] = {}
    for number, variant in enumerate((Variant.SLATE, Variant.NORMAL)):
        loop = media.load(media.default_cache(), LoopKey(1, True, shape, variant))
        key = StreamKey(f"cam-{number}", Role.SUB)
        pictures = [b"".join(b"\x00\x00\x00\x01" + nal for nal in u.nals) for u in loop.units if u.keyframe]
        changes[variant] = [measured(room, keyframe(annexb, key)).change for annexb in pictures[:6]]

    assert changes[Variant.SLATE][3:] == [0.0, 0.0, 0.0]
    assert all(change is None or change > 0.2 for change in changes[Variant.NORMAL])


def test_snapshots_go_before_measures_and_a_full_queue_only_counts() -> None:
    room = Desk(queue_size=2, command=(sys.executable, "-c", CHILD))
    for _ in range(3):
        room.pictures.measure(keyframe(b"fine"))
    room.pictures.snapshot(keyframe(b"fine"), 80, None, "first")
    assert room.pictures.dropped == 1

    room.start()
    fact = room.next()
    room.stop()
    assert isinstance(fact, PictureReady)


def test_measuring_what_kills_the_process_ends_in_quarantine_too(desk: Callable[..., Desk]) -> None:
    room = desk(command=(sys.executable, "-c", CHILD))
    for _ in range(2):
        room.pictures.measure(keyframe(b"die"))
    assert isinstance(room.next(), DecodingQuarantined)


def test_a_child_that_talks_nonsense_is_lost() -> None:
    with pytest.raises(ChildLost, match="does not start"):
        DecodeChild((sys.executable, "-c", "print('x' * 100)"))


def test_frames_survive_the_pipe_and_oversized_ones_do_not() -> None:
    request = Request(Codec.H265, b"\x00\x00\x01x", 80, 640)

    assert picture_wire.decode_request(picture_wire.encode_request(request)) == request
    measure = Request(Codec.H264, b"\x00\x00\x01x", 80, 0, picture_wire.Kind.MEASURE)
    assert picture_wire.decode_request(picture_wire.encode_request(measure)) == measure
    blocks = tuple(range(picture_wire.BLOCKS))
    answer = Answer(b"jpeg", measures=picture_wire.Measures(1.0, 2.0, 0.5, 4.0, 0.25, blocks))
    assert picture_wire.decode_answer(picture_wire.encode_answer(answer)) == answer
    assert picture_wire.decode_answer(picture_wire.encode_answer(Answer(reason="no"))) == Answer(reason="no")
    with pytest.raises(FormatError):
        picture_wire.frame_length(b"\xff\xff\xff\xff")
    with pytest.raises(FormatError):
        picture_wire.decode_request(b"\x00\x09\x50\x00\x00xx")
