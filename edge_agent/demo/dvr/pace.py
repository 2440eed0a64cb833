"""The rhythm of a recorded stream: when each picture came and how far its timestamp went. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from edge_agent.capture.bundle_shape import Packet

_LONGEST_PAUSE_S = 2.0
_FEWEST = 8  # pictures, below which there is no rhythm to speak of


@dataclass(frozen=True, slots=True)
class Beat:
    """After one picture: seconds until the next, and ticks of RTP time."""

    period_s: float
    ticks: float


class Pace:
    """Plays the beats once, then their second half for ever: devices often begin with a burst."""

    def __init__(self, beats: tuple[Beat, ...]) -> None:
        self._beats = beats
        self._again = len(beats) // 2

    def beat(self, number: int) -> Beat:
        """The beat after picture `number` of a session, from 0."""
        if number < len(self._beats):
            return self._beats[number]
        return self._beats[self._again + (number - len(self._beats)) % (len(self._beats) - self._again)]


def pace_of(packets: tuple[Packet, ...]) -> Pace | None:
    """None when too few pictures came, or all at once."""
    pictures = _pictures(packets)
    beats = tuple(
        Beat(min(max(after[0] - before[0], 0) / 1e6, _LONGEST_PAUSE_S), after[1])
        for before, after in pairwise(pictures)
    )
    half = beats[len(beats) // 2 :]
    if len(beats) < _FEWEST or sum(beat.period_s for beat in half) < len(half) / 240:
        return None
    return Pace(beats)


def _pictures(packets: tuple[Packet, ...]) -> list[tuple[int, int]]:
    """Arrival of each picture's first packet, and its timestamp's distance from the picture before.

    A picture begins where the timestamp moves or, with constant stamps, behind a marker.
    """
    found: list[tuple[int, int]] = []
    begun = True
    for packet in packets:
        if begun or packet.ticks:
            found.append((packet.at_us, packet.ticks))
        begun = packet.marker
    return found
