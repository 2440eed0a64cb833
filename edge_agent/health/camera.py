"""One camera as the night watch knows it: its streams, its pictures, what was told of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.health.decisions import Sight
from edge_agent.health.signals import CameraKnown, StreamFlows, StreamSilent
from edge_agent.health.slate import PictureSense
from edge_agent.model import Instant, Role

DARK_AFTER_S = 10.0  # reconnects, IDR gaps and RTSP timeouts are shorter; a switch-off is not
DARK_AFTER_NS = int(DARK_AFTER_S * 1e9)
RELAPSE_S = 20.0  # a slate drawn anew repeats nothing for a picture or two: that is no sight yet


@dataclass(frozen=True, slots=True)
class Silence:
    """A stream without packets: since its last one; `word` is what the client saw at its newest attempt."""

    since: Instant
    word: StreamSilent | None


@dataclass(slots=True)
class CameraWatch:
    """`told` is the newest state that became a decision; suspicion never does."""

    place: CameraKnown
    state: Sight
    since: Instant
    told: Sight
    told_since: Instant
    silences: dict[Role, Silence]
    flowing: dict[Role, StreamFlows] = field(default_factory=dict)
    sense: PictureSense = field(default_factory=PictureSense)
    incident: str = ""
    blind_since: Instant | None = None  # while packets come and show nothing
    doubted: Instant | None = None  # since then nothing proves that it is blind, nor that it sees
    explained: Instant | None = None  # until then another incident explains why it was silent

    @classmethod
    def begin(cls, place: CameraKnown) -> CameraWatch:
        """A camera nobody has seen yet: it counts as silent from now on."""
        silences = {role: Silence(place.at, None) for role in sorted(place.roles)}
        return cls(place, Sight.UNKNOWN, place.at, Sight.UNKNOWN, place.at, silences)

    @property
    def id(self) -> str:
        return self.place.camera

    @property
    def blind(self) -> bool:
        return not self.flowing or self.told is Sight.UNUSABLE

    @property
    def last_packet(self) -> Instant:
        """Of a silent camera. A camera without any stream is silent since it is known."""
        return max((s.since for s in self.silences.values()), key=_boot, default=self.place.at)

    @property
    def onset(self) -> Instant:
        """When it stopped seeing, as far as that is known."""
        if self.flowing:
            return self.blind_since or self.since
        return max(self.last_packet, self.explained or self.last_packet, key=_boot)

    @property
    def words(self) -> list[StreamSilent]:
        """What the client saw at the newest attempt of each silent stream, the newest last."""
        said = [s.word for s in self.silences.values() if s.word is not None]
        return sorted(said, key=lambda word: word.at.boot_ns)

    @property
    def reason(self) -> str:
        return "; ".join(f"{word.role.value}: {word.reason}" for word in self.words)

    def flows(self, signal: StreamFlows) -> None:
        if not self.flowing:
            self.sense.forget_pictures()  # what was seen before the silence says nothing of now
        self.flowing[signal.role] = signal
        self.explained = None
        self.silences.pop(signal.role, None)

    def sees_again(self, now: Instant) -> bool:
        """To ask while nothing proves any more that it is blind."""
        self.doubted = self.doubted or now
        return self.sense.shows_scene or now.boot_ns - self.doubted.boot_ns >= RELAPSE_S * 1e9

    def falls_silent(self, signal: StreamSilent) -> None:
        """A stream that was silent already keeps its older `since`: failed attempts do not move it."""
        before = self.silences.get(signal.role)
        self.flowing.pop(signal.role, None)
        self.silences[signal.role] = Silence(before.since if before else signal.since, signal)

    def dark_at_ns(self, awake_ns: int) -> int:
        """When this silence has lasted for long enough; what the box slept through does not count."""
        return max(self.last_packet.boot_ns, awake_ns) + DARK_AFTER_NS


def _boot(instant: Instant) -> int:
    return instant.boot_ns
