"""What a box says it has recorded, and why not the rest: the reply to `ring.coverage`, opened. Pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from edge_agent.errors import FormatError, SealError, UplinkError
from edge_agent.seal.opener import Opener, gap_of
from edge_agent.seal.record import Record, parse_record

NOT_RUNNING = "the agent did not run"
MAX_CAUSES = 3

Micros = Annotated[int, Field(ge=0, lt=2**53)]
Kind = Literal["dark", "off"]


@dataclass(frozen=True, slots=True)
class Span:
    """Recorded without a pause of more than a second. Wall time of the box, microseconds."""

    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Not recorded. `kind`: the camera was `dark`, or the agent was `off`; `cause` is for people."""

    from_us: int
    to_us: int
    kind: Kind
    cause: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Spans and gaps from `from_us` to `to_us`, each in order of time, side by side without overlap."""

    from_us: int
    to_us: int
    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...]

    def then(self, later: Coverage) -> Coverage:
        """With what follows it."""
        return Coverage(self.from_us, later.to_us, self.spans + later.spans, self.gaps + later.gaps)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    until: Micros
    spans: tuple[tuple[Micros, Micros], ...] = ()
    gaps: tuple[tuple[Micros, Micros], ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    outages: tuple[tuple[Micros, Micros | None, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Cause:
    from_us: int
    to_us: int
    kind: Kind
    text: str


def read_coverage(result: dict[str, JsonValue], from_us: int, stream: bytes, opener: Opener) -> Coverage:
    """Open a signed reply. A reason that does not open is left out; raises UplinkError for nonsense."""
    try:
        told = _Told.model_validate(result)
    except ValidationError as error:
        raise UplinkError("the reply to ring.coverage cannot be read") from error
    sealed = [c for pair in told.reasons if (c := _open(pair, stream, opener)) is not None]
    known = [_Cause(f, t if t is not None else told.until, _kind(k), text) for f, t, k, text in told.outages]
    gaps = tuple(_explain(Gap(f, t, "off", ""), sealed, known) for f, t in told.gaps)
    return Coverage(from_us, told.until, tuple(Span(*s) for s in told.spans), gaps)


def _open(pair: tuple[str, str], stream: bytes, opener: Opener) -> _Cause | None:
    try:
        key, gap = (_record(text) for text in pair)
        if key.header.stream != stream or gap.header.stream != stream:
            return None
        opener.open(key)
        since, at, reason = gap_of(opener.open_gap(gap))
    except (FormatError, SealError):
        return None
    return _Cause(since.wall_us, at.wall_us, "dark", reason)


def _record(text: str) -> Record:
    try:
        return parse_record(b64decode(text, validate=True))
    except ValueError as error:
        raise FormatError("not base64") from error


def _explain(gap: Gap, sealed: Sequence[_Cause], known: Sequence[_Cause]) -> Gap:
    """What the box sealed at the time comes first, what its ledger says after; else nobody was there."""
    said, noted = _touching(gap, sealed), _touching(gap, known)
    causes = [*said, *noted]
    dark = any(c.kind == "dark" for c in causes) and not any(c.kind == "off" for c in causes)
    texts = list(dict.fromkeys(c.text for c in causes if c.text))[:MAX_CAUSES]
    if not texts:
        texts = ["the camera sent nothing" if dark else NOT_RUNNING]
    return Gap(gap.from_us, gap.to_us, "dark" if dark else "off", "; ".join(texts))


def _touching(gap: Gap, causes: Iterable[_Cause]) -> list[_Cause]:
    return [c for c in causes if c.from_us < gap.to_us and c.to_us > gap.from_us]


def _kind(word: str) -> Kind:
    return "dark" if word == "dark" else "off"
