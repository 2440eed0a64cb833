"""Recorded bytes made worse: what a broken or hostile device might send."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f\xff",
    b"\x80\x00",
    b"\x00\x00\x01",
    b"\x00\x00\x03",
    b"\xff" * 8,
    b"\r\n\r\n",
    b"$",
)
_NUMBERS = (
    b"0",
    b"-1",
    b"65536",
    b"4294967296",
    b"99999999999999999999",
    b"1e309",
    b"nan",
    "٣".encode(),
    b"",
)
_NUMBER = re.compile(rb"\d+")


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four small wounds, sometimes none at all."""
    out = bytearray(data)
    for _ in range(rng.randrange(5)):
        if not out:
            break
        _WOUNDS[rng.randrange(len(_WOUNDS))](out, others, rng)
    return bytes(out)


def reordered(pieces: Sequence[bytes], others: Sequence[bytes], rng: random.Random) -> list[bytes]:
    """Pieces lost, doubled, swapped and wounded."""
    out = [mutated(p, others, rng) if rng.random() < 0.3 else p for p in pieces]
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(3):
            case 0 if out:
                del out[at % len(out)]
            case 1:
                out.insert(at, out[at % len(out)] if out else b"")
            case _ if out:
                other = rng.randrange(len(out))
                out[at % len(out)], out[other] = out[other], out[at % len(out)]
    return out


def _flip(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _overwrite(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at, edge = rng.randrange(len(out)), rng.choice(_EDGES)
    out[at : at + len(edge)] = edge


def _insert(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(out))
    out[at:at] = rng.choice(_EDGES) * rng.choice((1, 1, 1, 40))


def _cut(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(out))
    del out[at : at + rng.choice((1, 4, 64, 1 << 20))]


def _repeat(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(out))
    out[at:at] = out[at : at + rng.choice((1, 8, 128))] * rng.choice((1, 2, 20))


def _splice(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    at = rng.randrange(len(out))
    out[at:] = other[rng.randrange(len(other) + 1) :]


def _renumber(out: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """Another number where a text has one."""
    found = list(_NUMBER.finditer(out, 0, 2048))
    if found:
        chosen = rng.choice(found)
        out[chosen.start() : chosen.end()] = rng.choice(_NUMBERS)


_WOUNDS = (_flip, _flip, _overwrite, _insert, _cut, _repeat, _splice, _renumber)
