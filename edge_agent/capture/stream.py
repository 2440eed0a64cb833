"""One session's pictures: packets in, runs of placed pictures out, cut about every 0.2 s.

Pure: no socket, no clock. A run is what becomes one fragment; who seals it decides epochs and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture import h264, h265, sdp
from edge_agent.capture.depacketize import H264Depacketizer, H265Depacketizer
from edge_agent.capture.fmp4 import CAMERA, init_segment
from edge_agent.capture.parameters import ParameterSets, PictureFormat, Rules
from edge_agent.capture.rtp import AccessUnits
from edge_agent.capture.timeline import NOMINAL_FRAME, Placed, Timeline
from edge_agent.errors import FormatError
from edge_agent.model import AccessUnit, Codec, InitSegment

TICKS_PER_S = 90_000
LARGEST_RUN = 4 * 1024 * 1024  # bytes; a record's body ends at 8 MiB
_LONGEST_HOLD = 2 * TICKS_PER_S  # a picture is not claimed to have stood longer across a hole
_START_CODE = b"\x00\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive pictures for one fragment. `init` comes with the first run and whenever it changes."""

    units: tuple[Placed, ...]
    end_dts: int
    keyframe: bool
    discontinuity: bool
    init: InitSegment | None = None
    lost_since_ns: int | None = None  # pictures before this run are missing since then


@dataclass(slots=True)
class PictureSizes:
    """Bytes of coded pictures so far, keyframes and others apart: what a slate cannot imitate."""

    keyframes: int = 0
    key_bytes: int = 0
    deltas: int = 0
    delta_bytes: int = 0

    def add(self, keyframe: bool, size: int) -> None:
        if keyframe:
            self.keyframes += 1
            self.key_bytes += size
        else:
            self.deltas += 1
            self.delta_bytes += size


