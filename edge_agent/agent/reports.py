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
from edge_agent.health.rules import Changed, Sight
from edge_agent.model import Instant, Role, StreamKey
from edge_agent.uplink.messages import CameraInfo, CameraState, timestamp

_SENTENCES = {
    Sight.UP: "is seeing",
    Sight.SUSPECT: "sends nothing; waiting",
    Sight.DARK: "stopped sending",
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

    @classmethod
    def of(cls, fact: RecorderFound | RecorderFailed) -> RecorderView:
        if isinstance(fact, RecorderFound):
            return cls(fact.recorder, fact.address, fact.make, fact.model)
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
        )
        for w in cameras
    )


def cause(watched: Watched) -> str:
    """What is known of a camera that does not see: the streams' words, and whether its host answers."""
    parts = [watched.health.reason]
    if watched.checked is not None:
        checked = watched.checked
        parts.append(f"{checked.host}:{checked.port} {checked.detail}")
    said = [words for kind, words in HINTS.items() if kind in watched.hints]
    if said:
        parts.append("the recorder says: " + ", ".join(said))
    return "; ".join(p for p in parts if p)[:512]


def change_leaf(change: Changed, watched: Watched, due: bool) -> dict[str, Any]:
    """The data of a `camera` leaf: which camera, since when, what was checked. Never a guess at who."""
    health = change.health
    leaf: dict[str, Any] = {
        "camera": health.camera,
        "state": health.state.value,
        "since": timestamp(health.since.wall_us),
        "before": change.before.value,
        "due": due,
        "text": sentence(change, watched),
    }
    if health.state is not Sight.UP:
        leaf["cause"] = cause(watched)
        leaf["hints"] = sorted(kind.value for kind in watched.hints)
        leaf["host_reachable"] = watched.checked.reachable if watched.checked else None
    else:
        leaf["before_since"] = timestamp(change.before_since.wall_us)
    return leaf


def sentence(change: Changed, watched: Watched) -> str:
    name = watched.camera.name or watched.camera.id
    again = " again" if change.health.state is Sight.UP and change.before is not Sight.UNKNOWN else ""
    return f"{name} {_SENTENCES[change.health.state]}{again}"[:256]


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
