"""What is being collected: members with names and caps, steps told as they end, and one absolute deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge_agent.capture.bundle import MAX_MEMBER, Step
from edge_agent.errors import DeviceError, EdgeAgentError

MAX_COLLECTED = 48 << 20


@dataclass(slots=True)
class Collected:
    """One run's harvest. One thread. `until` is monotonic: nothing new is asked after it."""

    until: float
    on_step: Callable[[Step], None] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    _bytes: int = 0

    def keep(self, folder: str, name: str, content: bytes) -> str:
        """The member's name; empty when there is nothing to keep or no room for it."""
        if not content or len(content) > MAX_MEMBER or self._bytes + len(content) > MAX_COLLECTED:
            return ""
        member = f"{folder}/{len(self.files) + 1:04d}-{name}"
        self.files[member] = content
        self._bytes += len(content)
        return member

    @property
    def left_s(self) -> float:
        return self.until - time.monotonic()

    def told(self, name: str, passed: bool, sentence: str, took_ms: int = 0) -> None:
        step = Step(name, passed, sentence[:1000], took_ms)
        self.steps.append(step)
        if self.on_step is not None:
            self.on_step(step)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Whatever goes wrong inside is written down as this step's sentence; what comes after goes on.

        The caller puts the sentence of success into the list.
        """
        said: list[str] = []
        began = time.monotonic()
        try:
            if self.left_s <= 0:
                raise DeviceError(name, "not asked: the time for this device was up")
            yield said
        except EdgeAgentError as error:
            self.told(name, False, str(error) or type(error).__name__, _since(began))
        else:
            self.told(name, True, "; ".join(said) or "answered", _since(began))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
