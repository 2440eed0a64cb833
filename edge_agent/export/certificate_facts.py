"""What a certificate says, read from an export's manifest; times in IST as the form asks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from edge_agent.errors import FormatError
from edge_agent.export.manifest import UNKNOWN, Json

IST = ZoneInfo("Asia/Kolkata")


@dataclass(frozen=True, slots=True)
class HashedFile:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Outage:
    """`start`, `end`: IST; `seconds` between them."""

    start: str
    end: str
    seconds: float
    cause: str
    source: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Texts ready to print; what is unknown reads `not available`."""

    site: str
    address: str
    licence: str
    camera: str
    recorder: str
    make_model: str
    colour: str
    serial: str
    mac: str
    firmware: str
    recorded_from: str
    recorded_to: str
    asked_from: str
    asked_to: str
    exported_at: str
    exported_at_us: int
    exported_by: str
    reason: str
    case: str
    where: str
    software: str
    box: str
    files: tuple[HashedFile, ...]
    outages: tuple[Outage, ...]

    @property
    def has_recorder(self) -> bool:
        return self.recorder != UNKNOWN


def read(manifest: Mapping[str, Json]) -> CertificateFacts:
    """Raises FormatError for a manifest that lacks what a certificate must say."""
    try:
        return _read(manifest)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise FormatError(f"certificate: the manifest cannot be read: {error!r}") from error


def ist(wall_us: int) -> str:
    """`22/11/2026 20:00:00`: 24 hours, Indian Standard Time."""
    return f"{datetime.fromtimestamp(wall_us // 1_000_000, IST):%d/%m/%Y %H:%M:%S}"


def _read(manifest: Mapping[str, Json]) -> CertificateFacts:
    site, recorder, camera = (_part(manifest, name) for name in ("site", "recorder", "camera"))
    exported, asked, held = (_part(manifest, name) for name in ("exported", "asked", "held"))
    return CertificateFacts(
        site=_joined(site, "name", "id"),
        address=_text(site, "address"),
        licence=_text(site, "licence"),
        camera=f"{_text(camera, 'name')} ({camera['id']}, {camera['role']} stream)",
        recorder=_text(recorder, "name"),
        make_model=_joined(recorder, "make", "model"),
        colour=_text(recorder, "colour"),
        serial=_text(recorder, "serial"),
        mac=_text(recorder, "mac"),
        firmware=_text(recorder, "firmware"),
        recorded_from=ist(_number(held, "from_us")),
        recorded_to=ist(_number(held, "to_us")),
        asked_from=ist(_number(asked, "from_us")),
        asked_to=ist(_number(asked, "to_us")),
        exported_at=ist(_number(exported, "at_us")),
        exported_at_us=_number(exported, "at_us"),
        exported_by=_text(exported, "by"),
        reason=_text(exported, "reason"),
        case=_text(exported, "case"),
        where={"box": "the recording box", "iccc": "the command centre"}.get(str(exported["where"]), UNKNOWN),
        software=_text(exported, "software"),
        box=str(_part(manifest, "keys").get("box") or UNKNOWN).partition("+")[0],
        files=tuple(_file(listed) for listed in _list(manifest, "files")),
        outages=tuple(_outage(gap) for gap in _list(manifest, "gaps")),
    )


def _file(listed: Mapping[str, Json]) -> HashedFile:
    return HashedFile(str(listed["name"]), _number(listed, "bytes"), str(listed["sha256"]))


def _outage(gap: Mapping[str, Json]) -> Outage:
    start, end = _number(gap, "from_us"), _number(gap, "to_us")
    source = {"record": "sealed record", "ledger": f"ledger, leaf {gap['leaf']}", "numbers": "record numbers"}
    return Outage(
        ist(start), ist(end), (end - start) / 1e6, _text(gap, "cause"),
        source.get(str(gap["source"]), UNKNOWN),
    )  # fmt: skip


def _part(manifest: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = manifest[name]
    if not isinstance(part, Mapping):
        raise TypeError(name)
    return part


def _list(manifest: Mapping[str, Json], name: str) -> Sequence[Mapping[str, Json]]:
    listed = manifest[name]
    if isinstance(listed, str | Mapping) or not isinstance(listed, Sequence):
        raise TypeError(name)
    return [part for part in listed if isinstance(part, Mapping)]


def _text(part: Mapping[str, Json], name: str) -> str:
    return str(part.get(name) or UNKNOWN)


def _joined(part: Mapping[str, Json], *names: str) -> str:
    known = [text for text in (_text(part, name) for name in names) if text != UNKNOWN]
    return ", ".join(dict.fromkeys(known)) or UNKNOWN


def _number(part: Mapping[str, Json], name: str) -> int:
    number = part[name]
    if not isinstance(number, int):
        raise TypeError(name)
    return number
