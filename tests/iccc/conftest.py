"""A city in a folder: a real broker with mutual TLS, a fake box that seals real H.264, a console, a browser.

The fake box stands at our seam (the MQTT topics): pure modules of the agent make every byte it sends, so it
lies only where a test orders it to.
"""

from __future__ import annotations

import itertools
import json
import secrets
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import paho.mqtt.client as paho
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser_page import browser as browser  # fixtures for the tests of this folder
from browser_page import page as page
from browser_page import wait_until

from edge_agent.capture import fmp4
from edge_agent.capture.h264 import RULES as H264_RULES
from edge_agent.capture.parameters import ParameterSets
from edge_agent.capture.timeline import Placed
from edge_agent.clock import SystemClock, boot_id
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.dvr.loops import EncodedUnit, split_annexb
from edge_agent.demo.dvr.sei import Stamp, stamp_nal
from edge_agent.demo.pki import Pki, client_context
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings, IcccClient
from edge_agent.iccc.console.app import Access, create_app
from edge_agent.iccc.link import TlsFiles
from edge_agent.model import AccessUnit, ClockTrust, Codec, Fragment, InitSegment, Role
from edge_agent.seal.keys import BoxKey, Recipient, stream_id
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.sealer import StreamSealer
from edge_agent.tap import Tap
from edge_agent.uplink import messages, parts, topics, ulid
from edge_agent.uplink.commands import Command, CommandVerifier, Refusal, TrustedKey
from edge_agent.uplink.messages import Lifecycle
from edge_agent.uplink.operations import CommandRole
from edge_agent.uplink.stamper import Stamper
from edge_agent.uplink.topics import Down, MediaKind, Up

SITE = "pump-17"
KID = "desk-1"
RECIPIENT = "iccc-1"
HEARTBEAT_S = 2.0
FRAGMENT_TICKS = 18_000


def encode(
    width: int, height: int, fps: int, pictures: int, codec: str = "libx264"
) -> tuple[EncodedUnit, ...]:
    """A bar that moves and a counter, keyframes every 2 s."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, fps), Fraction(fps)
    context.gop_size, context.max_b_frames = 2 * fps, 0
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}
    family = Codec.H264 if codec == "libx264" else Codec.H265
    units: list[EncodedUnit] = []
    for number in range(pictures):
        frame = av.VideoFrame.from_ndarray(draw(width, height, number), format="bgr24")
        frame.pts = number
        units += [split_annexb(family, bytes(p), p.is_keyframe) for p in context.encode(frame)]
    units += [split_annexb(family, bytes(p), p.is_keyframe) for p in context.encode(None)]
    return tuple(units)


def draw(width: int, height: int, number: int) -> Any:
    """A forecourt, as far as four rectangles go."""
    picture = np.full((height, width, 3), (58, 62, 60), np.uint8)
    picture[: height // 3] = (92, 84, 70)
    cv2.rectangle(picture, (width // 10, height // 4), (width * 9 // 10, height // 3), (60, 110, 190), -1)
    for x in (3, 6):
        cv2.rectangle(
            picture,
            (width * x // 10, height // 3),
            (width * x // 10 + width // 12, height * 3 // 4),
            (190, 190, 185),
            -1,
        )
    car = (number * width // 60) % (width + width // 4) - width // 4
    cv2.rectangle(picture, (car, height * 6 // 10), (car + width // 4, height * 8 // 10), (70, 60, 160), -1)
    cv2.putText(
        picture,
        f"{number:05d}",
        (width // 20, height * 19 // 20),
        cv2.FONT_HERSHEY_SIMPLEX,
        height / 400,
        (235, 235, 235),
        2,
    )
    return picture


@dataclass(frozen=True)
class Loop:
    units: tuple[EncodedUnit, ...]
    fps: int
    init: InitSegment

    @classmethod
    def make(cls, width: int, height: int, fps: int, seconds: int) -> Loop:
        units = encode(width, height, fps, fps * seconds)
        sets = ParameterSets(H264_RULES)
        for nal in units[0].nals:
            sets.take(nal)
        return cls(units, fps, fmp4.init_segment(sets))


@pytest.fixture(scope="session")
def loops() -> dict[Role, Loop]:
    return {Role.MAIN: Loop.make(1280, 720, 25, 4), Role.SUB: Loop.make(640, 360, 12, 4)}


@dataclass(frozen=True)
class City:
    """Keys, certificates and the broker's address."""

    pki: Pki
    box: BoxKey
    broker: str

    def client_settings(self, client_id: str = "iccc-test") -> ClientSettings:
        identity = self.pki.client(client_id)
        return ClientSettings(
            self.broker,
            TlsFiles(self.pki.ca, identity.certificate, identity.key),
            client_id,
            self.pki.command_key(),
            KID,
            RECIPIENT,
            self.pki.recipient_key().private_bytes_raw(),
        )

    def boxes(self) -> TrustedBoxes:
        return TrustedBoxes({SITE: self.box.public})


