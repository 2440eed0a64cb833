"""When each picture was taken, by our clock, and where it stands in the media time of its file.

Pure: access units in, places out. The camera's RTP stamps give the rhythm, arrivals give the truth:

* decoding times (`dts`, 90 kHz) only grow; the offset to display comes from the order of the stamps;
* box time (`boot_ns`) only grows, is never later than the arrival, follows the least delayed packets and
  is otherwise slewed by at most 500 ppm (the manner of Moonfire NVR);
* stamps that jump are placed anew, as a discontinuity; stamps that keep jumping, stand still or run at
  another rate than pictures arrive (25 a second stamped, 21 sent) are not believed any more: from then
  on arrivals set the pace.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture.order import DecodeOrder
from edge_agent.model import AccessUnit, Instant

NOMINAL_FRAME = 3_600  # ticks of 90 kHz; 25 pictures a second until we know better
MAX_SLEW_PPM = 500
WALL_STEP_US = 1_000_000

_TICKS_PER_S = 90_000
_AHEAD_NS = 2_000_000_000  # stamps that run ahead further at once are a jump
_LAG_NS = 500_000_000  # pictures that all come so much later than stamped show a wrong rate
_STEP_NS = 100_000_000  # a picture that comes so much earlier than stamped moves the anchor at once
_SLEW_OVER_NS = 10_000_000_000
_WINDOW_NS = 2_000_000_000
_WINDOW_UNITS = 8
_SETTLING_NS = 5_000_000_000  # DVRs send a buffered group of pictures first
_MEMORY_NS = 60_000_000_000
_STANDSTILL = 3  # equal stamps in a row
_MISTRUST = 3  # two wrong rates or three jumps within a minute
_JUMP, _WRONG_RATE = 1, 2


@dataclass(frozen=True, slots=True)
class Placed:
    """An access unit with its place: `dts` in media time, `offset` from it to display, `boot_ns` in ours."""

    unit: AccessUnit
    dts: int
    offset: int
    boot_ns: int
    discontinuity: bool


class Timeline:
    """Places one session's access units. `floor_ns` is the box time up to which was recorded before."""

    def __init__(self, *, frame_ticks: int = NOMINAL_FRAME, reorder: int = 0, floor_ns: int = 0) -> None:
        self.paced = False
        self.discontinuities = 0
        self._order = DecodeOrder(reorder, frame_ticks)
        self._interval = frame_ticks
        self._anchor = _Anchor()
        self._shift: int | None = None  # media time minus the camera's; None before the first unit
        self._dts = -1
        self._stamp = 0
        self._standing = 0
        self._boot_ns = floor_ns
        self._arrival_ns = 0
        self._faults: list[tuple[int, int]] = []

    def place(self, unit: AccessUnit) -> Placed:
        """The place of the next unit in decoding order, whatever its stamp."""
        arrival_ns, anew = unit.arrival_ns, False
        raw = self._begin(unit) if self._shift is None else self._order.place(unit.rtp_time)
        jumped = raw is None or self._jumped_ahead(unit)
        if raw is None or jumped:
            raw = self._order.start(unit.rtp_time)
        if self.paced or self._stands_still(unit.rtp_time):
            self.paced = True
            dts = self._pace(arrival_ns)
        elif jumped:
            dts, anew = self._place_anew(arrival_ns, _JUMP), True
        elif self._anchor.lags(arrival_ns, raw + (self._shift or 0)):
            dts, anew = self._place_anew(arrival_ns, _WRONG_RATE), True
        else:
            dts = raw + (self._shift or 0)
        return self._note(unit, raw, max(dts, self._dts + 1), anew)

    def _begin(self, unit: AccessUnit) -> int:
        raw = self._order.start(unit.rtp_time)
        self._shift = -raw
        self._stamp = unit.rtp_time - 1
        self._anchor.begin(unit.arrival_ns)
        self._arrival_ns = unit.arrival_ns
        return raw

    def _stands_still(self, stamp: int) -> bool:
        self._standing = self._standing + 1 if stamp == self._stamp else 0
        return self._standing >= _STANDSTILL

    def _jumped_ahead(self, unit: AccessUnit) -> bool:
        display = unit.rtp_time + (self._shift or 0)
        return self._anchor.predict(display) - unit.arrival_ns > _AHEAD_NS

    def _place_anew(self, arrival_ns: int, fault: int) -> int:
        """Go on where the arrival says, at least half a picture after the last; learn to mistrust."""
        self.discontinuities += 1
        self._faults = [f for f in self._faults if arrival_ns - f[0] < _MEMORY_NS]
        self._faults.append((arrival_ns, fault))
        self.paced = sum(weight for _, weight in self._faults) >= _MISTRUST
        return max(self._anchor.media_time(arrival_ns), self._dts + self._interval // 2)

    def _pace(self, arrival_ns: int) -> int:
        """The next picture one mean interval on, drawn gently to its arrival, at once over long pauses."""
        passed = min((arrival_ns - self._arrival_ns) * 9 // 100_000, _TICKS_PER_S)
        self._interval += (passed - self._interval) // 32
        due = self._dts + self._interval
        late = self._anchor.media_time(arrival_ns) - due
        if late > _TICKS_PER_S:
            return due + late
        half = self._interval // 2
        return due + max(-half, min(half, late // 8))

    def _note(self, unit: AccessUnit, raw: int, dts: int, anew: bool) -> Placed:
        if anew or self.paced:
            self._shift = dts - raw
        arrival_ns = unit.arrival_ns
        if not self.paced and self._anchor.leads(arrival_ns, dts):
            self._faults.append((arrival_ns, _WRONG_RATE))
            self.paced = sum(weight for _, weight in self._faults) >= _MISTRUST
        self._dts, self._stamp = dts, unit.rtp_time
        self._arrival_ns = max(arrival_ns, self._arrival_ns)
        self._boot_ns = max(min(self._anchor.predict(dts), arrival_ns), self._boot_ns + 1)
        offset = unit.rtp_time + (self._shift or 0) - dts
        return Placed(unit, dts, offset, self._boot_ns, anew)


class _Anchor:
    """Which box time media time 0 stands for: steered by the least delayed unit of each window."""

    def __init__(self) -> None:
        self._zero_ns = 0
        self._slew_ppm = 0
        self._slewed_ns = 0  # up to which arrival
        self._settled_ns = 0
        self._lead_ns = 0
        self._window_ns = 0
        self._least_ns = 0
        self._units = 0

    def begin(self, arrival_ns: int) -> None:
        self._zero_ns = self._slewed_ns = self._window_ns = arrival_ns
        self._settled_ns = arrival_ns + _SETTLING_NS

    def predict(self, media: int) -> int:
        return self._zero_ns + media * 100_000 // 9

    def media_time(self, at_ns: int) -> int:
        return (at_ns - self._zero_ns) * 9 // 100_000

    def lags(self, arrival_ns: int, media: int) -> bool:
        """Note one unit's delay; True when even the least delayed of the last window came far too late."""
        self._slew(arrival_ns)
        late, full = self._least_ns, self._units >= _WINDOW_UNITS
        over = full and arrival_ns - self._window_ns >= _WINDOW_NS
        delay_ns = arrival_ns - self.predict(media)
        self._least_ns = delay_ns if over or not self._units else min(late, delay_ns)
        self._units = 1 if over else self._units + 1
        if not over:
            return False
        self._window_ns = arrival_ns
        if late > _LAG_NS:
            self._units = 0
            return True
        self._slew_ppm = max(-MAX_SLEW_PPM, min(MAX_SLEW_PPM, late * 1_000_000 // _SLEW_OVER_NS))
        return False

    def leads(self, arrival_ns: int, media: int) -> bool:
        """Step back when a unit is here before its time; True when that adds up to a wrong rate."""
        delay_ns = arrival_ns - self.predict(media)
        if delay_ns > -_STEP_NS:
            return False
        self._zero_ns += delay_ns
        self._least_ns -= delay_ns
        if arrival_ns < self._settled_ns:
            return False
        self._lead_ns -= delay_ns
        if self._lead_ns < _LAG_NS:
            return False
        self._lead_ns = 0
        return True

    def _slew(self, arrival_ns: int) -> None:
        passed_ns = max(arrival_ns - self._slewed_ns, 0)
        self._slewed_ns += passed_ns
        self._zero_ns += passed_ns * self._slew_ppm // 1_000_000


class WallClock:
    """Wall time of box times, by an offset held for an epoch: a clock step never reorders its records."""

    def __init__(self, now: Instant) -> None:
        self._offset_us = now.wall_us - now.boot_ns // 1000
        self._trust = now.trust

    def at(self, boot_ns: int) -> Instant:
        return Instant(boot_ns // 1000 + self._offset_us, boot_ns, self._trust)

    def stepped(self, now: Instant) -> bool:
        """True when the box's clock has moved or its trust changed: reason for a new epoch."""
        moved_us = now.wall_us - now.boot_ns // 1000 - self._offset_us
        return abs(moved_us) > WALL_STEP_US or now.trust != self._trust
