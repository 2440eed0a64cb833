"""`camera capture`: one device asked everything that may be read, ONVIF first, then each stream.

Half a device is worth having: each step that fails leaves its sentence, and the next one is tried. Only a
device where nothing answers at all gives no bundle.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from edge_agent import __version__
from edge_agent.capture import addresses, bundle_rtsp, templates, web, wsd
from edge_agent.capture.bundle import Bundle, Facts, Manifest, Step, StreamTape
from edge_agent.capture.bundle_onvif import NamedStream, OnvifTaping
from edge_agent.capture.bundle_tape import Collected
from edge_agent.capture.bundle_web import WebTape
from edge_agent.capture.ports import CredentialGate
from edge_agent.capture.session import Session
from edge_agent.clock import Clock
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials, Endpoint

MAX_STREAMS = 64


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be captured. `seconds` of packets per stream; everything ends after `budget_s`."""

    address: str
    http_port: int = 80
    rtsp_port: int = addresses.RTSP_PORT
    credentials: Credentials | None = None
    seconds: float = 3.0
    pulls: int = 3
    pull_s: float = 2.0
    probe_s: float = 2.5  # for an answer to WS-Discovery
    budget_s: float = 300.0
    brand: str = "auto"


def capture(
    wish: Wish, gate: CredentialGate, clock: Clock, on_step: Callable[[Step], None] | None = None
) -> Bundle:
    """Not redacted yet: hand it to `bundle_finish.finish`. Blocks up to `budget_s` and a few seconds.

    `gate` counts wrong passwords together with whoever else asks the device. Raises DeviceError of the step
    `reachable` when neither ONVIF nor RTSP answers.
    """
    collected = Collected(time.monotonic() + wish.budget_s, on_step)
    onvif_there, rtsp_there = _reach(wish, collected)
    probed = _probe(wish, collected)
    tape, facts = WebTape(collected), Facts()
    named: tuple[NamedStream, ...] = ()
    if onvif_there:
        session = Session(wish.address, wish.http_port, wish.credentials, clock, gate, post=tape.post)
        taping = OnvifTaping(session, clock, collected)
        named = taping.run(wish.pulls, wish.pull_s)
        facts = replace(taping.facts, clock_offset_s=session.clock_offset_s)
    streams, rtsp_port = _streams(wish, named, gate, collected, rtsp_there)
    manifest = Manifest(
        tool=f"edge-agent {__version__}",
        taken=datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        address=wish.address,
        http_port=wish.http_port,
        rtsp_port=rtsp_port,
        with_password=wish.credentials is not None,
        facts=facts,
        steps=tuple(collected.steps),
        discovery=probed,
        web=tuple(tape.exchanges),
        streams=streams,
    )
    return Bundle(manifest, collected.files)


def _reach(wish: Wish, collected: Collected) -> tuple[bool, bool]:
    onvif_there = web.answers(wish.address, wish.http_port)
    rtsp_there = web.answers(wish.address, wish.rtsp_port)
    for name, port, there in (("ONVIF", wish.http_port, onvif_there), ("RTSP", wish.rtsp_port, rtsp_there)):
        said = "accepts connections" if there else "does not accept connections"
        collected.told("reachable", there, f"{wish.address} {said} on port {port} ({name})")
    if not (onvif_there or rtsp_there):
        raise DeviceError(
            "reachable",
            f"{wish.address} answers neither on port {wish.http_port} (ONVIF) nor on {wish.rtsp_port} "
            "(RTSP): is the recorder on, its cable in, the address right? Name other ports with --port and "
            "--rtsp-port",
        )
    return onvif_there, rtsp_there


def _probe(wish: Wish, collected: Collected) -> tuple[str, ...]:
    """WS-Discovery, asked of this address alone, in each of the three ways."""
    members: list[str] = []
    with collected.step("discovery") as said:
        try:
            heard = _datagrams(wish.address, wish.probe_s)
        except OSError as error:
            raise DeviceError("discovery", f"no probe could be sent: {error.strerror or error}") from error
        members = [m for m in (collected.keep("discovery", "ProbeMatches.xml", d) for d in heard) if m]
        if not members:
            raise DeviceError("discovery", "the device answers no WS-Discovery probe sent to it alone")
        said.append(f"{len(members)} answers")
    return tuple(members)


def _datagrams(address: str, patience_s: float) -> list[bytes]:
    """The distinct answers that came from that address."""
    found: dict[bytes, None] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number, kind in enumerate(wsd.Probed):
            identity = f"00000000-0000-4000-8000-00000000000{number}"
            sock.sendto(wsd.probe(kind, identity), (address, wsd.PORT))
        until = time.monotonic() + patience_s
        while len(found) < len(wsd.Probed) and (left_s := until - time.monotonic()) > 0:
            sock.settimeout(left_s)
            try:
                datagram, (sender, _) = sock.recvfrom(wsd.MAX_DATAGRAM)
            except TimeoutError:
                break
            if sender == address:
                found[datagram] = None
    return list(found)


def _streams(
    wish: Wish, named: tuple[NamedStream, ...], gate: CredentialGate, collected: Collected, there: bool
) -> tuple[tuple[StreamTape, ...], int]:
    """Each stream's tape, and the RTSP port that the device really has."""
    found, port = _endpoints(wish, named, gate, collected, there)
    tapes = []
    for stream, endpoint in found[:MAX_STREAMS]:
        name = f"stream {stream.channel or stream.profile} {stream.role}"
        with collected.step(name) as said:
            taped = bundle_rtsp.visit(stream, endpoint, gate, wish.seconds, collected)
            tapes.append(taped)
            if taped.note:
                raise DeviceError(name, taped.note)
            said.append(f"{len(taped.dialogue)} answers and its packets")
    return tuple(tapes), port


def _endpoints(
    wish: Wish, named: tuple[NamedStream, ...], gate: CredentialGate, collected: Collected, there: bool
) -> tuple[list[tuple[StreamTape, Endpoint]], int]:
    if named:
        claimed = {s.claim.port for s in named}
        ports = {port: _usable(wish, port, there) for port in claimed}
        found = [_named(wish, stream, ports[stream.claim.port]) for stream in named]
        return found, next(iter(ports.values()))
    if not there:
        return [], wish.rtsp_port
    found = []
    with collected.step("usual URLs") as said:
        make, cameras = templates.cameras(wish.address, wish.rtsp_port, wish.brand, wish.credentials, gate)
        said.append(f"{len(cameras)} cameras by the usual URLs of {make.name}")
        for camera in cameras:
            for role, endpoint in (("main", camera.main), ("sub", camera.sub)):
                if endpoint is not None:
                    found.append((StreamTape(endpoint.url, camera.number, role), endpoint))
    return found, wish.rtsp_port


def _usable(wish: Wish, claimed: int | None, there: bool) -> int:
    """The port in the stream's URL if it answers, else the one we know of."""
    port = claimed or addresses.RTSP_PORT
    if port == wish.rtsp_port and there:
        return port
    return port if web.answers(wish.address, port) else wish.rtsp_port


def _named(wish: Wish, stream: NamedStream, port: int) -> tuple[StreamTape, Endpoint]:
    url = addresses.url("rtsp", wish.address, port, stream.claim.rest)
    tape = StreamTape(url, stream.channel, stream.role, stream.profile)
    return tape, Endpoint(url, wish.address, port, wish.credentials)
