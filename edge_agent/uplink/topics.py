"""The topic tree, version 1 (docs/protocol.md, Topics): built and parsed here and nowhere else.

The second level names the group `all` or the certificate: `{site}` for control, `{site}.av` for media, so
that a broker's ACL can bind everything below it to the certificate's common name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.config import CAMERA_ID, SITE_ID
from edge_agent.errors import FormatError
from edge_agent.model import Role
from edge_agent.uplink import ulid

ROOT = "iccc/v1"
MEDIA_SUFFIX = ".av"
GROUP = "all"
MAX_TOPIC = 256  # longest that is parsed; ours are below 150

_SITE = re.compile(SITE_ID)
_CAMERA = re.compile(CAMERA_ID)


class Up(StrEnum):
    """What the box publishes under `iccc/v1/{site}/up/`."""

    STATE = "state"
    BIRTH = "birth"
    HEARTBEAT = "heartbeat"
    EVENT = "event"
    LEDGER = "ledger"
    SNAPSHOT = "snapshot"
    REPLY = "reply"


class Down(StrEnum):
    """What the command centre publishes under `iccc/v1/{site}/dn/`."""

    COMMAND = "command"
    WITNESS = "witness"
    WANT = "want"
    LEAVES = "leaves"
    CONFIG = "config"


class MediaKind(StrEnum):
    LIVE = "live"
    PLAYBACK = "playback"
    CLIP = "clip"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """`camera` only for snapshots."""

    site: str
    leaf: Up
    camera: str | None = None


@dataclass(frozen=True, slots=True)
class DownTopic:
    site: str
    leaf: Down


@dataclass(frozen=True, slots=True)
class GroupTopic:
    group: str


@dataclass(frozen=True, slots=True)
class MediaTopic:
    """Sealed records of one viewing; `session` is a ULID."""

    site: str
    session: str
    kind: MediaKind
    camera: str
    role: Role


Topic = UpTopic | DownTopic | GroupTopic | MediaTopic


def up(site: str, leaf: Up) -> str:
    return f"{ROOT}/{_site(site)}/up/{leaf.value}"


def snapshot(site: str, camera: str) -> str:
    return f"{up(site, Up.SNAPSHOT)}/{_camera(camera)}"


def down(site: str, leaf: Down) -> str:
    return f"{ROOT}/{_site(site)}/dn/{leaf.value}"


def group_command(group: str) -> str:
    return f"{ROOT}/{GROUP}/{_camera(group)}/command"


def media(site: str, session: str, kind: MediaKind, camera: str, role: Role) -> str:
    ulid.to_bytes(session)
    return f"{ROOT}/{media_client(site)}/{session}/{kind.value}/{_camera(camera)}/{role.value}"


def media_client(site: str) -> str:
    """The media certificate's common name, which is also the client id: `{site}.av`."""
    return _site(site) + MEDIA_SUFFIX


def ingest_filter(share: str = "ingest", leaf: Up | None = None) -> str:
    """The shared subscription of the command centre's workers: everything that boxes say, or one kind."""
    return f"$share/{share}/{ROOT}/+/up/{leaf.value if leaf else '#'}"


def media_filter(site: str, session: str = "+", kind: MediaKind | None = None) -> str:
    """One subscription for all of a site's media, or for one kind: each wants a QoS of its own."""
    return f"{ROOT}/{media_client(site)}/{session}/{f'{kind.value}/#' if kind else '#'}"


def parse(topic: str) -> Topic:
    """Read a topic as it came from a broker. Raises FormatError unless it is exactly one of ours."""
    if len(topic) > MAX_TOPIC:
        raise FormatError("topic too long")
    levels = topic.split("/")
    try:
        match levels:
            case ["iccc", "v1", "all", group, "command"]:
                return GroupTopic(_camera(group))
            case ["iccc", "v1", site, "up", "snapshot", camera]:
                return UpTopic(_site(site), Up.SNAPSHOT, _camera(camera))
            case ["iccc", "v1", site, "up", leaf] if leaf != Up.SNAPSHOT:
                return UpTopic(_site(site), Up(leaf))
            case ["iccc", "v1", site, "dn", leaf]:
                return DownTopic(_site(site), Down(leaf))
            case ["iccc", "v1", client, session, kind, camera, role] if client.endswith(MEDIA_SUFFIX):
                ulid.to_bytes(session)
                site = _site(client.removesuffix(MEDIA_SUFFIX))
                return MediaTopic(site, session, MediaKind(kind), _camera(camera), Role(role))
    except ValueError as error:  # an enum that does not know the word
        raise FormatError("not a topic of protocol v1") from error
    raise FormatError("not a topic of protocol v1")


def _site(text: str) -> str:
    if not _SITE.fullmatch(text) or text == GROUP:
        raise FormatError("not a site id")
    return text


def _camera(text: str) -> str:
    if not _CAMERA.fullmatch(text):
        raise FormatError("not a camera or group name")
    return text
