"""What is known of each site, from its believed messages: pure, one frozen value a site.

`hear` and `pass_time` return the new value and the entries for the event feed that the change deserves.
Times of the box (`since`) are its own; `heard_us` is this machine's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue, ValidationError

from edge_agent.errors import FormatError
from edge_agent.uplink.messages import (
    Birth,
    BirthData,
    CameraState,
    ClockState,
    Event,
    Heartbeat,
    HostState,
    Liveness,
    Message,
    RingState,
    State,
    timestamp,
    wall_us,
)

QUIET_AFTER_S = 190  # three heartbeats of a minute, and a little
SEEN_EVENTS = 64


@dataclass(frozen=True, slots=True)
class CameraView:
    """`state` is a word of the health rules; `since_us` when it began, by the box's clock."""

    id: str
    name: str
    state: str = "unknown"
    since_us: int | None = None
    cause: str = ""
    due: bool = True
    picture_us: int | None = None
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What the mirror keeps of the site's ledger; `cosigned` of it is proved to the box since `cosigned_us`.
    `fraud` is empty unless the site's key signed two histories."""

    kept: int
    cosigned: int
    cosigned_us: int
    fraud: str = ""


@dataclass(frozen=True, slots=True)
class SiteView:
    """`presence`: online, offline (last will or goodbye), quiet (no heartbeat), unknown."""

    id: str
    name: str = ""
    kind: str = ""
    zone: str = "UTC"
    address: str = ""
    contact: str = ""
    presence: str = "unknown"
    since_us: int | None = None
    heard_us: int | None = None
    session: str = ""
    boot: str = ""
    software: str = ""
    cameras: tuple[CameraView, ...] = ()
    ring: RingState | None = None
    host: HostState | None = None
    clock: ClockState | None = None
    ledger: LedgerView | None = None
    seen: tuple[str, ...] = ()

    def camera(self, camera_id: str) -> CameraView | None:
        return next((c for c in self.cameras if c.id == camera_id), None)


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One line of the event feed. `tone`: ok, warn, bad or none."""

    site: str
    at_us: int
    tone: str
    text: str
    detail: str = ""
    camera: str | None = None


Step = tuple[SiteView, tuple[FeedEntry, ...]]

ROUTINE = frozenset({"eviction"})  # a full ring's daily bread: several a minute would bury the rest
_TONES = {"up": "ok", "suspect": "warn", "dark": "bad", "unusable": "bad"}


def hear(site: SiteView, message: Message, now_us: int, *, retained: bool = False) -> Step:
    """Take one message. A retained one tells how things are, not that something happened now."""
    if message.id in site.seen:
        return site, ()
    site = replace(site, seen=(*site.seen[-SEEN_EVENTS + 1 :], message.id))
    if not retained:
        site = replace(site, heard_us=now_us)
    match message:
        case Birth():
            return _born(site, message, now_us, retained)
        case State():
            return _state(site, message, now_us, retained)
        case Heartbeat():
            return _heartbeat(site, message, now_us)
        case Event():
            return _event(site, message, now_us)
    return site, ()


def pass_time(site: SiteView, now_us: int) -> Step:
    """An online site that misses three heartbeats is quiet: the will may have been lost with the broker."""
    late = site.heard_us is not None and now_us - site.heard_us > QUIET_AFTER_S * 1_000_000
    if site.presence != "online" or not late:
        return site, ()
    entry = FeedEntry(site.id, now_us, "warn", "No heartbeat any more", "The connection may hang")
    return replace(site, presence="quiet", since_us=site.heard_us), (entry,)


def ledger_looked(site: SiteView, ledger: LedgerView, now_us: int) -> Step:
    """What the mirror's store says now. Fraud is shouted once."""
    if ledger == site.ledger:
        return site, ()
    known = site.ledger is not None and site.ledger.fraud
    entries: tuple[FeedEntry, ...] = ()
    if ledger.fraud and not known:
        text = "FRAUD: two boxes sign with this site's key, or its ledger was altered"
        entries = (FeedEntry(site.id, now_us, "bad", text, ledger.fraud),)
    return replace(site, ledger=ledger), entries


def picture_taken(site: SiteView, camera_id: str, taken_us: int) -> SiteView:
    cameras = _with(site, camera_id)
    return replace(
        site,
        cameras=tuple(replace(c, picture_us=taken_us) if c.id == camera_id else c for c in cameras),
    )


def cameras_listed(site: SiteView, listed: JsonValue, now_us: int) -> SiteView:
    """The result of `cameras.list`. What cannot be read is left out, and so is what is known already."""
    for told in listed if isinstance(listed, list) else ():
        since_us = told.get("since_us") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(since_us, int):
            continue
        read = {"id": told.get("id"), "state": told.get("state"), "cause": told.get("reason", "")}
        try:
            state = CameraState.model_validate(read | {"since": timestamp(since_us)})
        except ValidationError:
            continue
        camera = site.camera(state.id)
        if camera is not None and camera.since_us is None:
            site, _ = _camera(site, state, now_us)
    return site