class FakeStream:
    """One stream: paces the loop in real time, seals, and offers a tap. Owned by the box's pace thread."""

    def __init__(self, city: City, loop: Loop, uid: str, role: Role) -> None:
        self.loop = loop
        self.id = stream_id(city.box.box_id, uid, role)
        recipient = Recipient(RECIPIENT, city.pki.recipient_key().public_key().public_bytes_raw())
        self.sealer = StreamSealer(
            box=city.box, recipients=(recipient,), stream_id=self.id, boot_id=boot_id(), aead=Aead.AES_256_GCM
        )
        self.tap: Tap[Record] = Tap()
        self.sending = True
        self._clock = SystemClock(lambda: ClockTrust.NTP)
        self._pictures = itertools.count()
        self._due = time.monotonic()
        self._held: list[Placed] = []
        self._restart = True
        self._dts = 0

    def new_epoch(self) -> None:
        self._restart = True

    def tick(self) -> float:
        """Send what is due; returns when to come again."""
        while self._due <= time.monotonic():
            self._due += 1 / self.loop.fps
            number = next(self._pictures)
            if self.sending:
                self._picture(self.loop.units[number % len(self.loop.units)], number)
        return self._due

    def _picture(self, unit: EncodedUnit, number: int) -> None:
        ticks = 90_000 // self.loop.fps
        now = self._clock.now()
        if self._held and (unit.keyframe or self._dts - self._held[0].dts >= FRAGMENT_TICKS):
            self._publish()
        if self._restart:
            if not unit.keyframe:
                return
            self._restart, self._dts = False, 0
            self.tap.begin_epoch(*self.sealer.begin_epoch(self.loop.init, now))
        stamped = (stamp_nal(Codec.H264, Stamp(now.wall_us, number)), *unit.nals)
        access = AccessUnit(stamped, self._dts, now.boot_ns, unit.keyframe)
        self._held.append(Placed(access, self._dts, 0, now.boot_ns, False))
        self._dts += ticks
        if self._dts - self._held[0].dts >= FRAGMENT_TICKS:
            self._publish()

    def _publish(self) -> None:
        held, self._held = self._held, []
        tfdt = held[0].dts
        start = replace(self._clock.now(), boot_ns=held[0].boot_ns)
        duration_us = (self._dts - tfdt) * 1_000_000 // 90_000
        data = fmp4.fragment(1, tfdt, held, self._dts)
        keyframe = held[0].unit.keyframe
        record = self.sealer.seal(Fragment(data, start, duration_us, tfdt, keyframe, False, len(held)))
        self.tap.publish(record, len(record.raw), keyframe=keyframe)


@dataclass
class FakeSession:
    session: str
    topic: str
    stream: FakeStream
    leases: set[str]
    send: Callable[[Record], None]


