"""Which epochs are running, as the disk has them: what a new segment must begin with (I5)."""

from __future__ import annotations

from edge_agent.ring.intake import Item, StreamEnd
from edge_agent.seal.record import Kind, Record


class LiveStreams:
    """Key and init of every live stream's newest durable epoch. Ring thread only.

    A still's key record never gets here: no init record follows it.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[bytes, Record]] = {}
        self._live: dict[bytes, tuple[Record, Record]] = {}

    def follow(self, item: Item) -> None:
        """Learn from a record that has become durable, in its stream's order."""
        if isinstance(item, StreamEnd):
            self._live.pop(item.stream, None)
            self._keys.pop(item.stream, None)
            return
        header = item.header
        if header.kind is Kind.KEY:
            self._keys.setdefault(header.stream, {})[header.epoch] = item
        elif header.kind is Kind.STILL:
            self._keys.get(header.stream, {}).pop(header.epoch, None)
        elif header.kind is Kind.INIT:
            key = self._keys.pop(header.stream, {}).get(header.epoch)
            if key is not None:
                self._live[header.stream] = (key, item)

    def copies(self) -> list[Record]:
        """Verbatim, key before init, for the head of a segment; also a key whose init comes in this one."""
        begun = [key for keys in self._keys.values() for key in keys.values()]
        return [record for pair in self._live.values() for record in pair] + begun
