"""How long a link waits before it tries again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from edge_agent.clock import ManualClock
from edge_agent.uplink.brokers import Broker
from edge_agent.uplink.link import LONGEST_PAUSE_S, SILENT_PAUSE_S, Link, LinkLost, LinkSettings
from edge_agent.uplink.mqtt import MqttConnection

BROKERS = (Broker("a.example"), Broker("b.example"))


@dataclass
class Failing:
    """A transport factory whose every connection fails alike, and the owner that hears of it."""

    lost: LinkLost
    times: int
    stop: Event = field(default_factory=Event)
    tried: list[Broker] = field(default_factory=list)

    def __call__(self, _settings: Any, broker: Broker, *_: Any) -> Any:
        self.tried.append(broker)
        return self

    def open(self) -> None:
        if len(self.tried) == self.times:
            self.stop.set()
        raise self.lost

    def close(self) -> None:
        pass

    def link_down(self, reason: str, code: int | None) -> None:
        pass


def longest_pauses(lost: LinkLost, monkeypatch: pytest.MonkeyPatch, times: int = 24) -> list[float]:
    bounds: list[float] = []

    def no_pause(_low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("random.uniform", no_pause)
    failing = Failing(lost, times)
    settings = LinkSettings(BROKERS, "pump-1", Path("ca"), Path("certificate"), Path("key"))
    Link(settings, ManualClock(), failing).serve(failing, failing.stop, lambda: None)  # type: ignore[arg-type]
    assert failing.tried == [BROKERS[n % 2] for n in range(times)]
    return bounds


def test_a_broker_that_refuses_is_asked_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = longest_pauses(LinkLost("refused"), monkeypatch)
    assert pauses[:6] == [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_line_where_nobody_answers_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(longest_pauses(LinkLost("timed out", answered=False), monkeypatch)) == SILENT_PAUSE_S


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError("timed out"), False),
        (OSError(101, "Network is unreachable"), False),
        (OSError(-2, "Name or service not known"), False),
    ],
)
def test_a_refusal_is_an_answer_and_silence_is_none(error: OSError, answered: bool) -> None:
    connection = MqttConnection.__new__(MqttConnection)
    connection._context = type("Context", (), {"wrapped": None})()
    assert connection._answered_at_all(error) is answered
