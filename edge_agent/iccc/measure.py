"""Measures live view and playback as the command centre gets them: first record, first picture, delay.

Used by the demo's report and by tests. Decodes with PyAV, which the agent's own daemon never does.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import av

from edge_agent.errors import FormatError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.fmp4_view import InitView, send_times, view_samples
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.iccc.playback import PlaybackEnd, PlaybackGap
from edge_agent.iccc.stream import LiveStream
from edge_agent.model import Role

PATIENCE_S = 10.0
PLAYED_US = 60_000_000
CAUGHT_UP_S = 0.03  # a reader that had to wait so long has nothing of the backlog left


@dataclass(frozen=True, slots=True)
class LiveMeasured:
    """Milliseconds since just before the command was sent; None where nothing came in time.

    `delays_ms`: from the virtual DVR's send time of each fragment's last picture to its arrival in clear,
    once the backlog since the last keyframe has been read.
    """

    first_record_ms: float | None
    first_picture_ms: float | None
    delays_ms: tuple[float, ...]
    codec: str
    width: int
    height: int


def measure_live(
    client: IcccClient, site: str, camera: str, role: Role = Role.SUB, *, watch_s: float = 1.0, operator: str
) -> LiveMeasured:
    """Watch the stream for `watch_s` seconds after its first picture. Raises UplinkError as `live` does."""
    with client.live(site, camera, role, operator=operator, reason="measurement") as stream:
        return _Watch(stream).run(watch_s)


@dataclass(frozen=True, slots=True)
class PlaybackMeasured:
    """`samples` came, `pictures` were decoded from them; `holes` are gaps in what was played."""

    samples: int
    pictures: int
    epochs: int
    holes: int
    complete: bool


def measure_playback(
    client: IcccClient, site: str, camera: str, role: Role, from_us: int, to_us: int, *, operator: str
) -> PlaybackMeasured:
    """Play a stretch as fast as the link gives and decode all of it. Raises UplinkError as `playback`."""
    runs: list[list[bytes]] = []
    samples = holes = 0
    complete = False
    with client.playback(
        site, camera, role, from_us, to_us, speed=None, operator=operator, reason="measurement"
    ) as stream:
        for item in stream:
            match item:
                case LiveInit():
                    runs.append([item.data])
                case LiveFragment():
                    runs[-1].append(item.data)
                    samples += len(view_samples(item.data))
                case PlaybackGap():
                    holes += 1
                case PlaybackEnd():
                    complete = item.complete
    pictures = sum(count_pictures(b"".join(run)) for run in runs)
    return PlaybackMeasured(samples, pictures, len(runs), holes, complete)


def first_playback_picture_ms(
    client: IcccClient, site: str, camera: str, role: Role, from_us: int, *, operator: str
) -> float | None:
    """From just before the command to the first decoded picture of paced playback; None after 10 s."""
    to_us = from_us + PLAYED_US
    with client.playback(
        site, camera, role, from_us, to_us, operator=operator, reason="measurement"
    ) as stream:
        head, fragments = b"", list[bytes]()
        while time.monotonic() < stream.asked_s + PATIENCE_S:
            item = stream.next_item(0.05)
            if isinstance(item, LiveInit):
                head, fragments = item.data, []
            elif isinstance(item, LiveFragment):
                fragments.append(item.data)
                if decodes(head + b"".join(fragments)):
                    return round((time.monotonic() - stream.asked_s) * 1000, 1)
            elif isinstance(item, PlaybackEnd):
                break
    return None


class _Watch:
    def __init__(self, stream: LiveStream) -> None:
        self._stream = stream
        self._asked_s = stream.asked_s
        self._init: LiveInit | None = None
        self._fragments: list[bytes] = []
        self._picture_s: float | None = None
        self._delays: list[float] = []
        self._caught_up = False

    def run(self, watch_s: float) -> LiveMeasured:
        give_up_s = time.monotonic() + 10.0 + watch_s
        until_s = give_up_s
        while (asked_s := time.monotonic()) < until_s:
            item = self._stream.next_item(0.1)
            self._caught_up |= time.monotonic() - asked_s > CAUGHT_UP_S
            if isinstance(item, LiveInit):
                self._init, self._fragments = item, []
            elif isinstance(item, LiveFragment) and self._init is not None:
                self._note(item, self._init)
                if self._picture_s is not None and until_s == give_up_s:
                    until_s = time.monotonic() + watch_s
        return self._result()

    def _note(self, fragment: LiveFragment, init: LiveInit) -> None:
        arrived_us = time.time_ns() / 1000
        sent = send_times(fragment.data, init.view.family)
        if sent and self._caught_up:
            self._delays.append((arrived_us - sent[-1][1]) / 1000)
        if self._picture_s is None:
            self._fragments.append(fragment.data)
            if decodes(init.data + b"".join(self._fragments)):
                self._picture_s = time.monotonic()

    def _result(self) -> LiveMeasured:
        first_s = self._stream.first_record_s
        view = self._init.view if self._init else None
        return LiveMeasured(
            None if first_s is None else round((first_s - self._asked_s) * 1000, 1),
            None if self._picture_s is None else round((self._picture_s - self._asked_s) * 1000, 1),
            tuple(round(d, 1) for d in self._delays),
            view.codec if view else "", view.width if view else 0, view.height if view else 0,
        )  # fmt: skip


def count_pictures(mp4: bytes) -> int:
    """How many pictures a decoder makes of init + fragments, up to the first that it cannot."""
    found = 0
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            for _ in container.decode(video=0):
                found += 1
    except av.error.FFmpegError:
        return found
    return found


def decodes(mp4: bytes) -> bool:
    """Does at least one picture come out of init + fragments?"""
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            return next(container.decode(video=0), None) is not None
    except av.error.FFmpegError:
        return False


def side_record(fragment: LiveFragment, view: InitView) -> tuple[tuple[tuple[int, float], ...], bool]:
    """((pts, send time in ms), ...) for the page, and whether the times are the DVR's own.

    A real DVR writes no send times: then the box's clock at the fragment's first sample stands in.
    """
    try:
        sent = send_times(fragment.data, view.family)
    except FormatError:
        sent = ()
    if sent:
        return tuple((pts, us / 1000) for pts, us in sent), True
    return ((fragment.header.tfdt, fragment.header.wall_us / 1000),), False