def _born(site: SiteView, birth: Birth, now_us: int, retained: bool) -> Step:
    told = birth.data
    known = {c.id: c for c in site.cameras}
    cameras = tuple(
        replace(
            known.get(info.id, CameraView(info.id, info.id)),
            name=info.name or info.id,
            streams=tuple(sorted(role.value for role in info.streams)),
        )
        for info in told.cameras
    )
    born = replace(
        site, name=told.name or site.id, kind=told.kind.replace("_", " "), zone=told.timezone,
        address=told.address, contact=told.contact,
        session=birth.session, boot=told.boot, software=told.software, cameras=cameras,
    )  # fmt: skip
    again = site.session == birth.session
    if retained or again:
        return born, ()
    born = replace(born, presence="online", since_us=now_us)
    return born, (FeedEntry(site.id, now_us, "ok", *_birth_words(site, told)),)


def _birth_words(before: SiteView, told: BirthData) -> tuple[str, str]:
    if not before.boot:
        return "Box reported for the first time", ""
    if before.boot == told.boot:
        return "Connected again", "The box had kept running"
    if told.clean_shutdown:
        return "Box started again", "It had been shut down in an orderly way"
    alive = f", last sign of life {told.last_alive}" if told.last_alive else ""
    return "Box started again", f"It had lost power or been killed{alive}"


def _state(site: SiteView, message: State, now_us: int, retained: bool) -> Step:
    """A word of another session than the newest birth's is old news: the birth itself says more."""
    if site.session and message.session != site.session:
        return site, ()
    online = message.data.state is Liveness.ONLINE
    presence = "online" if online else "offline"
    if presence == site.presence:
        return site, ()
    if retained:  # a last will carries the time at which it was left, not that of the loss
        return replace(site, presence=presence, since_us=_moment(message.ts) if online else None), ()
    changed = replace(site, presence=presence, since_us=now_us)
    if online:
        return changed, ()
    return changed, (FeedEntry(site.id, now_us, "bad", "Site offline", message.data.cause),)


def _heartbeat(site: SiteView, message: Heartbeat, now_us: int) -> Step:
    told = message.data
    came_back = site.presence != "online"
    changed = replace(
        site,
        presence="online",
        since_us=now_us if came_back else site.since_us,
        ring=told.ring or site.ring,
        host=told.host or site.host,
        clock=told.clock or site.clock,
    )
    entries: list[FeedEntry] = []
    for camera in told.cameras:
        changed, entry = _camera(changed, camera, now_us)
        entries += entry
    return changed, tuple(entries)


def _event(site: SiteView, message: Event, now_us: int) -> Step:
    told = message.data
    if told.kind in ROUTINE:
        return site, ()
    state = told.detail.get("state")
    cause = told.detail.get("cause")
    since = told.since if told.since else told.detail.get("since")
    at_us = _moment(since) or _moment(message.ts) or now_us
    if told.camera and isinstance(state, str):
        spoken = CameraState(
            id=told.camera, state=state[:128], since=since if isinstance(since, str) else None,
            cause=cause[:512] if isinstance(cause, str) else "",
        )  # fmt: skip
        site, _ = _camera(site, spoken, now_us)
    tone = _TONES.get(state, "none") if isinstance(state, str) else "none"
    text = told.text or told.detail.get("text")
    words = text if isinstance(text, str) and text else _named(told.kind, told.detail)
    detail = cause if isinstance(cause, str) else ""
    return site, (FeedEntry(site.id, at_us, tone, words, detail, told.camera),)


def _named(kind: str, detail: Mapping[str, JsonValue]) -> str:
    """A fact that brings no sentence of its own."""
    words, key = {"work": ("Planned work:", "reason"), "hold": ("Footage is held for", "case")}.get(
        kind, ("", "")
    )
    value = detail.get(key)
    if isinstance(value, str) and value:
        return f"{words} {value[:128]}"
    return kind.replace(".", " ").replace("_", " ")


def _camera(site: SiteView, told: CameraState, now_us: int) -> Step:
    """The feed hears of it only when an event did not already say so."""
    before = site.camera(told.id)
    view = replace(
        before or CameraView(told.id, told.id),
        state=told.state, since_us=_moment(told.since), cause=told.cause, due=told.due,
    )  # fmt: skip
    cameras = tuple(view if c.id == told.id else c for c in _with(site, told.id))
    changed = replace(site, cameras=cameras)
    if before is None or before.state == told.state or "unknown" in (before.state, told.state):
        return changed, ()
    words = {
        "up": "is seeing again",
        "dark": "is not seeing",
        "suspect": "is being checked",
        "unusable": "shows no usable picture",
    }
    text = f"{view.name} {words.get(told.state, told.state)}"
    tone = _TONES.get(told.state, "none")
    return changed, (FeedEntry(site.id, view.since_us or now_us, tone, text, told.cause, told.id),)


def _with(site: SiteView, camera_id: str) -> tuple[CameraView, ...]:
    if site.camera(camera_id) is not None:
        return site.cameras
    return (*site.cameras, CameraView(camera_id, camera_id))


def _moment(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        return wall_us(text)
    except FormatError:
        return None
