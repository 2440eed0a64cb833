"""`manifest.json` and its signature: who exported what, why, and what every file must be. Pure.

Canonical JSON: keys sorted, no spaces, UTF-8, whole numbers only; so a verifier can demand the exact bytes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

from edge_agent import __version__
from edge_agent.export.bundle import PackedFile
from edge_agent.export.rows import Row
from edge_agent.export.timeline import Clip, Hole
from edge_agent.ledger.checkpoint import Note, Signature, Signer, Verifier

FORMAT = "edge-agent-export"
VERSION = 1
STATEMENT = "recorded from live stream"
UNKNOWN = "not available"
SIGNED_TEXT = "edge-agent-export/v1"

Json = str | int | None | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Exported:
    """The act: `at_us` wall time, `by` a person, `where` the box or the command centre."""

    at_us: int
    by: str
    reason: str
    case: str
    where: str


@dataclass(frozen=True, slots=True)
class SiteFacts:
    id: str
    name: str = UNKNOWN
    kind: str = UNKNOWN
    licence: str = UNKNOWN
    address: str = UNKNOWN
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class RecorderFacts:
    """The device whose live stream was recorded, as far as it tells."""

    name: str = UNKNOWN
    make: str = UNKNOWN
    model: str = UNKNOWN
    serial: str = UNKNOWN
    mac: str = UNKNOWN
    firmware: str = UNKNOWN
    colour: str = UNKNOWN

    @staticmethod
    def told(name: str, status: Mapping[str, object]) -> RecorderFacts:
        """From the recorder's part of an agent's status."""
        parts = ("make", "model", "serial", "mac", "colour")
        return RecorderFacts(name, **{part: str(status.get(part) or UNKNOWN)[:128] for part in parts})


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """`uid` and `role` give the stream id together with the box's key (docs/format.md section 1)."""

    id: str
    uid: str
    role: str
    name: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Facts:
    exported: Exported
    site: SiteFacts
    recorder: RecorderFacts
    camera: CameraFacts


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a stretch is missing: `source` record, ledger (then `leaf` is its index), numbers or none."""

    source: str
    text: str
    leaf: int | None = None


def clip_part(clip: Clip, rows: Sequence[Row]) -> dict[str, Json]:
    picture = clip.picture
    return {
        "codec": picture.codec,
        "count": len(clip.placed),
        "file": clip.name,
        "first": clip.placed[0].row,
        "height": picture.height,
        "init": clip.init,
        "shifts": [[row, delta] for row, delta in clip.deltas(rows)],
        "ticks": clip.ticks,
        "timescale": picture.timescale,
        "width": picture.width,
    }


def gap_part(hole: Hole, cause: Cause, clips: Sequence[Clip]) -> dict[str, Json]:
    """`clip` and `at_us`: where a viewer passes it; the end of the last clip for one at the end."""
    for clip in clips:
        for piece in clip.placed:
            if piece.row == hole.row:
                at_us = piece.position * 1_000_000 // clip.picture.timescale
                return _gap(hole, cause, clip.name, at_us)
    last = clips[-1]
    return _gap(hole, cause, last.name, last.ticks * 1_000_000 // last.picture.timescale)


def _gap(hole: Hole, cause: Cause, clip: str, at_us: int) -> dict[str, Json]:
    return {
        "at_us": at_us,
        "cause": cause.text,
        "clip": clip,
        "from_us": hole.from_us,
        "leaf": cause.leaf,
        "missing": int(hole.missing),
        "source": cause.source,
        "to_us": hole.to_us,
    }


def document(
    facts: Facts,
    *,
    stream: bytes,
    keys: Mapping[str, str],
    window: tuple[int, int],
    held: tuple[int, int],
    deks: Mapping[bytes, bytes],
    clips: Sequence[Json],
    gaps: Sequence[Json],
) -> dict[str, Json]:
    """All but the list of files."""
    return {
        "asked": {"from_us": window[0], "to_us": window[1]},
        "camera": asdict(facts.camera) | {"stream": stream.hex()},
        "clips": clips,
        "epochs": [{"dek": b64encode(dek).decode(), "epoch": epoch.hex()} for epoch, dek in deks.items()],
        "exported": asdict(facts.exported) | {"software": f"edge-agent {__version__}"},
        "format": FORMAT,
        "gaps": gaps,
        "hash": "SHA-256",
        "held": {"from_us": held[0], "to_us": held[1]},
        "keys": keys,
        "recorder": asdict(facts.recorder),
        "site": asdict(facts.site),
        "statement": STATEMENT,
        "v": VERSION,
    }


def with_files(manifest: Mapping[str, Json], files: Iterable[PackedFile]) -> dict[str, Json]:
    listed: list[Json] = [{"bytes": f.size, "name": f.name, "sha256": f.sha256} for f in files]
    return {**manifest, "files": listed}


def canonical(manifest: Mapping[str, Json]) -> bytes:
    return json.dumps(manifest, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def signed(content: bytes, exporter: Verifier, signer: Signer) -> bytes:
    """`manifest.sig`: a C2SP signed note over the manifest's hash and length."""
    text = f"{SIGNED_TEXT}\n{sha256(content).hexdigest()}\n{len(content)}\n"
    return str(Note(text, (Signature(exporter.name, exporter.key_id, signer(text.encode())),))).encode()
