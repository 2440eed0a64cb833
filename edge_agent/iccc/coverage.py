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
NOTHING_RECORDED = "nothing is recorded"
LIVE_EDGE_US = 3_000_000  # what was recorded a moment ago is not on the disk yet
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


def read_coverage(
    result: dict[str, JsonValue], from_us: int, now_us: int, stream: bytes, opener: Opener
) -> Coverage:
    """Open a signed reply, made at `now_us` by the box's clock.

    A reason that does not open is left out. Raises UplinkError for what cannot be read.
    """
    try:
        told = _Told.model_validate(result)
    except ValidationError as error:
        raise UplinkError("the reply to ring.coverage cannot be read") from error
    sealed = [c for pair in told.reasons if (c := _open(pair, stream, opener)) is not None]
    known = [_Cause(f, t if t is not None else told.until, _kind(k), text) for f, t, k, text in told.outages]
    spans = tuple(Span(*s) for s in told.spans)
    past = [Gap(f, min(t, now_us - LIVE_EDGE_US), "off", "") for f, t in told.gaps]
    gaps = tuple(_explain(gap, spans, sealed, known) for gap in past if gap.from_us < gap.to_us)
    return Coverage(from_us, told.until, spans, gaps)


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


def _explain(gap: Gap, spans: Sequence[Span], sealed: Sequence[_Cause], known: Sequence[_Cause]) -> Gap:
    """What the box sealed at the time comes first, what its ledger says after.

    Between two spans without either, nobody was there to write one. Before the first and after the last
    nothing may be concluded: older footage is evicted, and a short outage does not explain a long gap.
    """
    inner = bool(spans) and spans[0].from_us < gap.from_us and gap.to_us < spans[-1].to_us
    causes = [*_touching(gap, sealed), *_touching(gap, known)]
    if not inner and 2 * sum(_overlap_us(gap, c) for c in causes) < gap.to_us - gap.from_us:
        return Gap(gap.from_us, gap.to_us, "off", NOTHING_RECORDED)
    dark = any(c.kind == "dark" for c in causes) and not any(c.kind == "off" for c in causes)
    texts = list(dict.fromkeys(c.text for c in causes if c.text))[:MAX_CAUSES]
    if not texts:
        texts = ["the camera sent nothing" if dark else NOT_RUNNING]
    return Gap(gap.from_us, gap.to_us, "dark" if dark else "off", "; ".join(texts))


def _overlap_us(gap: Gap, cause: _Cause) -> int:
    return min(gap.to_us, cause.to_us) - max(gap.from_us, cause.from_us)


def _touching(gap: Gap, causes: Iterable[_Cause]) -> list[_Cause]:
    return [c for c in causes if c.from_us < gap.to_us and c.to_us > gap.from_us]


def _kind(word: str) -> Kind:
    return "dark" if word == "dark" else "off"
