"""How much of a picture differs from the one before, with the recorder's clock left out. Pure.

A recorder draws a clock into every picture, also into its NO VIDEO slate. Blocks that change while all others
stay exactly the same are where it is drawn: they are learnt, and then not compared any more. A live picture
never teaches: its noise changes nearly every block.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from edge_agent.capture.picture_wire import BLOCKS, COLUMNS

MOST_CLOCK = BLOCKS * 15 // 100  # blocks; a clock and a title take less, a person may take more
CLOCK_ROWS = 2  # of blocks that one line of writing may touch


@dataclass(slots=True)
class Likeness:
    """One stream's. Digests of blocks in, share of change and print out."""

    _before: tuple[int, ...] = ()
    _clock: set[int] = field(default_factory=set)
    _print: str = ""

    def compare(self, blocks: tuple[int, ...]) -> tuple[float | None, str]:
        """(share of blocks that differ, or None for the first; print, equal for equal pictures)."""
        before, self._before = self._before, blocks
        if len(before) != len(blocks):
            self._print = self._digest(blocks)
            return None, self._print
        differing = {i for i in range(len(blocks)) if blocks[i] != before[i]} - self._clock
        if differing and _is_writing(differing) and len(self._clock | differing) <= MOST_CLOCK:
            self._clock |= differing
            differing.clear()
        if differing:
            self._print = self._digest(blocks)
        return len(differing) / (len(blocks) - len(self._clock)), self._print

    def _digest(self, blocks: tuple[int, ...]) -> str:
        compared = [block for i, block in enumerate(blocks) if i not in self._clock]
        return hashlib.sha256(struct.pack(f">{len(compared)}I", *compared)).hexdigest()[:16]


def _is_writing(differing: set[int]) -> bool:
    """Few blocks in one line of the picture."""
    rows = {i // COLUMNS for i in differing}
    return len(differing) <= MOST_CLOCK // 2 and max(rows) - min(rows) < CLOCK_ROWS
