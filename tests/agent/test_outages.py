"""What the ledger says of times without footage."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.outages import BATCH, Outage, OutageKind, outages
from edge_agent.ledger import leaf
from edge_agent.model import ClockTrust, Instant
from edge_agent.uplink.messages import timestamp

S = 1_000_000
T0 = 1_790_000_000 * S


class Ledger:
    """Entries in memory, as `LedgerLog.entries` gives them."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def add(self, kind: str, at_s: float, **data: Any) -> Ledger:
        at = Instant(T0 + int(at_s * S), 0, ClockTrust.NTP)
        self.entries.append(leaf.encode(kind, data, at, bytes(16)))
        return self

    def camera(self, at_s: float, state: str, since_s: float, **more: Any) -> Ledger:
        since = timestamp(T0 + int(since_s * S))
        return self.add("camera", at_s, camera="cam-01", state=state, since=since, **more)

    def told(self, from_s: float, to_s: float, camera: str = "cam-01") -> list[Outage]:
        return outages(self.read, len(self.entries), camera, T0 + int(from_s * S), T0 + int(to_s * S))

    def read(self, first: int, count: int) -> list[bytes]:
        return self.entries[first : first + count]


def dark(from_s: float, to_s: float | None, text: str) -> Outage:
    return Outage(T0 + int(from_s * S), None if to_s is None else T0 + int(to_s * S), OutageKind.DARK, text)


def test_darkness_ends_when_the_camera_sees_again() -> None:
    ledger = Ledger().camera(10, "dark", 4, cause="no packets").camera(60, "up", 58, before="dark")
    assert ledger.told(0, 100) == [dark(4, 58, "no packets")]
    assert ledger.told(0, 100, camera="cam-02") == []
    assert ledger.told(70, 100) == []


def test_darkness_that_lasts_has_no_end() -> None:
    assert Ledger().camera(10, "dark", 4, cause="no packets").told(50, 100) == [dark(4, None, "no packets")]


def test_a_restart_names_how_the_run_before_ended() -> None:
    ledger = Ledger().add("mark", 100).add("boot", 160, before="power_lost").add("mark", 200)
    off = Outage(T0 + 100 * S, T0 + 160 * S, OutageKind.OFF, "the box lost power or was reset")
    assert ledger.told(0, 300) == [off]


def test_a_dark_camera_is_not_known_to_be_dark_while_nobody_looks() -> None:
    ledger = Ledger().camera(10, "dark", 4, cause="cut").add("mark", 20).add("boot", 90, before="killed")
    assert ledger.told(0, 100)[0] == dark(4, 20, "cut")


def test_an_outage_that_began_long_before_is_told_by_the_leaf_that_ends_it() -> None:
    ledger = Ledger().camera(1, "dark", 0, cause="cut")
    for minute in range(2 * BATCH):
        ledger.add("mark", 60 * minute + 2)
    end_s = 60 * 2 * BATCH
    since = timestamp(T0)
    ledger.camera(end_s, "up", end_s - 1, before="dark", before_since=since)
    assert ledger.told(end_s - 30, end_s + 30) == [dark(0, end_s - 1, "")]


@given(st.lists(st.binary(max_size=40) | st.just(b'{"v":1,"type":"camera"}'), max_size=20))
def test_leaves_that_cannot_be_read_are_passed_over(entries: list[bytes]) -> None:
    ledger = Ledger()
    ledger.entries = [*entries, *Ledger().camera(10, "dark", 4, cause="x").entries]
    assert ledger.told(0, 100) == [dark(4, None, "x")]
