"""Records cut into parts and put together, whatever a hostile sender does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError
from edge_agent.uplink import parts, ulid
from edge_agent.uplink.parts import HEADER, MAGIC, Reassembler

SESSION = b"s" * 16


@given(st.binary(min_size=1, max_size=5000), st.integers(HEADER.size + 8, 600), st.randoms())
def test_a_record_comes_together_in_any_order_and_despite_repeats(
    raw: bytes, size: int, random: object
) -> None:
    payloads = list(parts.split(raw, SESSION, 7, size))
    assert all(len(p) <= size for p in payloads)
    shuffled = payloads * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    together = Reassembler(SESSION)
    whole = [r for p in shuffled if (r := together.receive(p)) is not None]
    assert whole == [raw]


@given(st.lists(st.binary(max_size=200), max_size=60))
def test_garbage_is_refused_and_holds_no_memory(payloads: list[bytes]) -> None:
    together = Reassembler(SESSION)
    for payload in payloads:
        with pytest.raises(FormatError):
            together.receive(payload)
    assert together._held == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(1, 6), st.integers(1, 400)), max_size=150
    )
)
def test_memory_stays_bounded_under_parts_that_never_complete(sent: list[tuple[int, int, int, int]]) -> None:
    together = Reassembler(SESSION, max_bytes=2000, max_open=4)
    for record, part, count, size in sent:
        payload = HEADER.pack(MAGIC, SESSION, record, part, count) + bytes(size)
        try:
            together.receive(payload)
        except FormatError:
            continue
        finally:
            assert together._held <= 2000
            assert together._held == sum(o.size for o in together._open.values())
            assert len(together._open) <= 4


def test_parts_of_another_session_or_of_two_minds_are_refused() -> None:
    together = Reassembler(SESSION)
    with pytest.raises(FormatError, match="another session"):
        together.receive(next(parts.split(b"x" * 100, b"t" * 16, 0, 64)))
    together.receive(HEADER.pack(MAGIC, SESSION, 0, 0, 3) + b"a")
    with pytest.raises(FormatError, match="disagree"):
        together.receive(HEADER.pack(MAGIC, SESSION, 0, 1, 4) + b"b")


def test_too_small_a_part_size_is_a_bug_of_ours() -> None:
    with pytest.raises(ValueError, match="parts"):
        list(parts.split(bytes(3_000_000), SESSION, 0, 64))


@given(st.binary(min_size=16, max_size=16))
def test_a_ulid_reads_back_and_sorts_like_its_bytes(raw: bytes) -> None:
    assert ulid.to_bytes(ulid.from_bytes(raw)) == raw
    assert (ulid.from_bytes(raw) < ulid.from_bytes(b"\x7f" * 16)) == (raw < b"\x7f" * 16)


@pytest.mark.parametrize("text", ["", "8" + "0" * 25, "0" * 25 + "I", "0" * 27, "0" * 26 + "\n", "o" * 26])
def test_what_is_not_a_ulid_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        ulid.to_bytes(text)


def test_a_clock_before_1970_still_gives_an_id() -> None:
    assert ulid.new(-5).startswith("0000000000")
