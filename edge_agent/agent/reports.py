"""Builds what is told to others from what the owner knows: births, heartbeats, leaves, local status. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent.agent.cameras import HINTS, Cameras, Watched
from edge_agent.agent.finder import RecorderFailed, RecorderFound
from edge_agent.capture.ports import StreamStats
from edge_agent.health import wording
from edge_agent.health.decisions import CameraTurned, IncidentTold, Scope, Sight
from edge_agent.model import Instant, Role, StreamKey
from edge_agent.uplink.messages import CameraInfo, CameraState, timestamp

_SENTENCES = {
    Sight.UP: "is seeing",
    Sight.SUSPECT: "sends nothing; waiting",
    Sight.DARK: "stopped sending",
    Sight.UNUSABLE: "sends no usable picture",
    Sight.UNKNOWN: "is not known yet",
}


@dataclass(frozen=True, slots=True)
class RecorderView:
    """A recorder's last word."""

    name: str
    address: str
    make: str = ""
    model: str = ""
    sentence: str = ""
    serial: str = ""
    mac: str = ""

    @classmethod
    def of(cls, fact: RecorderFound | RecorderFailed) -> RecorderView:
        if isinstance(fact, RecorderFound):
            told = fact.make, fact.model
            return cls(fact.recorder, fact.address, *told, serial=fact.serial, mac=fact.mac)
        return cls(fact.recorder, fact.address, sentence=str(fact.sentence))


def camera_infos(cameras: Cameras, stream_ids: dict[StreamKey, bytes]) -> tuple[CameraInfo, ...]:
    return tuple(
        CameraInfo(
            id=w.camera.id,
            name=w.camera.name[:128],
            recorder=w.camera.recorder,
            channel=w.camera.channel,
            verified=w.camera.verified,
            streams={
                role: stream_ids[key].hex()
                for role in Role
                if (key := StreamKey(w.camera.id, role)) in stream_ids
            },
        )
        for w in cameras
    )


def camera_states(cameras: Cameras, now: Instant) -> tuple[CameraState, ...]:
    return tuple(
        CameraState(
            id=w.camera.id,
            state=w.health.state.value,
            since=timestamp(w.health.since.wall_us),
            due=cameras.due(w, now.wall_us),
            cause="" if w.health.state is Sight.UP else cause(w),
            verdict=w.cause.verdict.value if w.cause and w.health.state is not Sight.UP else "",
            incident=w.health.incident,
        )
        for w in cameras
    )


def cause(watched: Watched) -> str:
    """What is known of a camera that does not see: what it shows, or the streams' words and its host's."""
    if watched.health.state is Sight.UNUSABLE and watched.cause is not None:
        parts = [evidence.says for evidence in watched.cause.evidence]
    else:
        parts = [watched.health.reason]
        if watched.checked is not None:
            checked = watched.checked
            parts.append(f"{checked.host}:{checked.port} {checked.detail}")
    said = [words for kind, words in HINTS.items() if kind in watched.hints]
    if said:
        parts.append("the recorder says: " + ", ".join(said))
    return "; ".join(p.rstrip(".") for p in parts if p)[:512]


def why(watched: Watched) -> str:
    """The verdict for people at the box: `no_signal_slate (85 %)`; empty while the camera sees."""
    told = watched.cause
    if told is None or watched.health.state is Sight.UP:
        return ""
    return f"{told.verdict.value} ({told.confidence} %)"


def turned_leaf(turn: CameraTurned, watched: Watched, due: bool) -> dict[str, Any]:
    """The data of a `camera` leaf: which camera, since when, why as far as it is known; never who."""
    leaf: dict[str, Any] = {**turn.to_leaf(), "due": due, "text": sentence(turn, watched)}
    if turn.state is not Sight.UP:
        leaf["cause"] = cause(watched)
        leaf["hints"] = sorted(kind.value for kind in watched.hints)
        leaf["host_reachable"] = watched.checked.reachable if watched.checked else None
    return leaf


def incident_leaf(told: IncidentTold, names: dict[str, str]) -> dict[str, Any]:
    """The data of an `incident` leaf, with a sentence; `names` are what people call the cameras."""
    return {**told.to_leaf(), "text": incident_sentence(told, names)}


def sentence(turn: CameraTurned, watched: Watched) -> str:
    name = watched.camera.name or watched.camera.id
    again = " again" if turn.state is Sight.UP and turn.before is not Sight.UNKNOWN else ""
    verdict = turn.cause.verdict if turn.cause and turn.state is not Sight.UP else None
    return f"{name} {_SENTENCES[turn.state]}{again}{': ' + wording.now(verdict) if verdict else ''}"[:256]


def incident_sentence(told: IncidentTold, names: dict[str, str]) -> str:
    incident = told.incident
    verdict = incident.cause.verdict
    what = wording.now(verdict) if incident.until is None else wording.then(verdict)
    count = len(incident.cameras)
    if told.into:
        return f"{what}: part of incident {told.into}"[:256]
    over = "over: " if incident.until is not None else ""
    where = f", {incident.subject}" if incident.scope is Scope.RECORDER else ""
    listed = ", ".join(names.get(camera, camera) for camera in incident.cameras[:4])
    more = f" and {count - 4} more" if count > 4 else ""
    more += f" ({incident.again + 1} times)" if incident.again else ""
    return f"{over}{what}{where}{': ' + listed + more if count else ''}"[:256]


def status_cameras(cameras: Cameras, stats: dict[StreamKey, StreamStats], zone: str) -> list[dict[str, Any]]:
    return [
        {
            "id": w.camera.id,
            "name": w.camera.name,
            "verified": w.camera.verified,
            "recorder": w.camera.recorder,
            "channel": w.camera.channel,
            "state": w.health.state.value,
            "since": local_time(w.health.since.wall_us, zone),
            "since_us": w.health.since.wall_us,
            "reason": "" if w.health.state is Sight.UP else cause(w),
            "why": why(w),
            "incident": w.health.incident,
            "streams": {
                role.value: _stream(stats[key])
                for role in w.streams
                if (key := StreamKey(w.camera.id, role)) in stats
            },
        }
        for w in cameras
    ]


def _stream(stats: StreamStats) -> dict[str, Any]:
    return {
        "codec": stats.codec.value if stats.codec else "",
        "width": stats.width,
        "height": stats.height,
        "fps": round(stats.fps, 1),
        "kbps": round(stats.kbps),
        "gop_s": round(stats.gop_s, 2),
        "lost_packets": stats.lost_packets,
        "dropped_fragments": stats.dropped_fragments,
        "reconnects": stats.reconnects,
        "converted": stats.converted,
    }


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def local_time(wall_us: int, zone: str) -> str:
    """`2026-11-22 23:04:05 IST`, for people at the site."""
    moment = datetime.fromtimestamp(wall_us / 1e6, UTC).astimezone(ZoneInfo(zone))
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
