"""Which cameras the site has, under names that outlive restarts, renumbering and DHCP (pure, but load/save).

A camera's `uid` comes from its recorder's identity and its channel; the roster gives each uid a short id
(`cam-01`) once and keeps it for ever, because topics, footage and evidence carry it. It also remembers where
each camera was, so that recording after a restart need not wait for discovery and ONVIF.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from edge_agent import durable
from edge_agent.config import CameraEntry
from edge_agent.model import Camera, Credentials, Endpoint

NAME = "cameras.json"  # in the state directory

_CAMERAS: TypeAdapter[tuple[Camera, ...]] = TypeAdapter(tuple[Camera, ...])

_GUESSED = re.compile(r"(mac|ip):[^/]*/channel-\d+$")  # the uid of a camera found by its maker's usual URL


@dataclass(frozen=True, slots=True)
class Roster:
    """The ids given so far, as (uid, id) pairs, and the recorders' cameras as last seen (no credentials)."""

    ids: tuple[tuple[str, str], ...] = ()
    last: tuple[Camera, ...] = ()

    def id_of(self, uid: str) -> str | None:
        return dict(self.ids).get(uid)


def admit(
    roster: Roster, seen: Iterable[Camera], entries: tuple[CameraEntry, ...]
) -> tuple[Roster, tuple[Camera, ...]]:
    """Give every seen camera its id and its configured name; disabled ones are left out.

    A configured entry (recorder + channel) decides the id; else the id of last time, unless an entry claims
    it for another camera; else the channel's number if it is free, else the next free number.
    """
    ids = dict(roster.ids)
    claimed = {e.id for e in entries if e.channel is not None or e.url.get_secret_value()}
    admitted: list[Camera] = []
    for fresh in sorted(seen, key=lambda c: (c.recorder, c.channel or 0, c.uid)):
        camera = _recognised(fresh, ids, roster.last)
        entry = _entry_for(camera, entries)
        if entry is not None:
            ids[camera.uid] = entry.id
        elif ids.get(camera.uid, "") in {"", *claimed}:
            ids[camera.uid] = _free_id(camera.channel, {*ids.values(), *(e.id for e in entries)})
        if entry is None or entry.enabled:
            name = entry.name if entry and entry.name else camera.name
            admitted.append(replace(camera, id=ids[camera.uid], name=name))
    last = _merged(roster.last, admitted)
    return Roster(tuple(sorted(ids.items())), last), tuple(admitted)


def remembered(roster: Roster, credentials: Mapping[str, Credentials | None]) -> tuple[Camera, ...]:
    """The cameras of last time whose recorder is still configured, ready to be opened."""
    return tuple(
        _with_credentials(camera, credentials[camera.recorder])
        for camera in roster.last
        if camera.recorder in credentials
    )


def _recognised(camera: Camera, ids: Mapping[str, str], last: Iterable[Camera]) -> Camera:
    """The camera under the uid that its socket has already, when ONVIF was off now or then.

    Without ONVIF a recorder tells no serial number; its MAC or address and the channel must do.
    """
    if camera.uid in ids:
        return camera
    for known in last:
        same_socket = (known.recorder, known.channel) == (camera.recorder, camera.channel)
        if same_socket and (_GUESSED.match(known.uid) or _GUESSED.match(camera.uid)):
            return replace(camera, uid=known.uid)
    return camera


def _merged(last: Iterable[Camera], seen: list[Camera]) -> tuple[Camera, ...]:
    """What was seen replaces what was known; cameras by hand come from the configuration every time."""
    fresh = {c.id: _with_credentials(c, None) for c in seen if c.recorder}
    renamed = {c.uid for c in fresh.values()}
    kept = {c.id: c for c in last if c.uid not in renamed} | fresh
    return tuple(kept[name] for name in sorted(kept))


def _with_credentials(camera: Camera, credentials: Credentials | None) -> Camera:
    def given(endpoint: Endpoint | None) -> Endpoint | None:
        return replace(endpoint, credentials=credentials) if endpoint else None

    return replace(camera, main=given(camera.main), sub=given(camera.sub))


def _entry_for(camera: Camera, entries: tuple[CameraEntry, ...]) -> CameraEntry | None:
    for entry in entries:
        by_hand = entry.url.get_secret_value() and entry.id == camera.id and not camera.recorder
        by_channel = entry.channel is not None and (entry.recorder or camera.recorder, entry.channel) == (
            camera.recorder,
            camera.channel,
        )
        if by_hand or by_channel:
            return entry
    return None


def _free_id(channel: int | None, taken: set[str]) -> str:
    wanted = f"cam-{channel:02d}" if channel else "cam-01"
    number = channel or 1
    while wanted in taken:
        number += 1
        wanted = f"cam-{number:02d}"
    return wanted


def load(path: Path) -> Roster:
    """Read the roster; a missing or damaged file is an empty roster: ids are then given anew."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        ids = tuple(sorted((str(uid), str(name)) for uid, name in document["ids"].items()))
        return Roster(ids, _CAMERAS.validate_python(document.get("last", [])))
    except (OSError, ValueError, KeyError, AttributeError):
        return Roster()


def save(path: Path, roster: Roster) -> None:
    """Durable before anything is recorded under a new id. Raises OSError."""
    document = {"v": 1, "ids": dict(roster.ids), "last": _CAMERAS.dump_python(roster.last, mode="json")}
    durable.replace(path, json.dumps(document, indent=1).encode())
