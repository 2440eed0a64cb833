"""Reads the demo's ring back: how many seconds of each camera are on disk, and do they open."""

from __future__ import annotations

import json

from edge_agent.demo import settings
from edge_agent.demo.settings import Layout
from edge_agent.model import Role
from edge_agent.ring.reader import RingReader
from edge_agent.seal.keys import box_id, stream_id

FOR_EVER_US = 2**62


def recorded_seconds(layout: Layout, since_us: int = 0) -> dict[str, float]:
    """Seconds of main footage on disk by camera, from the headers of the sealed records."""
    reader = RingReader({Role.MAIN: layout.agent / "ring" / Role.MAIN.value})
    box = box_id(settings.box_public(layout))
    roster = json.loads((layout.agent / "cameras.json").read_text(encoding="utf-8"))
    return {
        camera: round(
            sum(
                (span.to_us - span.from_us) / 1e6
                for span in reader.coverage(stream_id(box, uid, Role.MAIN), since_us, FOR_EVER_US)
            ),
            2,
        )
        for uid, camera in sorted(roster["ids"].items(), key=lambda item: item[1])
    }