class Stream:
    """Turns one session's packets into runs. Begins at a keyframe, and again after every loss."""

    def __init__(self, media: sdp.Media, *, fragment_s: float, floor_ns: int = 0, origin: str = "") -> None:
        """`origin` is told in the files when the pictures are not the camera's own bits."""
        self.codec = Codec.H264 if media.encoding == "H264" else Codec.H265
        rules = h264.RULES if self.codec is Codec.H264 else h265.RULES
        self.sets = ParameterSets(rules)
        for nal in media.parameter_sets():
            self.sets.take(nal)
        depacketizer = (
            H264Depacketizer() if self.codec is Codec.H264 else H265Depacketizer(don=media.has_don())
        )
        self.access = AccessUnits(rules, depacketizer, media.clock_rate)
        self.timeline: Timeline | None = None
        self.pictures = 0
        self.gop_ns = 0
        self.lost_since_ns: int | None = None
        self.sizes = PictureSizes()
        self.keyframe: AccessUnit | None = None
        self.keyframe_boot_ns = 0
        self._media_frame = int(TICKS_PER_S / media.framerate) if media.framerate else NOMINAL_FRAME
        self._fragment_ticks = int(fragment_s * TICKS_PER_S)
        self._floor_ns = floor_ns
        self._origin = origin
        self._begun = False
        self._format: PictureFormat | None = None
        self._init: InitSegment | None = None
        self._run: list[Placed] = []
        self._run_bytes = 0
        self._run_discontinuity = False
        self._run_lost_ns: int | None = None
        self._run_opened_ns = 0
        self._newest_ns = 0  # where the last picture stands

    def feed(self, packets: list[bytes], arrival_ns: int) -> list[Run]:
        """Take packets that arrived together; returns the runs that they completed."""
        runs: list[Run] = []
        for unit in self.access.feed(packets, arrival_ns):
            self._take(unit, runs)
        return runs

    def take(self, unit: AccessUnit) -> list[Run]:
        """As `feed`, for a picture that somebody else has put together."""
        runs: list[Run] = []
        self._take(unit, runs)
        return runs

    def flush(self, now_ns: int) -> Run | None:
        """Close a run that waits too long for its next picture: what has come must not wait to be safe."""
        if not self._run or now_ns - self._run_opened_ns < self._fragment_ticks * 100_000 // 9 * 2:
            return None
        return self.finish()

    def finish(self) -> Run | None:
        """Close the open run at its expected end."""
        return self._cut(self._expected_end()) if self._run else None

    def _take(self, unit: AccessUnit, runs: list[Run]) -> None:
        self.pictures += 1
        self._learn(unit)
        self.sizes.add(unit.keyframe, coded_bytes(self.sets.rules, unit))
        if unit.lost and self._begun:
            self._begun = False
            self.lost_since_ns = self._newest_ns
            self._append(runs, self.finish())
        if not self._begun and not self._may_begin(unit):
            return
        placed = self._place(unit)
        if self._run and (unit.keyframe or self._is_full(placed)):
            expected = self._expected_end()
            runs.append(self._cut(placed.dts if placed.dts - expected < _LONGEST_HOLD else expected))
        self._add(placed)

    def _learn(self, unit: AccessUnit) -> None:
        rules = self.sets.rules
        for nal in unit.nals:
            if rules.nal_type(nal) in rules.set_types:
                self.sets.take(nal)

    def _may_begin(self, unit: AccessUnit) -> bool:
        """A keyframe that is all there, even right behind a hole: GStreamer begins anew for each viewer."""
        return unit.keyframe and unit.whole and self.sets.complete()

    def _place(self, unit: AccessUnit) -> Placed:
        if self.timeline is None:
            picture = self.sets.format
            ticks = (picture.frame_ticks if picture else None) or self._media_frame
            reorder = (picture.reorder if picture else None) or 0
            self.timeline = Timeline(frame_ticks=ticks, reorder=reorder, floor_ns=self._floor_ns)
        placed = self.timeline.place(unit)
        if unit.keyframe:
            self._note_keyframe(unit, placed)
        return placed

    def _note_keyframe(self, unit: AccessUnit, placed: Placed) -> None:
        if self.keyframe is not None:
            self.gop_ns = placed.boot_ns - self.keyframe_boot_ns
        self.keyframe, self.keyframe_boot_ns = unit, placed.boot_ns

    def _is_full(self, placed: Placed) -> bool:
        return (
            placed.discontinuity
            or placed.dts - self._run[0].dts >= self._fragment_ticks
            or self._run_bytes >= LARGEST_RUN
        )

    def _add(self, placed: Placed) -> None:
        if not self._run:
            self._run_opened_ns = placed.unit.arrival_ns
            self._run_discontinuity = placed.discontinuity or not self._begun
            self._run_lost_ns, self.lost_since_ns = self.lost_since_ns, None
            self._begun = True
        self._newest_ns = placed.boot_ns
        self._run.append(placed)
        self._run_bytes += sum(map(len, placed.unit.nals))

    def _expected_end(self) -> int:
        """After the last picture, by the pace of this run."""
        last = self._run[-1].dts
        if len(self._run) > 1:
            return last + max((last - self._run[0].dts) // (len(self._run) - 1), 1)
        return last + self._media_frame

    def _cut(self, end_dts: int) -> Run:
        units = tuple(self._run)
        keyframe = units[0].unit.keyframe
        run = Run(
            units,
            max(end_dts, units[-1].dts + 1),
            keyframe,
            self._run_discontinuity,
            self._changed_init() if keyframe else None,
            self._run_lost_ns,
        )
        self._run = []
        self._run_bytes = 0
        self._run_discontinuity = False
        return run

    def _changed_init(self) -> InitSegment | None:
        """A new init when size or codec changed; a PPS alone changes nothing (it is in band)."""
        picture = self.sets.format
        if picture is None or (self._format is not None and _same_pictures(picture, self._format)):
            return None
        try:
            self._init = init_segment(self.sets, self._origin or CAMERA)
        except FormatError:
            return None
        self._format = picture
        return self._init

    @staticmethod
    def _append(runs: list[Run], run: Run | None) -> None:
        if run is not None:
            runs.append(run)


def coded_bytes(rules: Rules, unit: AccessUnit) -> int:
    """Of the slices alone: messages and parameter sets say nothing about the picture."""
    return sum(len(nal) for nal in unit.nals if rules.is_picture(rules.nal_type(nal)))


def annexb(sets: list[bytes], unit: AccessUnit) -> bytes:
    """A keyframe that any decoder takes: parameter sets first, start codes between."""
    inside = set(unit.nals)
    parts = [nal for nal in sets if nal not in inside]
    return b"".join(_START_CODE + nal for nal in (*parts, *unit.nals))


def _same_pictures(one: PictureFormat, other: PictureFormat) -> bool:
    return (one.codec_string, one.width, one.height, one.chroma, one.luma_bits) == (
        other.codec_string,
        other.width,
        other.height,
        other.chroma,
        other.luma_bits,
    )
