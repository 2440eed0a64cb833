"""What a heartbeat leaves out: parts that the command centre has been told and that say nothing new. Pure.

A heartbeat may be lost with its connection, so a part that changed is told three times before it is left out,
and everything is told once again every quarter of an hour for whoever began to listen late.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.uplink.messages import ClockState, HeartbeatData, HostState, RingState

TELL_TIMES = 3
TELL_AGAIN_S = 900.0
WARMER_C = 5.0


@dataclass(slots=True)
class _Part:
    told: object = None
    times: int = 0

    def due(self, news: object) -> bool:
        """Count one telling of `news`, unless it has been told often enough."""
        if news != self.told:
            self.told, self.times = news, 0
        self.times += 1
        return self.times <= TELL_TIMES

    def tell_again(self) -> None:
        """Once, if it is no news; three tellings that are not over go on."""
        self.times = min(self.times, TELL_TIMES - 1)


@dataclass(slots=True)
class Brief:
    """One connection's memory of what was told. Not for several threads."""

    _parts: dict[str, _Part] = field(default_factory=dict)
    _all_again_s: float = float("-inf")

    def shorten(self, full: HeartbeatData, now_s: float) -> HeartbeatData:
        """`full` without the parts that are known. `now_s` is monotonic."""
        if now_s >= self._all_again_s:
            self._all_again_s = now_s + TELL_AGAIN_S
            for part in self._parts.values():
                part.tell_again()
        news: dict[str, object] = {
            "cameras": full.cameras,
            "ring": _ring_news(full.ring),
            "host": _host_news(full.host),
            "clock": _clock_news(full.clock),
        }
        known = [name for name, words in news.items() if not self._parts.setdefault(name, _Part()).due(words)]
        empty = HeartbeatData()
        return full.model_copy(update={name: getattr(empty, name) for name in known})

    def forget(self) -> None:
        """A new session: nobody has heard anything of it yet."""
        self._all_again_s = float("-inf")
        self._parts = {}


def _ring_news(ring: RingState | None) -> object:
    """Bytes and the oldest moment move all the time; faults do not, nor does there being twice as much."""
    return ring and ((ring.used_bytes >> 24).bit_length(), ring.budget_bytes, ring.dropped, ring.faults)


def _host_news(host: HostState | None) -> object:
    if host is None:
        return None
    warmth = None if host.temperature_c is None else round(host.temperature_c / WARMER_C)
    free = host.disk_free_bytes and host.disk_free_bytes.bit_length()  # halved or doubled
    return warmth, free, host.undervoltage, host.counters


def _clock_news(clock: ClockState | None) -> object:
    return clock and clock.trust