class FakeBox:
    """Speaks protocol v1 over the real broker: birth, heartbeats, snapshots, live."""

    def __init__(self, city: City, loops: dict[Role, Loop], cameras: int = 4) -> None:
        self.city = city
        self.names = {f"cam-{n:02d}": name for n, name in enumerate(CAMERA_NAMES[:cameras], 1)}
        self.states = dict.fromkeys(self.names, "up")
        self.streams = {
            (camera, role): FakeStream(city, loops[role], f"serial/{camera}", role)
            for camera in self.names
            for role in Role
        }
        self.clock = SystemClock(lambda: ClockTrust.NTP)
        self.stamper = Stamper(ulid.new(self.clock.now().wall_us))
        key = TrustedKey(CommandRole.OPERATOR, city.pki.command_key().public_key())
        self.verifier = CommandVerifier({KID: key}, SITE)
        self.signer = Ed25519PrivateKey.from_private_bytes(_seed_of(city.box))
        self.sessions: dict[tuple[str, Role], FakeSession] = {}
        self.commands: list[Command] = []
        self.refusals: list[str] = []
        self.forge: Callable[[bytes], bytes] | None = None
        self.forged_epoch: str | None = None
        self._records = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._control = self._connect(SITE)
        self._media = self._connect(topics.media_client(SITE))
        self._pacer = threading.Thread(target=self._pace, name="fake-box", daemon=True)
        self._commands = threading.Thread(target=self._obey_all, name="fake-box-commands", daemon=True)
        self._inbox: list[bytes] = []
        self._arrived = threading.Event()

    def start(self) -> None:
        self._control.on_message = self._on_message
        self._control.subscribe([(topics.down(SITE, Down.COMMAND), SubscribeOptions(qos=1))])
        self.say_state("online")
        self.say_birth()
        self._pacer.start()
        self._commands.start()

    def stop(self) -> None:
        self._stop.set()
        self._arrived.set()
        self._pacer.join(5)
        self._commands.join(5)
        for client in (self._control, self._media):
            client.disconnect()
            client.loop_stop()

    # --- saying ----------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, media: bool = False) -> None:
        (self._media if media else self._control).publish(
            topic, payload, qos=0 if media else 1, retain=retain
        )

    def say_state(self, word: str, cause: str = "") -> None:
        data = messages.StateData(state=messages.Liveness(word), cause=cause)
        payload = messages.encode(self.stamper.state(data, self.clock.now()))
        self.publish(topics.up(SITE, Up.STATE), payload, retain=True)

    def say_birth(self) -> None:
        data = messages.BirthData(
            site=SITE,
            name="Shree Petroleum, Ring Road",
            kind="petrol_pump",
            boot=boot_id().hex(),
            software="edge-agent 0.1.0",
            timezone="Asia/Kolkata",
            cameras=tuple(
                messages.CameraInfo(id=c, name=name, streams={r: self.streams[c, r].id.hex() for r in Role})
                for c, name in self.names.items()
            ),
        )
        signed = messages.sign_message(self.signer, "box", self.stamper.birth(data, self.clock.now()))
        self.publish(topics.up(SITE, Up.BIRTH), signed, retain=True)

    def say_heartbeat(self) -> None:
        now = self.clock.now()
        data = messages.HeartbeatData(
            cameras=tuple(
                messages.CameraState(id=c, state=s, since=messages.timestamp(now.wall_us - 7_200_000_000))
                for c, s in self.states.items()
            ),
            ring=messages.RingState(used_bytes=31_400_000_000, budget_bytes=50_000_000_000),
            host=messages.HostState(uptime_s=93_784, cpu_percent=7.2, temperature_c=51.0),
            clock=messages.ClockState(trust=2),
        )
        payload = messages.encode(self.stamper.heartbeat(data, now))
        self.publish(topics.up(SITE, Up.HEARTBEAT), payload)

    def say_camera(self, camera: str, state: str, text: str, cause: str = "") -> None:
        now = self.clock.now()
        self.states[camera] = state
        detail: dict[str, Any] = {"state": state, "cause": cause}
        data = messages.EventData(
            kind="camera", camera=camera, since=messages.timestamp(now.wall_us), text=text, detail=detail
        )
        self.publish(topics.up(SITE, Up.EVENT), messages.encode(self.stamper.event(data, now)))

    def send_snapshot(self, camera: str) -> None:
        number = int(time.time()) % 300
        jpeg = cv2.imencode(".jpg", draw(1280, 720, number + int(camera[-2:]) * 17))[1].tobytes()
        records = self.streams[camera, Role.MAIN].sealer.seal_still(jpeg, self.clock.now())
        raw = b"".join(record.raw for record in records)
        session = ulid.to_bytes(ulid.new(self.clock.now().wall_us))
        for payload in parts.split(raw, session, 0, 64 * 1024):
            self.publish(topics.snapshot(SITE, camera), payload)

    def reply(self, command: Command, status: Lifecycle, code: str = "", **result: Any) -> None:
        data = messages.ReplyData(command=command.id, op=command.op, status=status, code=code, result=result)
        message = self.stamper.reply(data, self.clock.now())
        self.publish(topics.up(SITE, Up.REPLY), messages.sign_message(self.signer, "box", message))

    # --- obeying ---------------------------------------------------------------------------------

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._inbox.append(bytes(message.payload))
        self._arrived.set()

    def _obey_all(self) -> None:
        while not self._stop.is_set():
            self._arrived.wait(0.5)
            self._arrived.clear()
            while self._inbox:
                self._obey(self._inbox.pop(0))

    def _obey(self, payload: bytes) -> None:
        try:
            command = self.verifier.verify(payload, session=self.stamper.session, now=self.clock.now())
        except Refusal as refusal:
            self.refusals.append(refusal.code.value)
            return
        self.commands.append(command)
        camera = str(command.args.get("camera", ""))
        if camera and camera not in self.names:
            self.reply(command, Lifecycle.REJECTED, "not_found")
            return
        self.reply(command, Lifecycle.ACCEPTED)
        match command.op:
            case "snapshot":
                self.send_snapshot(camera)
                self.reply(command, Lifecycle.DONE)
            case "live.start":
                self._live_start(command, camera, Role(str(command.args.get("role", "sub"))))
            case "live.stop":
                self._live_stop(str(command.args["lease"]))
                self.reply(command, Lifecycle.DONE)
            case _:
                self.reply(command, Lifecycle.DONE)

    def _live_start(self, command: Command, camera: str, role: Role) -> None:
        with self._lock:
            known = self.sessions.get((camera, role)) or self._open_session(camera, role)
            known.leases.add(command.id)
            backlog = known.stream.tap.subscribe(known.send)
            head = backlog[0].header if backlog else None
            fragments = [r.header.n for r in backlog[2:]]
            self.reply(
                command,
                Lifecycle.DONE,
                session=known.session,
                lease=command.id,
                topic=known.topic,
                epoch=self.forged_epoch or (head.epoch.hex() if head else None),
                first=fragments[0] if fragments else None,
                lease_s=30,
            )
            for record in backlog:
                known.send(record)

    def _open_session(self, camera: str, role: Role) -> FakeSession:
        session = ulid.new(self.clock.now().wall_us)
        topic = topics.media(SITE, session, MediaKind.LIVE, camera, role)
        raw_session = ulid.to_bytes(session)

        def send(record: Record) -> None:
            raw = self.forge(record.raw) if self.forge else record.raw
            for payload in parts.split(raw, raw_session, next(self._records), 32 * 1024):
                self.publish(topic, payload, media=True)

        opened = FakeSession(session, topic, self.streams[camera, role], set(), send)
        self.sessions[camera, role] = opened
        return opened

    def _live_stop(self, lease: str) -> None:
        with self._lock:
            for key, session in list(self.sessions.items()):
                session.leases.discard(lease)
                if not session.leases:
                    session.stream.tap.unsubscribe(session.send)
                    del self.sessions[key]

    def _pace(self) -> None:
        heartbeat_due = 0.0
        while not self._stop.is_set():
            if time.monotonic() > heartbeat_due:
                heartbeat_due = time.monotonic() + HEARTBEAT_S
                self.say_heartbeat()
            with self._lock:
                due = min(stream.tick() for stream in self.streams.values())
            self._stop.wait(max(0.001, due - time.monotonic()))

    def _connect(self, common_name: str) -> paho.Client:
        identity = self.city.pki.client(common_name)
        client = paho.Client(CallbackAPIVersion.VERSION2, common_name, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set_context(client_context(self.city.pki.ca, identity))
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.on_socket_open = lambda _c, _u, raw: raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect("127.0.0.1", int(self.city.broker.rpartition(":")[2]))
        client.loop_start()
        assert connected.wait(10)
        return client


CAMERA_NAMES = ("Forecourt", "Dispenser 1 and 2", "Cash counter", "Tank unloading", "Entrance", "Rear wall")
_SEEDS: dict[bytes, bytes] = {}


def _seed_of(box: BoxKey) -> bytes:
    return _SEEDS[box.public]


def make_box_key() -> BoxKey:
    seed = secrets.token_bytes(32)
    box = BoxKey(seed)
    _SEEDS[box.public] = seed
    return box


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A broker with mutual TLS, and everybody's keys. Needs mosquitto."""
    directory = tmp_path_factory.mktemp("city")
    pki = Pki(directory / "pki")
    for name in ("iccc-test", "iccc-console", "iccc-second"):
        pki.client(name)
    broker = Mosquitto(directory / "broker", pki)
    broker.start()
    yield City(pki, make_box_key(), f"mqtts://127.0.0.1:{broker.port}")
    broker.stop()


@pytest.fixture
def box(city: City, loops: dict[Role, Loop]) -> Iterator[FakeBox]:
    fake = FakeBox(city, loops)
    fake.start()
    yield fake
    for topic in (topics.up(SITE, Up.BIRTH), topics.up(SITE, Up.STATE)):
        fake.publish(topic, b"", retain=True)
    time.sleep(0.1)
    fake.stop()


@pytest.fixture
def client(city: City, box: FakeBox) -> Iterator[IcccClient]:
    """Connected, and it has heard the box."""
    made = IcccClient(city.client_settings(), city.boxes())
    made.start()
    wait_until(lambda: made.birth(SITE) is not None)
    yield made
    made.stop()


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


class ConsoleServer:
    """The console under uvicorn in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.url = ""

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def get_json(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            return json.load(reply)


@pytest.fixture
def console(city: City, box: FakeBox) -> Iterator[ConsoleServer]:
    app = create_app(IcccClient(city.client_settings("iccc-console"), city.boxes()), Access("asha"))
    server = ConsoleServer(app)
    server.start()
    wait_until(lambda: server.get_json("/api/state")["sites"])
    yield server
    server.stop()
