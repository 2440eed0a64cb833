"""Planned work that is announced: kept over restarts, ended early, told to the people at the box.

Who works on a box restarts it, and must not be called out for that. Main thread; a chore writes the file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge_agent import durable
from edge_agent.agent import reports
from edge_agent.health.signals import WorkAnnounced
from edge_agent.model import Instant

log = logging.getLogger(__name__)

NAME = "work.json"
MAX_FILE, MAX_KEPT = 256 * 1024, 64


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    cameras: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)]
    until_us: Annotated[int, Field(ge=0, lt=2**53)]
    reason: Annotated[str, Field(max_length=256)]
    who: Annotated[str, Field(max_length=256)]


_FILE = TypeAdapter(Annotated[list[_Kept], Field(max_length=MAX_KEPT)])


def load(directory: Path, now: Instant) -> list[WorkAnnounced]:
    """What was announced before this start and is not over. A file that cannot be read is told and left."""
    path = directory / NAME
    try:
        with path.open("rb") as file:
            kept = _FILE.validate_json(file.read(MAX_FILE))
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a list of announced work"
        log.error("%s: %s; announce planned work again", path, reason)
        return []
    works = (WorkAnnounced(now, tuple(k.cameras), k.until_us, k.reason, k.who) for k in kept)
    return [work for work in works if work.until_us > now.wall_us]


def save(directory: Path, works: Iterable[WorkAnnounced]) -> None:
    """Durable when it returns. Raises OSError."""
    newest = list(works)[-MAX_KEPT:]
    kept = [
        _Kept(cameras=list(w.cameras), until_us=w.until_us, reason=w.reason[:256], who=w.who[:256])
        for w in newest
    ]
    durable.replace(directory / NAME, _FILE.dump_json(kept))


def ended_by(works: Iterable[WorkAnnounced], cameras: tuple[str, ...]) -> list[WorkAnnounced]:
    """What an end of work at these cameras ends: the work announced for just them; without any, all of it."""
    return [work for work in works if not cameras or set(work.cameras) == set(cameras)]


def status(works: Iterable[WorkAnnounced], zone: str) -> list[dict[str, Any]]:
    """For `edge-agent status`; no cameras: all of them."""
    return [
        {
            "cameras": list(work.cameras),
            "until": reports.local_time(work.until_us, zone),
            "until_us": work.until_us,
            "reason": work.reason,
            "who": work.who,
        }
        for work in works
    ]
