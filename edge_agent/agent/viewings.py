"""Who watches what: opens a stream that is only opened on demand, closes it after its last viewer.

Main thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.agent.clips import Clips
from edge_agent.agent.live_choice import Choice, choose
from edge_agent.errors import UplinkError
from edge_agent.model import Role, StreamKey, StreamSpec
from edge_agent.seal.keys import stream_id
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink.facts import ViewingEnded

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner


@dataclass(frozen=True, slots=True)
class Playing:
    """What a seek needs to know of its playback, and whom to tell when it is over."""

    stream: bytes
    lease: str
    to_us: int
    speed: float | None
    over: Callable[[ViewingEnded], None]


class Viewings:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._live: dict[str, StreamKey] = {}
        self._playing: dict[str, Playing] = {}
        self._opened: set[StreamKey] = set()
        self.clips = Clips(owner)

    def choose(self, key: StreamKey) -> Choice:
        """The stream to serve to who asks for `key`: another one if that could show no picture soon."""
        parts, watched = self._owner.parts, self._owner.cameras.get(key.camera)
        return choose(
            key.role,
            held=parts.capture.tap(key).holds_group,
            stats=parts.capture.stats().get(key),
            has_sub=watched is not None and watched.camera.sub is not None,
            now=parts.clock.now(),
        )

    def smaller(self, key: StreamKey) -> Tap[Record] | None:
        """The camera's small stream, if it runs: for a line that does not carry the large one."""
        sub = StreamKey(key.camera, Role.SUB)
        runs = sub in self._owner.stream_ids and sub != key
        return self._owner.parts.capture.tap(sub) if runs else None

    def open_stream(self, key: StreamKey) -> None:
        """Make sure the stream runs. Raises UplinkError when this camera has none in that role."""
        if self._owner.parts.still_sealer is None:
            raise UplinkError("this site has no recipient to seal pictures for")
        if key in self._owner.stream_ids or key in self._opened:
            return
        watched = self._owner.cameras.get(key.camera)
        endpoint = watched.endpoint(key.role) if watched else None
        if watched is None or endpoint is None:
            raise UplinkError(f"{key.camera} has no {key.role.value} stream")
        stream = stream_id(self._owner.parts.box.box_id, watched.camera.uid, key.role)
        self._owner.parts.capture.start_stream(StreamSpec(key, endpoint, stream, record=False))
        self._opened.add(key)

    def begun(self, session: str, key: StreamKey) -> None:
        self._live[session] = key

    def playing(self, session: str, playing: Playing) -> None:
        self._playing[session] = playing

    def playback(self, session: str) -> Playing | None:
        return self._playing.get(session)

    def ended(self, fact: ViewingEnded) -> None:
        playing = self._playing.pop(fact.session, None)
        if playing is not None:
            playing.over(fact)
        key = self._live.pop(fact.session, None)
        if key in self._opened and key not in self._live.values():
            self._opened.discard(key)
            self._owner.parts.capture.stop_stream(key)
