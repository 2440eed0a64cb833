"""One playing session: which frame is due, at which RTP time, in which bytes. No I/O; time is an argument."""

from __future__ import annotations

import random
from dataclasses import dataclass

from edge_agent.demo.dvr import rtp
from edge_agent.demo.dvr.faults import ChannelFaults
from edge_agent.demo.dvr.pace import Beat, Pace
from edge_agent.demo.dvr.sei import Stamp, stamp_digits

_SR_INTERVAL_S = 5.0
_AUDIO_INTERVAL_S = 0.04
_AUDIO_SAMPLES = 320  # 40 ms of 8 kHz
_PCMA_SILENCE = b"\xd5" * _AUDIO_SAMPLES


@dataclass(slots=True)
class Track:
    """Sender state of one RTP stream; `channel` is its interleaved RTP channel, RTCP goes on the next."""

    channel: int
    ssrc: int
    sequence: int
    packets: int = 0
    octets: int = 0


def new_track(channel: int) -> Track:
    return Track(channel, random.getrandbits(32), random.getrandbits(16))


class Streamer:
    """Plays a loop endlessly with continuous timestamps. Starts at a keyframe, as after a forced one."""

    def __init__(
        self, loop: rtp.WireLoop, video: Track, audio: Track | None, now: float, pace: Pace | None = None
    ) -> None:
        """`pace` is a recorded rhythm; rates ordered as faults go before it."""
        self.loop = loop
        self._pace = pace
        self._beats = 0
        self.video = video
        self.audio = audio
        self.serial = 0
        self.rtp_time = random.getrandbits(32)  # of the next picture at first, then of the newest
        self.sent_at = 0  # index in the loop of the newest picture sent
        self._next_unit = 0
        self._ticks = float(self.rtp_time)
        self._zero = 0.0
        self._due = now
        self._next_report = now
        self._report_jumps = False
        self._audio_due = now
        self._audio_time = random.getrandbits(32)

    @property
    def due(self) -> float:
        """Monotonic time of the next frame."""
        return self._due

    def switch(self, loop: rtp.WireLoop) -> None:
        """Show another loop from its first keyframe on; RTP time goes on."""
        if loop is not self.loop:
            self.loop = loop
            self._next_unit = 0

    def reset_timestamps(self) -> None:
        """RTP time starts at zero with the next frame, as after an encoder's restart."""
        self._zero = -self._ticks

    def frame(self, now: float, wall_us: int, faults: ChannelFaults) -> bytes:
        """The bytes due now: one picture, and a sender report or audio if their time has come."""
        unit = self._advance(now, faults)
        if faults.annexb:
            source = self.loop.source
            unit = rtp.pack_unit(
                source.codec, source.units[self.sent_at], annexb=True, payload_type=self.loop.payload_type
            )
        out = self._video(unit, wall_us, faults)
        self.serial += 1
        if self.audio is not None and faults.pcma:
            out += self._audio(now)
        if now >= self._next_report and not faults.sr_absent:
            self._next_report = now + _SR_INTERVAL_S
            out += self._reports(wall_us + round(self._report_error_s(faults) * 1_000_000))
        return out

    def pause(self, now: float, faults: ChannelFaults) -> None:
        """Time passes without a picture: RTP time goes on, and the next picture sent is a keyframe."""
        self._advance(now, faults)
        self._next_unit = 0

    def _advance(self, now: float, faults: ChannelFaults) -> rtp.WireUnit:
        beat = self._beat()
        period = 1 / faults.sent_fps if faults.sent_fps else beat.period_s
        self._due += period
        if now - self._due > 1.0:  # the whole process stood still
            self._due = now + period
        self.rtp_time = round(self._ticks + self._zero + faults.rtp_shift_s * rtp.CLOCK_RATE) & 0xFFFFFFFF
        if not faults.rtp_constant:
            self._ticks += rtp.CLOCK_RATE / faults.stamped_fps if faults.stamped_fps else beat.ticks
        self.sent_at = self._next_unit
        self._next_unit += 1
        if self._next_unit == len(self.loop.units):
            self._next_unit = 1 if self.loop.source.seamless else 0
        return self.loop.units[self.sent_at]

    def _beat(self) -> Beat:
        self._beats += 1
        if self._pace is not None:
            return self._pace.beat(self._beats - 1)
        fps = float(self.loop.fps)
        return Beat(1 / fps, rtp.CLOCK_RATE / fps)

    def _video(self, unit: rtp.WireUnit, wall_us: int, faults: ChannelFaults) -> bytes:
        track = self.video
        digits = stamp_digits(Stamp(wall_us, self.serial))
        out = rtp.fill(unit, track.channel, track.sequence, self.rtp_time, track.ssrc, digits)
        track.sequence += len(unit.packets)
        track.packets += len(unit.packets)
        track.octets += unit.octets
        if faults.garbage:
            out = _spoilt(out, unit, faults.garbage)
        return _thinned(out, unit, faults.loss) if faults.loss else out

    def _audio(self, now: float) -> bytes:
        track, out = self.audio, b""
        if track is None:
            return out
        template = rtp.packet(rtp.AUDIO_PAYLOAD_TYPE, _PCMA_SILENCE)
        if now - self._audio_due > 1.0:
            self._audio_due = now
        while self._audio_due <= now:
            out += rtp.fill_packet(template, track.channel, track.sequence, self._audio_time, track.ssrc)
            track.sequence += 1
            track.packets += 1
            track.octets += _AUDIO_SAMPLES
            self._audio_time += _AUDIO_SAMPLES
            self._audio_due += _AUDIO_INTERVAL_S
        return out

    def _report_error_s(self, faults: ChannelFaults) -> float:
        self._report_jumps = not self._report_jumps
        return faults.sr_skew_s + faults.sr_jump_s * self._report_jumps

    def _reports(self, wall_us: int) -> bytes:
        video, audio = self.video, self.audio
        counted = video.packets, video.octets
        out = rtp.sender_report(video.channel + 1, video.ssrc, wall_us, self.rtp_time, *counted)
        if audio is not None and audio.packets:
            counted = audio.packets, audio.octets
            out += rtp.sender_report(audio.channel + 1, audio.ssrc, wall_us, self._audio_time, *counted)
        return out


def _thinned(out: bytes, unit: rtp.WireUnit, loss: float) -> bytes:
    """Without some of its packets: sequence numbers show the holes."""
    ends = (*unit.packets[1:], len(out))
    kept = [out[at:end] for at, end in zip(unit.packets, ends, strict=True) if random.random() >= loss]
    return b"".join(kept)


def _spoilt(out: bytes, unit: rtp.WireUnit, share: float) -> bytes:
    """Noise in some of its payloads, behind a codec's own header of a few bytes."""
    ends = (*unit.packets[1:], len(out))
    spoilt = bytearray(out)
    for at, end in zip(unit.packets, ends, strict=True):
        body = at + rtp.BEHIND_HEADERS
        if body < end and random.random() < share:
            spoilt[body:end] = random.randbytes(end - body)
    return bytes(spoilt)
