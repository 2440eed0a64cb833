"""All retention classes behind one seam: capture hands over a record, its role picks the ring."""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.model import Role, StreamKey
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.record import Record


class Rings:
    """Capture thread only. A role without a ring is not recorded: its credit is refused."""

    def __init__(self, writers: Mapping[Role, RingWriter]) -> None:
        self._writers = dict(writers)

    def reserve(self, role: Role, size: int) -> bool:
        writer = self._writers.get(role)
        return writer is not None and writer.reserve(role, size)

    def put(self, key: StreamKey, record: Record) -> None:
        self._writers[key.role].put(key, record)

    def end_stream(self, key: StreamKey, stream_id: bytes) -> None:
        self._writers[key.role].end_stream(stream_id)
