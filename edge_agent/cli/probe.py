"""`camera test`: opens what the daemon would open, with the daemon's own code, and tells each step."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from edge_agent.agent import locate, roster
from edge_agent.agent.finder import RTSP_PORT, camera_by_hand, credentials_of
from edge_agent.capture import device, lockout_file, templates
from edge_agent.capture.channels import Channel
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.ports import CredentialGate, StreamStats
from edge_agent.clock import SystemClock
from edge_agent.config import Config, Recorder
from edge_agent.errors import ConfigError, DeviceError, SealError
from edge_agent.events import BoundedInbox, StreamLost, StreamStarted
from edge_agent.log import redact
from edge_agent.model import Endpoint, Role, StreamKey, StreamSpec
from edge_agent.ring.sink import Rings
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.record import Aead
from edge_agent.seal.sealer import StreamSealer

SETTLE_S = 4.2  # after the first picture: two usual groups of pictures, so that the rates are fair


Say = Callable[[str, str], None]  # step and sentence; a device's name and nothing before its own steps


def aloud(step: str, sentence: str) -> None:
    print(f"  {step}: {sentence}" if sentence else f"{step}:", flush=True)


class Written:
    """What was said, for programs: `device`, `step` and `sentence` of each."""

    def __init__(self) -> None:
        self.steps: list[dict[str, str]] = []
        self._device = ""

    def __call__(self, step: str, sentence: str) -> None:
        if sentence:
            self.steps.append({"device": self._device, "step": step, "sentence": sentence})
        else:
            self._device = step


def configured(config: Config, name: str, seconds: float, *, anew: bool = False, say: Say = aloud) -> bool:
    """Test one recorder or camera by its name, or all of them. Raises ConfigError for an unknown name.

    Wrong passwords are counted together with the daemon's, over restarts too; `anew` forgets those of before.
    """
    behind = _behind_a_recorder(config)
    hangs_on, channel = behind.get(name, ("", None))
    recorders = [r for r in config.recorders if name == "" or r.name in (name, hangs_on)]
    by_hand = [c for c in config.cameras if name in ("", c.id) and c.url.get_secret_value()]
    if not recorders and not by_hand:
        known = [*(r.name for r in config.recorders), *sorted({*behind, *(c.id for c in config.cameras)})]
        told = f"no recorder or camera {name!r} here; known: {', '.join(known) or 'none'}"
        raise ConfigError([f"{told}; anything else: by its rtsp:// URL"])
    kept = _kept_lockouts(config)
    if anew:
        kept.lockouts.forget()
    gate = kept.lockouts
    good = [_recorder(config, recorder, seconds, gate, channel, say) for recorder in recorders]
    for entry in by_hand:
        camera = camera_by_hand(entry)
        good += [stream(entry.id, e, seconds, gate, say) for e in (camera.main, camera.sub) if e]
    if kept.due:
        _save(kept, say)
    return all(good)


def stream(
    name: str, endpoint: Endpoint, seconds: float, gate: CredentialGate | None = None, say: Say = aloud
) -> bool:
    """Open one RTSP stream until it shows a picture; says one sentence."""
    logging.getLogger("edge_agent").setLevel(logging.CRITICAL)  # the line says it all
    key = StreamKey(redact(name), Role.MAIN)
    inbox = BoundedInbox()
    with _capture(inbox, gate) as capture:
        capture.start_stream(StreamSpec(key, endpoint, bytes(16), record=False))
        deadline = time.monotonic() + seconds
        why = f"no picture in {seconds:.0f} s"
        while time.monotonic() < deadline:
            fact = inbox.take(0.2)
            if isinstance(fact, StreamStarted):
                before = capture.stats()[key]
                time.sleep(SETTLE_S)
                say(key.camera, f"good, {_figures(fact, before, capture.stats()[key])}")
                return True
            if isinstance(fact, StreamLost):
                why = fact.reason
                if fact.refused:
                    break
    say(key.camera, redact(why))
    return False


def _behind_a_recorder(config: Config) -> dict[str, tuple[str, int | None]]:
    """Recorder and channel by camera id, as the daemon last found them."""
    known = roster.load(config.state.directory / roster.NAME)
    return {camera.id: (camera.recorder, camera.channel) for camera in known.last if camera.recorder}


def _recorder(
    config: Config, recorder: Recorder, seconds: float, gate: CredentialGate, only: int | None, say: Say
) -> bool:
    """All of ONVIF's steps, then a picture from every channel, or from channel `only`."""
    say(recorder.name, "")
    try:
        channels = _channels(config, recorder, gate, say)
    except DeviceError as error:
        say(error.step, redact(str(error)))
        return False
    streams = [
        (f"channel {channel.number} {role}", endpoint)
        for channel in channels
        if only in (None, channel.number)
        for role, endpoint in (("main", channel.main), ("sub", channel.sub))
        if endpoint is not None
    ]
    good = [stream(name, endpoint, seconds, gate, say) for name, endpoint in streams]
    if not good:
        say(
            "streams",
            "the recorder offers no camera" if only is None else f"channel {only} is offered no longer",
        )
    return bool(good) and all(good)


