"""Two network namespaces, `box` and `city`, and the emulated line between them. Root only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shaper import Shape

BOX_ADDRESS, CITY_ADDRESS = "10.99.0.1", "10.99.0.2"
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Lab:
    """`box` and `city` name namespaces; the line is perfect until it is shaped."""

    box: str
    city: str
    _emulator: subprocess.Popen[str]

    def shape(self, up: Shape, down: Shape | None = None, *, nat_timeout_s: float | None = None) -> None:
        """`up` is from the box to the city; without `down` both ways are alike."""
        ways = {"up": asdict(up), "down": asdict(down or up)}
        self._order({"shape": {**ways, "nat_timeout_s": nat_timeout_s}})

    def mobile(self, rate_bps: float = 2e6, round_trip_s: float = 0.04, **more: Any) -> None:
        """A line of so much in both directions, with so long a round trip."""
        self.shape(Shape(rate_bps=rate_bps, delay_s=round_trip_s / 2, **more))

    def silence(self) -> None:
        """Everything vanishes, as behind a dead modem: half-open connections are what is left."""
        self.shape(Shape(silent=True))
        self._order({"cut": True})

    def carrier(self, up: bool) -> None:
        """Pull the box's cable, or put it back."""
        _ip("-n", self.box, "link", "set", "line", "up" if up else "down")

    def counters(self) -> dict[str, dict[str, int]]:
        """Frames, IP bytes and drops by direction since the start."""
        return self._order({"counters": True})

    def in_box(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.at(self.box, command), **more)

    def in_city(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.at(self.city, command), **more)

    @staticmethod
    def at(namespace: str, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", namespace, *command]

    def _order(self, order: dict[str, object]) -> dict[str, dict[str, int]]:
        assert self._emulator.stdin is not None
        assert self._emulator.stdout is not None
        self._emulator.stdin.write(json.dumps(order) + "\n")
        self._emulator.stdin.flush()
        answer: dict[str, dict[str, int]] = json.loads(self._emulator.stdout.readline())
        return answer


@contextmanager
def lab() -> Iterator[Lab]:
    """Build both namespaces and the line; remove everything at the end, whatever happened."""
    name = f"ea{os.getpid()}{uuid.uuid4().hex[:4]}"
    box, city = f"{name}b", f"{name}c"
    with ExitStack() as stack:
        for namespace in (box, city):
            _ip("netns", "add", namespace)
            stack.callback(_ip, "netns", "delete", namespace)
        emulator = subprocess.Popen(
            [sys.executable, str(HERE / "emulator.py"), box, city],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, emulator)
        assert emulator.stdout is not None
        if not emulator.stdout.readline():
            raise RuntimeError("the link emulator did not start; it needs root and /dev/net/tun")
        for namespace, address in ((box, BOX_ADDRESS), (city, CITY_ADDRESS)):
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "line")
            for device in ("lo", "line"):
                _ip("-n", namespace, "link", "set", device, "up")
        yield Lab(box, city, emulator)


def _end(emulator: subprocess.Popen[str]) -> None:
    try:
        emulator.communicate(timeout=5)  # the end of its input is the end of it
    except subprocess.TimeoutExpired:
        emulator.kill()
        emulator.communicate()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
