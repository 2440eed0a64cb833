"""The agent with a blindfold for its night watch: `python -m bench.blindfold CONFIG`.

SIGUSR2 ties it, SIGUSR1 takes it off. While it is on, nothing is sensed, measured, judged or noted: packet
sizes, keyframes, mains and network are not looked at, and facts pass the watch's desk by. All else goes on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from edge_agent import app
from edge_agent.agent.night import NightDesk
from edge_agent.agent.probes import Probes
from edge_agent.capture.meter import Pulse

SENSES: tuple[tuple[Any, str], ...] = (
    (Pulse, "take"),
    (NightDesk, "sense"),
    (NightDesk, "tick"),
    (Probes, "_ask_power"),
    (Probes, "_ask_net"),
    (Probes, "_watch_port"),
)


class Blindfold:
    def __init__(self) -> None:
        self._tied = False

    def tie(self, *_: object) -> None:
        self._tied = True

    def take_off(self, *_: object) -> None:
        self._tied = False

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def looks(*args: Any, **kwargs: Any) -> Any:
            return None if self._tied else function(*args, **kwargs)

        return looks


def main() -> int:
    blindfold = Blindfold()
    for owner, name in SENSES:
        setattr(owner, name, blindfold.over(getattr(owner, name)))
    signal.signal(signal.SIGUSR1, blindfold.take_off)
    signal.signal(signal.SIGUSR2, blindfold.tie)
    return app.run(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
