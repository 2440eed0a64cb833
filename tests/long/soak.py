"""Sixteen cameras for an hour beside one that is dead, one silent, one flapping and one stalling.

Twelve healthy streams, the real capture thread, sealer and ring. Passes when no healthy stream lost a second,
every record opens in order, and resident memory after the warm-up grew by 2 % at most. The recorders are
processes of their own, so that the memory measured is the agent's part alone.

    python tests/long/soak.py --minutes 8
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "field_rtsp"))

from field_box import FieldBox

from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.events import Fact, StreamLost
from edge_agent.model import Role, StreamKey
from edge_agent.ring.reader import RingReader

HEALTHY = 12
SHAPES = {"main": "640x360@25", "sub": "160x90@12", "h265": "4,8", "interface": "none"}
FLAP_S, STALL_S, SAMPLE_S, SEGMENT_S = 20.0, 45.0, 2.0, 60.0
GROWTH_ALLOWED = 0.02


class Losses:
    """An inbox that counts; it must not grow with the time."""

    def __init__(self) -> None:
        self.by_camera: dict[str, int] = {}

    def put(self, fact: Fact) -> None:
        if isinstance(fact, StreamLost):
            self.by_camera[fact.key.camera] = self.by_camera.get(fact.key.camera, 0) + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="edge-agent-soak-") as directory:
        return soak(Path(directory), minutes * 60)


def soak(directory: Path, seconds: float) -> int:
    losses = Losses()
    box = FieldBox(directory, losses, SEGMENT_S)
    with ExitStack() as stack:
        farm = stack.enter_context(dvr("farm", HEALTHY + 1, 60))
        names = enumerate(("dead", "silent", "flapping"), 61)
        sick = {name: stack.enter_context(dvr(name, 1, address)) for address, name in names}
        stack.callback(box.stop)
        for number in farm.channels:
            box.record(key("stalling" if number > HEALTHY else f"cam-{number:02d}"), farm.endpoint(number))
        for name, recorder in sick.items():
            box.record(key(name), recorder.endpoint(1))
        time.sleep(5)
        for name in ("dead", "silent"):
            sick[name].control.set_device(rtsp=name)
        sick["silent"].control.act("cut")
        from_us = box.clock.now().wall_us
        sizes = trouble(seconds, farm, sick["flapping"])
        to_us = box.clock.now().wall_us
    return judge(box, directory, from_us, to_us, sizes, losses)


def dvr(name: str, channels: int, address: int) -> VirtualDvr:
    return VirtualDvr(channels, host=f"127.0.0.{address}", serial=f"SOAK-{name}", **SHAPES)


def key(camera: str) -> StreamKey:
    return StreamKey(camera, Role.MAIN)


def trouble(seconds: float, farm: VirtualDvr, flapping: VirtualDvr) -> list[int]:
    """Keep the sick ones sick; returns resident sizes, one every two seconds."""
    sizes: list[int] = []
    process = psutil.Process()
    began = flapped = stalled = time.monotonic()
    off = False
    while (now := time.monotonic()) - began < seconds:
        if now - flapped >= FLAP_S:
            flapped, off = now, not off
            flapping.control.set_device(off=off)
        if now - stalled >= STALL_S:
            stalled = now
            farm.control.set_channel(HEALTHY + 1, mode="stall")
        sizes.append(process.memory_info().rss)
        if len(sizes) % 60 == 0:
            print(f"{(now - began) / 60:.0f} min: {sizes[-1] / 1e6:.1f} MB", flush=True)
        time.sleep(SAMPLE_S)
    return sizes


def judge(box: FieldBox, directory: Path, from_us: int, to_us: int, sizes: list[int], losses: Losses) -> int:
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    share = (cpu.ru_utime + cpu.ru_stime) / ((to_us - from_us) / 1e6)
    growth = grown(sizes)
    print(f"{sizes[-1] / 1e6:.1f} MB, grown by {growth:+.2%} after the warm-up; {share:.1%} of a core")
    print(f"sessions lost: {dict(sorted(losses.by_camera.items()))}")
    healthy = [f"cam-{number:02d}" for number in range(1, HEALTHY + 1)]
    lost_s = {camera: missing_s(box, directory, camera, from_us, to_us) for camera in healthy}
    records = sum(opened(box, directory, camera) for camera in healthy)
    flawless = not any(lost_s.values()) and not set(healthy) & set(losses.by_camera)
    print(f"{records} records of the healthy cameras open in order; seconds lost: {sum(lost_s.values()):.0f}")
    passed = flawless and growth <= GROWTH_ALLOWED
    print("passed" if passed else "FAILED")
    return not passed


def grown(sizes: list[int]) -> float:
    """The last quarter against the first one after the warm-up; medians, for segments come and go."""
    warm = sizes[max(len(sizes) // 10, min(60, len(sizes) // 3)) :]
    quarter = max(len(warm) // 4, 1)
    return statistics.median(warm[-quarter:]) / statistics.median(warm[:quarter]) - 1


def missing_s(box: FieldBox, directory: Path, camera: str, from_us: int, to_us: int) -> float:
    """Pauses of more than a second, the last three seconds aside."""
    reader = RingReader([directory / Role.MAIN.value])
    gaps = reader.gaps(box.stream(key(camera)), from_us, to_us - 3_000_000)
    return sum(gap.to_us - gap.from_us for gap in gaps) / 1e6


def opened(box: FieldBox, directory: Path, camera: str) -> int:
    """Opens every record; the opener raises at the first that is missing, altered or out of order."""
    reader, opener = RingReader([directory / Role.MAIN.value]), box.opener()
    count = 0
    for record in reader.records(box.stream(key(camera)), 0, 1 << 62):
        opener.open(record)
        count += 1
    return count


if __name__ == "__main__":
    sys.exit(main())
