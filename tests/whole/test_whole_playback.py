"""Recorded footage comes back to the operator: whole, from any moment, with its gaps and their causes."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import pytest

from edge_agent.demo.dvr.sei import Stamp, parse_stamp
from edge_agent.demo.settings import SITE
from edge_agent.iccc.client import CommandRefused
from edge_agent.iccc.coverage import Coverage
from edge_agent.iccc.fmp4_view import nal_units, view_samples
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.iccc.playback import PlaybackEnd, PlaybackGap, PlaybackItem
from edge_agent.iccc.screening import PlaybackStream
from edge_agent.model import Role

pytestmark = pytest.mark.needs("mosquitto")

Soon = Callable[[Callable[[], object], float, str], None]
S = 1_000_000
WHO = {"operator": "asha", "reason": "case 4711"}


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Seen:
    """What a playback brought, by epoch."""

    epochs: list[tuple[LiveInit, list[LiveFragment]]] = field(default_factory=list)
    gaps: list[PlaybackGap] = field(default_factory=list)
    end: PlaybackEnd | None = None

    @classmethod
    def of(cls, items: Iterator[PlaybackItem]) -> Seen:
        seen = cls()
        for item in items:
            match item:
                case LiveInit():
                    seen.epochs.append((item, []))
                case LiveFragment():
                    seen.epochs[-1][1].append(item)
                case PlaybackGap():
                    seen.gaps.append(item)
                case PlaybackEnd():
                    seen.end = item
        return seen

    @property
    def fragments(self) -> list[LiveFragment]:
        return [f for _, fragments in self.epochs for f in fragments]

    def stamps(self) -> list[list[Stamp]]:
        """By epoch: what the virtual DVR wrote into each picture."""
        return [[s for f in fragments for s in stamps(f)] for _, fragments in self.epochs]

    def decoded(self) -> int:
        return sum(pictures(init.data + b"".join(f.data for f in frags)) for init, frags in self.epochs)


def stamps(fragment: LiveFragment) -> list[Stamp]:
    nals = (bytes(nal) for sample in view_samples(fragment.data) for nal in nal_units(sample.data))
    return [stamp for nal in nals if (stamp := parse_stamp(nal)) is not None]


def pictures(mp4: bytes) -> int:
    with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
        return sum(1 for _ in container.decode(video=0))


def play(watcher: Any, camera: str, from_us: int, to_us: int, speed: float | None = None) -> PlaybackStream:
    stream: PlaybackStream = watcher.client.playback(
        SITE, camera, Role.MAIN, from_us, to_us, speed=speed, **WHO
    )
    return stream


def seen(watcher: Any, camera: str, from_us: int, to_us: int, speed: float | None = None) -> Seen:
    with play(watcher, camera, from_us, to_us, speed) as stream:
        return Seen.of(iter(stream))


def coverage(watcher: Any, camera: str, from_us: int, to_us: int) -> Coverage:
    found: Coverage = watcher.client.coverage(SITE, camera, Role.MAIN, from_us, to_us, **WHO)
    return found


def recorded_for(watcher: Any, seconds: float) -> Callable[[], bool]:
    def true() -> bool:
        spans = coverage(watcher, "cam-01", now_us() - 3600 * S, now_us()).spans
        return bool(spans) and spans[-1].to_us - spans[-1].from_us > seconds * S

    return true


def segments(watcher: Any) -> int:
    return len(list((watcher.city.layout.agent / "ring" / "main").glob("*.ear")))


def test_footage_is_whole_across_a_segment_boundary(watcher: Any, soon: Soon) -> None:
    soon(recorded_for(watcher, 11), 40, "a segment of ten seconds and more, in one piece")
    assert segments(watcher) >= 2
    span = coverage(watcher, "cam-01", now_us() - 3600 * S, now_us()).spans[-1]
    found = seen(watcher, "cam-01", span.from_us, span.to_us)
    assert found.end == PlaybackEnd("end of footage", complete=True)
    assert not found.gaps
    for told in found.stamps():
        serials = [s.serial for s in told]
        assert serials == list(range(serials[0], serials[0] + len(serials)))
    count = sum(len(told) for told in found.stamps())
    assert found.decoded() == count
    assert count >= 11 * 20
    numbers = [(f.header.epoch, f.header.n) for f in found.fragments]
    assert len(set(numbers)) == len(numbers)
    assert found.fragments[-1].header.end_us > span.to_us - S


def test_playback_begins_at_the_keyframe_before_and_is_paced(watcher: Any, soon: Soon) -> None:
    soon(recorded_for(watcher, 10), 40, "10 s of footage")
    from_us = now_us() - 8 * S
    with play(watcher, "cam-01", from_us, from_us + 60 * S, speed=1.0) as stream:
        items = [item for _ in range(400) if (item := stream.next_item(0.005)) is not None]
    fragments = [i for i in items if isinstance(i, LiveFragment)]
    assert isinstance(items[0], LiveInit)
    assert fragments[0].header.keyframe
    assert fragments[0].header.wall_us <= from_us < fragments[0].header.wall_us + 5 * S
    assert fragments[-1].header.wall_us < from_us + 6 * S, "sent faster than asked for"
    assert pictures(items[0].data + b"".join(f.data for f in fragments)) > 10


def test_a_seek_goes_on_elsewhere_and_a_stop_ends_the_session(watcher: Any, soon: Soon) -> None:
    soon(recorded_for(watcher, 10), 40, "10 s of footage")
    late_us, early_us = now_us() - 4 * S, now_us() - 9 * S
    stream = play(watcher, "cam-01", late_us, late_us + 300 * S, speed=0.5)
    first = next(item for item in stream if isinstance(item, LiveFragment))
    assert first.header.end_us > late_us - 4 * S
    stream.seek(early_us, speed=4.0)
    after = [item for item in (stream.next_item(2) for _ in range(6)) if item is not None]
    assert isinstance(after[0], LiveInit)
    begun = next(item for item in after if isinstance(item, LiveFragment))
    assert begun.header.wall_us <= early_us
    assert not [item for item in after if isinstance(item, PlaybackGap)]
    stream.close()
    soon(lambda: watcher.status()["link"]["playback"] == 0, 10, "no playback at the box")
    with pytest.raises(CommandRefused, match="no_session"):
        stream.seek(late_us)


def test_a_camera_that_was_off_is_a_gap_with_its_reason(watcher: Any, soon: Soon) -> None:
    soon(recorded_for(watcher, 6), 40, "6 s of footage")
    began_us = now_us()
    watcher.city.dvr.control.set_channel(2, mode="off")
    try:
        soon(lambda: watcher.seeing() == 1, 20, "one camera dark")
    finally:
        watcher.city.dvr.control.set_channel(2, mode="on")
    watcher.wait_until_seeing(2)
    time.sleep(3)
    found = seen(watcher, "cam-02", began_us - 3 * S, now_us() - 2 * S)
    gap = max(found.gaps, key=lambda g: g.to_us - g.from_us)
    assert gap.from_us > began_us - 2 * S
    assert gap.to_us - gap.from_us > 3 * S
    assert "agent did not run" not in gap.cause
    assert found.end == PlaybackEnd("end of footage", complete=True)
    told = max(coverage(watcher, "cam-02", began_us, now_us()).gaps, key=lambda g: g.to_us - g.from_us)
    assert told.kind == "dark"
    assert told.cause.startswith(gap.cause)
    assert abs(told.from_us - gap.from_us) < S


def test_footage_goes_on_across_a_killed_agent_with_the_gap_shown(watcher: Any, soon: Soon) -> None:
    soon(recorded_for(watcher, 6), 40, "6 s of footage")
    agent, before = watcher.city.agent, watcher.client.birth(SITE)
    killed_us = now_us()
    os.kill(agent.pid, signal.SIGKILL)
    soon(lambda: not agent.running, 5, "the agent is dead")
    agent.start()
    watcher.wait_until_seeing(2)
    soon(lambda: watcher.client.birth(SITE).session != before.session, 20, "a new birth")
    time.sleep(4)
    found = seen(watcher, "cam-01", killed_us - 5 * S, now_us() - 2 * S)
    assert [gap.cause for gap in found.gaps] == ["the agent did not run"]
    assert found.gaps[0].from_us > killed_us - 2 * S, "more than the last second was lost"
    assert found.gaps[0].to_us > killed_us
    assert len(found.epochs) >= 2, "each run has its own; a clock confirmed after the start begins another"
    for told in found.stamps():
        serials = [s.serial for s in told]
        assert serials == list(range(serials[0], serials[0] + len(serials)))
    assert found.decoded() == sum(len(told) for told in found.stamps())
    told = coverage(watcher, "cam-01", killed_us - 5 * S, now_us() - 2 * S)
    assert [(g.kind, g.cause) for g in told.gaps] == [("off", "the agent was killed or crashed")]
    assert {span.from_us < killed_us for span in told.spans} == {True, False}


def test_nothing_recorded_is_said_and_ends(watcher: Any) -> None:
    long_ago = now_us() - 40 * 24 * 3600 * S
    found = seen(watcher, "cam-01", long_ago, long_ago + 60 * S)
    assert found.gaps == [PlaybackGap(long_ago, long_ago + 60 * S, "nothing is recorded")]
    assert found.end == PlaybackEnd("end of footage", complete=True)


def test_a_stream_that_is_not_recorded_is_refused(watcher: Any) -> None:
    with pytest.raises(CommandRefused, match="not_recorded"):
        watcher.client.playback(SITE, "cam-01", Role.SUB, now_us() - 60 * S, now_us(), **WHO)
