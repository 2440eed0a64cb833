"""Facts of every part, in the words of the night watch."""

from __future__ import annotations

import pytest

from edge_agent.agent import senses
from edge_agent.agent.probes import PowerProbed
from edge_agent.agent.reach import HostChecked
from edge_agent.capture.device_events import DeviceEvent, EventKind
from edge_agent.capture.meter import StreamPulsed
from edge_agent.capture.pictures import KeyframeMeasured
from edge_agent.events import StreamLost, WorkerFailed
from edge_agent.health.signals import (
    DeviceSaid,
    Ended,
    HostKnocked,
    Mains,
    MainsSeen,
    PictureMeasured,
    StreamPulse,
    StreamSilent,
)
from edge_agent.host.alive import Ending, LastRun
from edge_agent.model import ClockTrust, Instant, Role, StreamKey

NOW = Instant(1_790_000_000_000_000, 100_000_000_000, ClockTrust.NTP)
KEY = StreamKey("cam-01", Role.SUB)


def test_a_pulse_tells_means_and_survives_a_stream_without_keyframes() -> None:
    pulse = senses.read(StreamPulsed(NOW, KEY, 10.04, 0, 0, 120, 60_000))
    assert pulse == StreamPulse(NOW, "cam-01", Role.SUB, 10.0, 120, 0, 0, 500)


def test_a_picture_is_of_the_moment_when_it_was_taken_on_todays_clock() -> None:
    before_a_step = Instant(1, NOW.boot_ns - 2_000_000_000)
    picture = senses.read(KeyframeMeasured(NOW, KEY, before_a_step, 90, 30, 0.2, 9, 0.3, None, "ab", b""))
    assert isinstance(picture, PictureMeasured)
    assert picture.at == Instant(NOW.wall_us - 2_000_000, NOW.boot_ns - 2_000_000_000, ClockTrust.NTP)


def test_a_loss_keeps_its_first_silence_and_the_devices_refusal() -> None:
    since = Instant(NOW.wall_us - 5_000_000, NOW.boot_ns - 5_000_000_000)
    lost = StreamLost(NOW, KEY, since, "401", 0.0, refused=True, auth=True)
    assert senses.read(lost) == StreamSilent(NOW, "cam-01", Role.SUB, since, "401", True, True)


@pytest.mark.parametrize(("kind", "told"), [(EventKind.VIDEO_LOSS, True), (EventKind.MOTION, False)])
def test_motion_says_nothing_about_sight(kind: EventKind, told: bool) -> None:
    said = senses.read(DeviceEvent(NOW, "dvr", 1, kind, active=True, initial=False, topic="x"))
    assert isinstance(said, DeviceSaid) is told


def test_a_refused_knock_is_an_answer() -> None:
    knock = senses.read(HostChecked(NOW, "192.0.2.1", 554, True, "refuses", 1, refuses=True, neighbour=True))
    assert knock == HostKnocked(NOW, "192.0.2.1", 554, True, True, "refuses", True)


@pytest.mark.parametrize(("mains", "word"), [(True, Mains.ON), (False, Mains.BATTERY), (None, Mains.UNKNOWN)])
def test_mains_is_on_off_or_unknown(mains: bool | None, word: Mains) -> None:
    assert senses.read(PowerProbed(NOW, mains, "UPS apc", 90)) == MainsSeen(NOW, word, "UPS apc", 90)


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_of_a_run_has_its_word(ending: Ending) -> None:
    started = senses.started(LastRun(ending, NOW), "ab", NOW)
    assert started.ended in Ended
    assert (started.boot, started.alive) == ("ab", NOW)


def test_what_says_nothing_of_cameras_is_no_signal() -> None:
    assert senses.read(WorkerFailed(NOW, "finder", "bug")) is None
