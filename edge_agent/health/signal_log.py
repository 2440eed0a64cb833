"""The signal log: one line of JSON a signal, for a later replay. Pure.

A line is `[1, kind, after_ns, at, field, ...]`: the version, the kind of the signal, how far the watch had
watched when it came, its moment `[wall_us, boot_ns, trust]`, then its fields in the order of their class. At
most 400 bytes; announced work, with its reason and many cameras, may be longer. Equal signals give equal
bytes. A torn or hostile line is refused by itself; it never spoils its neighbours.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from enum import Enum

from edge_agent.errors import FormatError
from edge_agent.health import signals
from edge_agent.health.signals import Signal
from edge_agent.model import ClockTrust, Instant

VERSION = 1
MAX_LINE = 4096  # read; what is written is far shorter
MAX_TEXT = 64
MAX_REASON = 256  # of planned work: it comes out again in decisions
_WORK = signals.WorkAnnounced.__name__
LARGEST = 2**63 - 1

Read = Callable[[object], object]


def encode(signal: Signal, after_ns: int = 0) -> bytes:
    """One line without its end. `after_ns`: `NightWatch.now_ns` just before the signal was observed."""
    kind, names = _WRITERS[type(signal)]
    longest = MAX_REASON if kind == _WORK else MAX_TEXT
    fields = [_plain(getattr(signal, name), longest) for name in names]
    line = [VERSION, kind, after_ns, _plain(signal.at), *fields]
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode(line: bytes) -> tuple[Signal, int]:
    """A signal and its `after_ns`. Raises FormatError."""
    if len(line) > MAX_LINE:
        raise FormatError("a signal is one line of at most 4 KB")
    try:
        version, kind, after_ns, at, *fields = json.loads(line)
        if version != VERSION:
            raise FormatError(f"not a signal of version {VERSION}")
        class_, readers = _READERS[kind]
        values = [read(field) for read, field in zip(readers, fields, strict=True)]
        return class_(_instant(at), *values), int(_number(after_ns))
    except (ValueError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"not a signal: {error!r}"[:200]) from error


def _plain(value: object, longest: int = MAX_TEXT) -> object:
    if isinstance(value, Instant):
        return [value.wall_us, value.boot_ns, int(value.trust)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _clipped(value, longest)
    return value


def _clipped(text: str, longest: int) -> str:
    """As much as fits; what follows is for people, and stays in the ledger."""
    text = text.encode("utf-8", "replace").decode()
    while len(text.encode()) > longest:
        text = text[: max(longest // 4, len(text) * 3 // 4)]
    return text


def _instant(value: object) -> Instant:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("not a moment")
    wall_us, boot_ns, trust = value
    return Instant(_number(wall_us), _number(boot_ns), ClockTrust(trust))


def _number(value: object) -> int:
    if type(value) is not int or not -LARGEST <= value <= LARGEST:
        raise ValueError("not a whole number")
    return value


def _real(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(typing.cast(float, value)):
        raise ValueError("not a number")
    return float(typing.cast(float, value))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError("not a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a flag")
    return value


_SIMPLE: dict[object, Read] = {
    str: _text, int: _number, float: _real, bool: _flag, Instant: _instant
}  # fmt: skip


def _reader(hint: object) -> Read:
    """How a field of that type is read: simple values, enums, `X | None`, `tuple[X, ...]`."""
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    inner = _reader(typing.get_args(hint)[0])
    if typing.get_origin(hint) is types.UnionType:
        return lambda value: None if value is None else inner(value)

    def read_all(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError("not a list")
        return tuple(inner(item) for item in value)

    return read_all


def _kinds() -> dict[str, type[Signal]]:
    classes = [c for c in vars(signals).values() if isinstance(c, type) and issubclass(c, Signal)]
    return {class_.__name__: class_ for class_ in classes if class_ is not Signal}


def _field_names(class_: type[Signal]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(class_) if field.name != "at")


_WRITERS = {class_: (kind, _field_names(class_)) for kind, class_ in _kinds().items()}
_READERS: dict[str, tuple[Callable[..., Signal], list[Read]]] = {
    kind: (class_, [_reader(typing.get_type_hints(class_)[name]) for name in _field_names(class_)])
    for kind, class_ in _kinds().items()
}
