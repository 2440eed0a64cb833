"""What comes from the sites, in the link's thread: who is believed, and who is told.

A believed birth is remembered, because it names the site's cameras, streams and session. Replies go to
whoever ordered, media to the stream of their session, and every fact to every listener, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from edge_agent.errors import EdgeAgentError, FormatError, UplinkError
from edge_agent.iccc.belief import Boxes, Still, StillParts, believe, open_still
from edge_agent.iccc.link import Arrived
from edge_agent.model import Role
from edge_agent.seal.opener import Opener
from edge_agent.uplink import messages, topics
from edge_agent.uplink.messages import Message, Reply
from edge_agent.uplink.topics import MediaTopic, Up, UpTopic


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that is believed."""

    site: str
    message: Message
    retained: bool


@dataclass(frozen=True, slots=True)
class StillHeard:
    site: str
    camera: str
    still: Still


@dataclass(frozen=True, slots=True)
class Disbelieved:
    """Something that came on a site's topic and is not believed; `why` is for the log and the operator."""

    site: str
    topic: str
    why: str


@dataclass(frozen=True, slots=True)
class LinkChanged:
    up: bool
    reason: str


Fact = Heard | StillHeard | Disbelieved | LinkChanged
Listener = Callable[[Fact], None]
RawListener = Callable[[UpTopic | MediaTopic, bytes], None]


class Hearing:
    """`arrived` and `link_changed`: the link's thread. The rest: any thread."""

    def __init__(
        self,
        boxes: Boxes,
        opener: Callable[[str], Opener],
        replied: Callable[[Reply], None],
        media: Callable[[str, bytes], None],
    ) -> None:
        """`opener` makes a site's, or raises SealError; `media` takes one part of a session."""
        self._boxes = boxes
        self._opener = opener
        self._replied = replied
        self._media = media
        self._lock = Lock()
        self._births: dict[str, messages.Birth] = {}
        self._stills: dict[str, StillParts] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._raw_listeners: tuple[RawListener, ...] = ()

    def listen(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def forget(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

    def listen_raw(self, listener: RawListener) -> None:
        with self._lock:
            self._raw_listeners = (*self._raw_listeners, listener)

    def birth(self, site: str) -> messages.Birth | None:
        """The newest believed birth."""
        with self._lock:
            return self._births.get(site)

    def streams(self, site: str, camera: str) -> dict[bytes, Role]:
        """What the signed birth names as the camera's streams."""
        birth = self.birth(site)
        infos = birth.data.cameras if birth else ()
        named = next((info.streams for info in infos if info.id == camera), {})
        return {bytes.fromhex(stream): role for role, stream in named.items()}

    def stream(self, site: str, camera: str, role: Role) -> bytes:
        """The only stream of which recorded footage is believed. Raises UplinkError if none is named."""
        if self.birth(site) is None:
            raise UplinkError(f"site {site} has not reported yet")
        for stream, named in self.streams(site, camera).items():
            if named is role:
                return stream
        raise UplinkError(f"{site}: {camera} has no {role.value} stream")

    def link_changed(self, up: bool, reason: str) -> None:
        self._tell(LinkChanged(up, reason))

    def arrived(self, arrived: Arrived) -> None:
        """One message of any site, whatever it holds. Raises nothing."""
        try:
            topic = topics.parse(arrived.topic)
        except FormatError as error:
            self._tell(Disbelieved("", arrived.topic, str(error)))
            return
        if isinstance(topic, UpTopic | MediaTopic):
            for raw in self._raw_listeners:
                raw(topic, arrived.payload)
        if isinstance(topic, MediaTopic):
            self._media(topic.session, arrived.payload)
        elif isinstance(topic, UpTopic):
            self._hear(topic, arrived)

    def _hear(self, topic: UpTopic, arrived: Arrived) -> None:
        try:
            if topic.leaf is Up.SNAPSHOT and topic.camera:
                self._hear_still(topic.site, topic.camera, arrived.payload)
            elif topic.leaf is not Up.LEDGER:
                self._hear_message(topic, arrived)
        except EdgeAgentError as error:
            self._tell(Disbelieved(topic.site, arrived.topic, str(error)))

    def _hear_message(self, topic: UpTopic, arrived: Arrived) -> None:
        message = believe(topic, arrived.payload, self._boxes)
        if isinstance(message, messages.Birth):
            with self._lock:
                self._births[topic.site] = message
        elif isinstance(message, Reply):
            self._replied(message)
        self._tell(Heard(topic.site, message, arrived.retained))

    def _hear_still(self, site: str, camera: str, payload: bytes) -> None:
        whole = self._stills.setdefault(site, StillParts()).receive(camera, payload)
        if whole is not None:
            self._tell(StillHeard(site, camera, open_still(whole, self._opener(site))))

    def _tell(self, fact: Fact) -> None:
        for listener in self._listeners:
            listener(fact)
