"""A bundle made ready to be played: which channels, of which size and codec, with which faults at first.

`load` reads and judges the file; everything behind it is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from edge_agent.capture import bundle as bundles
from edge_agent.capture import bundle_shape, h264, h265, sdp
from edge_agent.capture.bundle import Bundle, StreamTape
from edge_agent.capture.bundle_shape import Shape as PacketShape
from edge_agent.capture.parameters import ParameterSets
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.faults import ChannelFaults, DeviceFaults, DvrFaults, Mode
from edge_agent.demo.dvr.media import Shape
from edge_agent.demo.dvr.pace import pace_of
from edge_agent.demo.dvr.replay_rtsp import ReplayStream, key_of
from edge_agent.demo.dvr.rtp import PAYLOAD_TYPE
from edge_agent.errors import ConfigError, FormatError
from edge_agent.model import Codec, Role

MAX_CHANNELS = 64
_SIZES = ((1000, 1280, 720), (500, 640, 360), (0, 320, 180))  # from which recorded width, what is shown
_SLOW_FPS = 15
_LEAST_SKEW_MS = 1000
_REALM = re.compile(r'realm="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Replay:
    bundle: Bundle
    streams: tuple[ReplayStream, ...]
    shapes: Mapping[StreamName, Shape]
    payload_types: Mapping[StreamName, int]
    faults: DvrFaults
    realm: str
    basic: bool

    @property
    def inputs(self) -> tuple[int, ...]:
        return tuple(sorted({stream.name.channel for stream in self.streams})) or (1,)


def load(path: Path) -> Replay:
    """Raises ConfigError with what is wrong with the file."""
    try:
        if path.stat().st_size > bundles.MAX_BUNDLE:
            raise FormatError("larger than any bundle")
        return prepared(bundles.unpack(path.read_bytes()))
    except OSError as error:
        raise ConfigError([f"--replay {path}: {error.strerror}"]) from error
    except FormatError as error:
        raise ConfigError([f"--replay {path}: {error}"]) from error


def prepared(bundle: Bundle) -> Replay:
    """Raises FormatError for a bundle whose members are no shapes."""
    names = _names(bundle.manifest.streams)
    shapes = {name: _packets(bundle, tape) for name, tape in names.items()}
    streams = tuple(
        ReplayStream(name, key_of(tape.url), tape, _description(bundle, tape), pace_of(shapes[name].packets))
        for name, tape in names.items()
    )
    challenges = tuple(_challenges(bundle))
    return Replay(
        bundle,
        streams,
        {stream.name: _shape(stream, shapes[stream.name]) for stream in streams},
        {stream.name: _payload_type(stream.description) for stream in streams},
        _faults(bundle, streams, shapes, challenges),
        next((found[1] for found in map(_REALM.search, challenges) if found), ""),
        bool(challenges) and not any("digest" in challenge.lower() for challenge in challenges),
    )


def _names(tapes: Iterable[StreamTape]) -> dict[StreamName, StreamTape]:
    """A name of its own for each stream: as captured, else the next channel that is free."""
    named: dict[StreamName, StreamTape] = {}
    tapes = [*tapes][: 2 * MAX_CHANNELS]
    taken = {tape.channel for tape in tapes}
    for tape in tapes:
        role = Role.SUB if tape.role == "sub" else Role.MAIN
        name = StreamName(tape.channel, role)
        if not 0 < tape.channel <= MAX_CHANNELS or name in named:
            free = next(n for n in range(1, 4 * MAX_CHANNELS) if n not in taken)
            taken.add(free)
            name = StreamName(free, role)
        named[name] = tape
    return named


def _packets(bundle: Bundle, tape: StreamTape) -> PacketShape:
    return bundle_shape.load(bundle.body(tape.shape)) if tape.shape else PacketShape()


def _description(bundle: Bundle, tape: StreamTape) -> bytes:
    good = [each for each in tape.dialogue if each.method == "DESCRIBE" and 200 <= each.status < 300]
    return bundle.body(good[-1].body) if good else b""


def _video(description: bytes) -> sdp.Media | None:
    try:
        return sdp.parse(description).video()
    except FormatError:
        return None


def _shape(stream: ReplayStream, packets: PacketShape) -> Shape:
    """A loop of the same codec and size class; H.265 is small because software encodes it slowly."""
    media = _video(stream.description)
    codec = Codec.H265 if (media and media.encoding == "H265") or packets.codec == "h265" else Codec.H264
    width = _width(media, packets, codec) or (1280 if stream.name.role is Role.MAIN else 640)
    shown_width, height = next((w, h) for least, w, h in _SIZES if width >= least)
    if codec is Codec.H265 and shown_width > 640:
        shown_width, height = 640, 360
    fps = 12 if 0 < _fps(packets) <= _SLOW_FPS else 25
    return Shape(shown_width, height, fps, codec)


def _width(media: sdp.Media | None, packets: PacketShape, codec: Codec) -> int:
    """As the parameter sets tell it, in the SDP or in band; 0 when neither does."""
    sets = ParameterSets(h265.RULES if codec is Codec.H265 else h264.RULES)
    for nal in (*(media.parameter_sets() if media else ()), *bundle_shape.sets_of(packets)):
        sets.take(nal)
    return sets.format.width if sets.format else 0


def _fps(packets: PacketShape) -> float:
    pictures = sum(1 for packet in packets.packets if packet.marker)
    return pictures / packets.seconds if packets.seconds else 0.0


def _payload_type(description: bytes) -> int:
    media = _video(description)
    return media.payload_type if media and 0 <= media.payload_type < 128 else PAYLOAD_TYPE


def _challenges(bundle: Bundle) -> Iterable[str]:
    """Every demand for a login, RTSP's first: its realm is the one that makers put their name into."""
    for tape in bundle.manifest.streams:
        for exchange in tape.dialogue:
            yield from (v for n, v in exchange.headers if n.lower() == "www-authenticate")
    for web in bundle.manifest.web:
        yield from (v for n, v in web.headers if n.lower() == "www-authenticate")


def _faults(
    bundle: Bundle,
    streams: tuple[ReplayStream, ...],
    shapes: Mapping[StreamName, PacketShape],
    challenges: tuple[str, ...],
) -> DvrFaults:
    channels: dict[int, ChannelFaults] = {}
    for stream in sorted(streams, key=lambda each: each.name.role is Role.MAIN):  # the main stream decides
        channels[stream.name.channel] = _channel_faults(stream, shapes[stream.name])
    device = DeviceFaults(
        onvif_off=not any(exchange.status for exchange in bundle.manifest.web),
        sha256=any("sha-256" in challenge.lower() for challenge in challenges),
        clock_skew_s=bundle.manifest.facts.clock_offset_s or 0.0,
        probe_silent=not bundle.manifest.discovery,
    )
    return DvrFaults(device, MappingProxyType(channels or {1: ChannelFaults()}))


def _channel_faults(stream: ReplayStream, packets: PacketShape) -> ChannelFaults:
    played = stream.last("PLAY")
    silent = played is not None and played.status == 200 and not packets.packets and bool(stream.tape.note)
    faults = ChannelFaults(mode=Mode.MUTE) if silent else ChannelFaults()
    if not packets.packets:
        return faults
    offset_ms = packets.reports[0].wall_offset_ms if packets.reports else 0
    skew_s = offset_ms / 1000 if abs(offset_ms) >= _LEAST_SKEW_MS else 0.0
    return replace(faults, sr_absent=not packets.reports, sr_skew_s=skew_s)
