"""The start of a full ring of a terabyte: what it opens and reads before the first record is durable."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.model import Role
from edge_agent.ring.facts import RingOpened, RingSynced
from edge_agent.ring.layout import SegmentHeader, segment_name

SEGMENTS, SEGMENT_BYTES = 4000, 256 << 20
COUNTED = ("open", "scandir", "pread", "writev", "fdatasync", "fsync", "unlink")


@pytest.fixture
def terabyte(bench):
    """4,000 sparse segments, 1 TB as the directory shows it."""
    bench.directory.mkdir()
    for number in range(1, SEGMENTS + 1):
        path = bench.directory / segment_name(number)
        path.write_bytes(SegmentHeader(Role.MAIN, number, bytes(16), bytes(16), 0).encode())
        os.truncate(path, SEGMENT_BYTES)
    return bench


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            counted[name] += 1
            if name == "open" and str(args[0]).endswith((".ear", ".idx")):
                counted[Path(args[0]).name] += 1
            return real(*args, **more)

        return call

    for name in COUNTED:
        monkeypatch.setattr(os, name, counting(name, getattr(os, name)))
    return counted


def test_the_first_record_of_a_full_terabyte_costs_a_handful_of_calls(terabyte, calls) -> None:
    writer, camera = terabyte.writer(max_bytes=2 << 40), terabyte.channel()
    for record in camera.begin():
        writer.put(camera.key, record)
    writer.cycle()
    assert len(terabyte.ears.of(RingSynced)) == 1
    (opened,) = terabyte.ears.of(RingOpened)
    assert (opened.segments, opened.held_bytes) == (SEGMENTS, SEGMENTS * SEGMENT_BYTES)
    assert [name for name in calls if name.startswith("seg-")] == [segment_name(SEGMENTS + 1)]
    assert (calls["pread"], calls["unlink"]) == (0, 0)
    assert calls["scandir"] <= 3, "for the tips that the last run left, for its litter, for the segments"
    assert calls["fdatasync"] + calls["fsync"] <= 3, "the new file, its directory, the first batch"


def test_a_full_ring_records_first_and_evicts_beside_it(terabyte, calls) -> None:
    writer, camera = terabyte.writer(max_bytes=1 << 40), terabyte.channel()
    for record in camera.begin():
        writer.put(camera.key, record)
    writer.cycle()
    assert len(terabyte.ears.of(RingSynced)) == 1
    assert calls["unlink"] <= 2 * 16, "a bounded number before the first record"