def _channels(config: Config, recorder: Recorder, gate: CredentialGate, say: Say) -> tuple[Channel, ...]:
    """By ONVIF, else by the maker's usual URLs. Raises DeviceError."""
    place = locate.locate(recorder, config.discovery, Event())
    credentials = credentials_of(recorder)
    try:
        return device.probe(
            place.address,
            place.port or locate.ONVIF_PORT,
            credentials,
            clock=SystemClock(),
            gate=gate,
            on_step=lambda step: say(step.name, redact(step.sentence)),
        ).channels
    except DeviceError as error:
        say(error.step, redact(str(error)))
    port = recorder.rtsp_port or RTSP_PORT
    make, found = templates.cameras(place.address, port, recorder.brand, credentials, gate, recorder.channels)
    say("without ONVIF", f"{len(found)} cameras by the usual URLs of {make.name}")
    return found


def _kept_lockouts(config: Config) -> LockoutFile:
    """The daemon's, if we may read the box's key; else our own, for this run."""
    try:
        box = BoxKey(config.box_key.read_bytes())
    except (OSError, SealError):
        box = BoxKey(os.urandom(32))
    return LockoutFile(config.state.directory / lockout_file.NAME, box.sign)


def _save(kept: LockoutFile, say: Say) -> None:
    try:
        kept.save()
    except FileNotFoundError:
        say("passwords", "wrong ones are remembered only after the agent's first start")
    except OSError as error:
        say("passwords", f"wrong ones could not be written down ({error.strerror}); run this as root")


def _figures(fact: StreamStarted, before: StreamStats, after: StreamStats) -> str:
    """Counted here over `SETTLE_S`: the loop's own rates are over a longer time."""
    fps = (after.pictures - before.pictures) / SETTLE_S
    kbps = (after.bytes - before.bytes) * 8 / 1000 / SETTLE_S
    gop = f", a keyframe every {after.gop_s:.1f} s" if after.gop_s else ""
    told = f", {after.converted}" if after.converted else ""
    rates = f"{fps:.0f} pictures/s, {kbps:.0f} kbit/s{gop}"
    return f"{fact.codec.value} {fact.width}x{fact.height}, {rates}{told}"


@contextmanager
def _capture(inbox: BoundedInbox, gate: CredentialGate | None) -> Iterator[CaptureLoop]:
    """The daemon's capture with nothing behind it: records are sealed to a key that is thrown away."""
    clock, stop = SystemClock(), Event()
    box, (_, public) = BoxKey(bytes(32)), generate_recipient()

    def sealer(spec: StreamSpec) -> StreamSealer:
        return StreamSealer(
            box=box,
            recipients=[Recipient("nobody", public)],
            stream_id=spec.stream_id,
            boot_id=bytes(16),
            aead=Aead.CHACHA20_POLY1305,
        )

    capture = CaptureLoop(clock=clock, inbox=inbox, sink=Rings({}), sealer_for=sealer, gate=gate)
    thread = Thread(target=capture.run, args=(stop, lambda: None), name="capture", daemon=True)
    thread.start()
    try:
        yield capture
    finally:
        stop.set()
        thread.join(3)
