"""The evidence log on a real disk: copies are verbatim, survive, give way by rule, and go when told."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from evidence_site import Site
from evidence_world import START_US, S
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError, RingError
from edge_agent.model import Role
from edge_agent.ring import evidence, hold_copy
from edge_agent.ring import hold as holds
from edge_agent.ring.evidence import EvidenceLog, Readers
from edge_agent.ring.hold import Bounds, Hold, HoldState, Stretch
from edge_agent.ring.reader import RingReader
from edge_agent.seal.record import Kind, Record
from edge_agent.seal.tips import tips_stream

GIB = 1 << 30
AFTER_US = hold_copy.AFTER_US


def log_of(site: Site, max_bytes: int = GIB, automatic_bytes: int = GIB) -> EvidenceLog:
    bounds = Bounds(max_bytes, automatic_bytes)
    return EvidenceLog(site.root / "ring" / "evidence", bounds, site.box.box.box_id, bytes(16))


def ring_of(site: Site) -> RingReader:
    return RingReader({Role.MAIN: site.root / "ring" / "main"})


def stretch(site: Site, start_s: float = 0, end_s: float = 12, case: str = "4711/2026", **more) -> Stretch:
    edges = START_US + round(start_s * S), START_US + round(end_s * S)
    return Stretch(case, "cam-01", Role.MAIN, site.box.stream, *edges, **more)


def hold(log: EvidenceLog, source: RingReader, wanted: Stretch, at_us: int = START_US) -> Hold:
    admitted = log.admit(wanted, at_us)
    list(log.copy(admitted, source, at_us))
    return log.finish(admitted)[0]


def footage(reader: RingReader | Readers, wanted: Stretch) -> list[Record]:
    return list(reader.records(wanted.stream, wanted.from_us, wanted.to_us + AFTER_US))


def test_a_hold_has_the_same_bytes_and_what_proves_them(site: Site) -> None:
    log, ring, wanted = log_of(site), ring_of(site), stretch(site, 2, 6)
    before = footage(ring, wanted)
    kept = hold(log, ring, wanted)
    shutil.rmtree(site.root / "ring" / "main")
    held = footage(log.reader(kept), wanted)
    assert [r.raw for r in held] == [r.raw for r in before[: len(held)]]
    tips = list(log.reader(kept).loose(tips_stream(site.box.box.box_id), 0, 1 << 62))
    assert [t.raw for t in tips] == [t.raw for t in site.box.tips]
    assert kept.state is HoldState.WHOLE
    assert kept.records == len(held)


def test_a_hold_ends_at_the_first_record_behind_its_end_that_a_mark_names(site: Site) -> None:
    log, wanted = log_of(site), stretch(site, 0, 5)
    held = footage(log.reader(hold(log, ring_of(site), wanted)), wanted)
    assert held[-1].header.end_us == START_US + 8 * S


def test_the_same_order_twice_is_one_hold(site: Site) -> None:
    log, ring = log_of(site), ring_of(site)
    assert hold(log, ring, stretch(site)) == hold(log, ring, stretch(site), START_US + S)
    assert len(log.held()) == 1


@pytest.mark.parametrize("batches", [1, 3, 7])
def test_a_copy_cut_off_goes_on_with_what_is_not_there_yet(
    site: Site, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold_copy, "BATCH_BYTES", 3000)
    log, ring, wanted = log_of(site), ring_of(site), stretch(site)
    before = footage(ring, wanted)
    steps = log.copy(log.admit(wanted, START_US), ring, START_US)
    for _ in range(batches):
        next(steps)
    steps.close()
    (cut,) = log.held()
    assert cut.state is HoldState.COPYING
    done = hold(log, ring, wanted)
    assert [r.raw for r in footage(log.reader(done), wanted)] == [r.raw for r in before]
    sizes = sum(p.stat().st_size for p in (site.root / "ring" / "evidence" / done.id).glob("*.ear"))
    assert sizes < 1.2 * sum(len(r.raw) for r in before + site.box.tips)


def test_what_a_crash_tore_at_the_end_of_a_copy_is_copied_again(site: Site) -> None:
    log, ring, wanted = log_of(site), ring_of(site), stretch(site)
    kept = hold(log, ring, wanted)
    (segment,) = (site.root / "ring" / "evidence" / kept.id).glob("*.ear")
    whole = segment.read_bytes()
    segment.with_suffix(".idx").unlink()
    segment.write_bytes(whole[: len(whole) * 2 // 3])
    list(log.copy(kept, ring, START_US))
    assert log.finish(kept)[0].digest == kept.digest


def test_a_time_without_footage_is_refused_and_leaves_nothing(site: Site) -> None:
    log, wanted = log_of(site), stretch(site, 1000, 1010)
    admitted = log.admit(wanted, START_US)
    list(log.copy(admitted, ring_of(site), START_US))
    with pytest.raises(RingError, match="nothing is recorded"):
        log.finish(admitted)
    shutil.rmtree(site.root / "ring" / "main")


def test_a_full_evidence_log_refuses_and_says_what_to_do(site: Site) -> None:
    log = log_of(site, max_bytes=1000)
    with pytest.raises(RingError, match=r"release a case, or raise ring\.evidence\.max_bytes"):
        hold(log, ring_of(site), stretch(site))


def test_automatic_holds_give_way_the_oldest_first_and_cases_never(site: Site) -> None:
    ring = ring_of(site)
    case = hold(log_of(site), ring, stretch(site), START_US)
    log = log_of(site, automatic_bytes=case.bytes)
    for number, (start_s, end_s) in enumerate([(0, 4), (4, 8), (8, 12)], 1):
        hold(log, ring, stretch(site, start_s, end_s, f"dark-{number}", automatic=True), START_US + number)
    kept = log.held()
    assert case.id in {known.id for known in kept}
    automatic = [known for known in kept if known.stretch.automatic]
    assert sum(known.bytes for known in automatic) < case.bytes * 1.2  # copies of the heads come on top
    names = [known.stretch.case for known in automatic]
    assert names == ["dark-1", "dark-2", "dark-3"][-len(names) :] != ["dark-1", "dark-2", "dark-3"]


def test_a_release_removes_bytes_even_when_a_crash_cut_it_off(site: Site) -> None:
    log = log_of(site)
    kept = hold(log, ring_of(site), stretch(site))
    directory = site.root / "ring" / "evidence"
    (directory / kept.id).rename(directory / f"gone-{kept.id}")
    assert log.held() == []
    log.sweep()
    assert list(directory.iterdir()) == []


def test_footage_comes_from_the_hold_once_the_ring_has_lost_it(site: Site) -> None:
    wanted = stretch(site)
    log, ring = log_of(site), ring_of(site)
    readers = Readers(ring, site.root / "ring" / "evidence")
    hold(log, ring, wanted)
    assert readers.best(wanted.stream, wanted.from_us, wanted.to_us) is ring
    before = [r.raw for r in footage(readers, wanted)]
    shutil.rmtree(site.root / "ring" / "main")
    assert [r.raw for r in footage(readers, wanted)] == before
    lists = list(
        readers.loose(tips_stream(site.box.box.box_id), wanted.stream, wanted.from_us, wanted.to_us + S)
    )
    assert all(r.header.kind is Kind.TIPS for r in lists)
    assert lists


def test_a_hold_file_that_does_not_hold_is_passed_over(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    log = log_of(site)
    kept = hold(log, ring_of(site), stretch(site))
    (site.root / "ring" / "evidence" / kept.id / evidence.FILE).write_bytes(b'{"v":1}')
    assert log.held() == []
    assert "hold.json" in caplog.text


@given(
    case=st.text(min_size=1, max_size=64), state=st.sampled_from(HoldState), automatic=st.booleans(),
    edges=st.tuples(st.integers(0, 2**53), st.integers(0, 2**53)), text=st.text(max_size=100),
)  # fmt: skip
def test_hold_json_says_the_same_when_read_back(case, state, automatic, edges, text) -> None:
    known = Hold(Stretch(case, "cam-01", Role.SUB, bytes(16), *edges, automatic), state, 5, 6, 7, "ab", text)
    assert holds.decode(holds.encode(known)) == known


@given(st.binary(max_size=200))
def test_any_bytes_are_a_hold_or_a_format_error(content: bytes) -> None:
    with pytest.raises(FormatError):
        holds.decode(content)


sizes = st.integers(0, 1000)


@given(
    held=st.lists(st.tuples(st.booleans(), sizes), max_size=12),
    need=sizes,
    cap=sizes,
    automatic=st.booleans(),
)
def test_room_is_made_by_automatic_holds_alone_and_never_beyond_the_caps(held, need, cap, automatic) -> None:
    base = Stretch("c", "cam-01", Role.MAIN, bytes(16), 0, 1)
    kept = [
        Hold(replace(base, case=str(i), automatic=auto), HoldState.WHOLE, i, 1, size)
        for i, (auto, size) in enumerate(held)
    ]
    try:
        leaving = holds.give_way(kept, replace(base, automatic=automatic), need, 1 << 40, Bounds(cap, cap))
    except RingError:
        taken = 0 if automatic else sum(h.bytes for h in kept if not h.stretch.automatic)
        assert taken + need > cap
        return
    assert all(h.stretch.automatic for h in leaving)
    assert [h.held_at_us for h in leaving] == sorted(h.held_at_us for h in leaving)
    rest = [h for h in kept if h.stretch.automatic == automatic and h not in leaving]
    assert sum(h.bytes for h in rest) + need <= cap
