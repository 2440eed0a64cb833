"""`manifest.json` read into frozen values; whatever is not exactly as docs/evidence.md says is refused."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TypeVar, cast

MAX_BYTES = 16 << 20
MAX_JSON_BYTES = 64 << 20

T = TypeVar("T")

_CLIP = re.compile(r"clip(-[1-9][0-9]{0,3})?\.mp4")


class Malformed(Exception):
    """The document does not follow its format; the text says where."""


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ClipPart:
    """`first`: row of the first fragment; `shifts`: (row, delta) where position - tfdt changes."""

    name: str
    codec: str
    width: int
    height: int
    timescale: int
    ticks: int
    init: int
    first: int
    count: int
    shifts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GapPart:
    from_us: int
    to_us: int
    cause: str
    source: str
    leaf: int | None
    missing: bool
    clip: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Manifest:
    camera: str
    uid: str
    role: str
    stream: bytes
    from_us: int
    to_us: int
    held: tuple[int, int]
    deks: dict[bytes, bytes]
    keys: dict[str, str]
    clips: tuple[ClipPart, ...]
    gaps: tuple[GapPart, ...]
    files: tuple[Listed, ...]
    facts: dict[str, object]


def canonical(raw: bytes, limit: int) -> dict[str, object]:
    """A JSON object in the one form that is allowed. Raises Malformed."""
    if len(raw) > limit:
        raise Malformed("it is too large")
    try:
        found = json.loads(raw)
        again = json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise Malformed("it is not JSON") from error
    if not isinstance(found, dict) or again != raw:
        raise Malformed("it is not in canonical form")
    return found


def parse(raw: bytes) -> Manifest:
    """Raises Malformed."""
    whole = canonical(raw, MAX_BYTES)
    if (whole.get("format"), whole.get("v"), whole.get("hash")) != ("edge-agent-export", 1, "SHA-256"):
        raise Malformed("it is of another format or version")
    if whole.get("statement") != "recorded from live stream":
        raise Malformed("it does not say that the footage was recorded from the live stream")
    camera, asked, held = _part(whole, "camera"), _part(whole, "asked"), _part(whole, "held")
    clips = tuple(_clip(c) for c in _list(whole, "clips"))
    if not clips:
        raise Malformed("it lists no clip")
    return Manifest(
        camera=_text(camera, "id"),
        uid=_text(camera, "uid"),
        role=_text(camera, "role"),
        stream=_hex(camera, "stream", 16),
        from_us=_number(asked, "from_us"),
        to_us=_number(asked, "to_us"),
        held=(_number(held, "from_us"), _number(held, "to_us")),
        deks={_hex(e, "epoch", 16): _base64(e, "dek", 32) for e in map(_dict, _list(whole, "epochs"))},
        keys={name: _text(_part(whole, "keys"), name) for name in _part(whole, "keys")},
        clips=clips,
        gaps=tuple(_gap(_dict(g)) for g in _list(whole, "gaps")),
        files=tuple(_listed(_dict(f)) for f in _list(whole, "files")),
        facts={name: whole.get(name) for name in ("camera", "exported", "recorder", "site", "statement")},
    )


def _clip(value: object) -> ClipPart:
    clip = _dict(value)
    shifts = [_pair(pair) for pair in _list(clip, "shifts")]
    name = _text(clip, "file")
    if not _CLIP.fullmatch(name) or not shifts or _number(clip, "timescale") < 1:
        raise Malformed("a clip is described wrongly")
    return ClipPart(
        name, _text(clip, "codec"), _number(clip, "width"), _number(clip, "height"),
        _number(clip, "timescale"), _number(clip, "ticks"), _number(clip, "init"), _number(clip, "first"),
        _number(clip, "count"), tuple(shifts),
    )  # fmt: skip


def _gap(gap: dict[str, object]) -> GapPart:
    leaf = gap.get("leaf")
    return GapPart(
        _number(gap, "from_us"), _number(gap, "to_us"), _text(gap, "cause"), _text(gap, "source"),
        None if leaf is None else _number(gap, "leaf"), bool(_number(gap, "missing")), _text(gap, "clip"),
        _number(gap, "at_us"),
    )  # fmt: skip


def _listed(listed: dict[str, object]) -> Listed:
    return Listed(_text(listed, "name"), _number(listed, "bytes"), _hex(listed, "sha256", 32).hex())


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int for v in value):
        raise Malformed("a shift is not two numbers")
    return value[0], value[1]


def _dict(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Malformed("a list holds something else than objects")
    return cast(dict[str, object], value)


def _part(parent: dict[str, object], name: str) -> dict[str, object]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"{name} is missing")
    return cast(dict[str, object], value)


def _list(parent: dict[str, object], name: str) -> list[object]:
    value = parent.get(name)
    if not isinstance(value, list):
        raise Malformed(f"{name} is missing")
    return cast(list[object], value)


def _number(parent: dict[str, object], name: str) -> int:
    value = parent.get(name)
    if type(value) is not int or abs(value) >= 1 << 63:
        raise Malformed(f"{name} is not a number")
    return value


def _text(parent: dict[str, object], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a text")
    return value


def _hex(parent: dict[str, object], name: str, size: int) -> bytes:
    text = _text(parent, name)
    if not re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", text):
        raise Malformed(f"{name} is not {size} bytes in hexadecimal digits")
    return bytes.fromhex(text)


def _base64(parent: dict[str, object], name: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(_text(parent, name), validate=True)
    except ValueError as error:
        raise Malformed(f"{name} is not base64") from error
    if len(raw) != size:
        raise Malformed(f"{name} has not {size} bytes")
    return raw
