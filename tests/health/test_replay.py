"""The signal log and its replay: compact lines, hostile ones refused one by one, the same decisions again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import Shop
from storyteller import Told, lines, power_off, power_on, tell, unplug
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.errors import FormatError
from edge_agent.health import signal_log
from edge_agent.health.condense import Condenser
from edge_agent.health.replay import Replay, differences, stories
from edge_agent.health.signals import (
    BoxStarted,
    DeviceSaid,
    Ended,
    HostKnocked,
    NetSeen,
    PictureMeasured,
    StreamFlows,
    StreamPulse,
    StreamSilent,
    WorkAnnounced,
)
from edge_agent.model import ClockTrust, Instant, Role

NIGHT = ((200.0, power_off), (400.0, power_on), (800.0, unplug(1)))


def at(second: float) -> Instant:
    return Instant(1_790_000_000_000_000 + int(second * 1e6), int(second * 1e9), ClockTrust.NTP)


@pytest.fixture(scope="module")
def night() -> Told:
    return tell(Shop(), NIGHT, 1500.0)


@pytest.mark.parametrize(
    "signal",
    [
        StreamSilent(at(7), "cam-01", Role.SUB, at(2), "no packets for 5 s", True, False),
        PictureMeasured(at(1), "cam-01", 46.123, 12.5, 0.0195, 17.0, 0.98, None, "a1b2"),
        HostKnocked(at(1), "10.0.0.9", 554, False, None, "does not answer"),
        BoxStarted(at(1), "0f" * 16, Ended.POWER_LOST, None),
        NetSeen(at(1), True, None, False, False),
        WorkAnnounced(at(1), ("cam-01", "cam-02"), 1_790_000_900_000_000, "new cable", "room 2"),
    ],
)
def test_a_signal_survives_its_line(signal: StreamSilent) -> None:
    line = signal_log.encode(signal, 123)
    assert signal_log.decode(line) == (signal, 123)
    assert signal_log.encode(signal, 123) == line
    assert len(line) <= 400


def test_words_from_a_device_cannot_make_a_line_long() -> None:
    for reason in ("x" * 10_000, "\U0001f4f7" * 500, "\ud800 lone", "a\nb"):
        line = signal_log.encode(StreamSilent(at(7), "cam-01", Role.SUB, at(2), reason, True, False))
        assert len(line) <= 400
        assert b"\n" not in line
        signal_log.decode(line)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_signal_or_refused(line: bytes) -> None:
    try:
        signal_log.decode(line)
    except FormatError:
        return


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"{}", b"5", b"null", b'"text"', b"[" * 4000,
        b'[2,"NetSeen",0,[1,1,2],true,true,true,true]',
        b'[1,"NoSuch",0,[1,1,2]]',
        b'[1,["NetSeen"],0,[1,1,2],true,true,true,true]',
        b'[1,"NetSeen",0,[1,1,2],true,true,true]',
        b'[1,"NetSeen",0,[1,1,2],1,true,true,true]',
        b'[1,"NetSeen",0,[1,1,9],true,true,true,true]',
        b'[1,"NetSeen",0,[1,1e400,2],true,true,true,true]',
        b'[1,"ClockStepped",0,[1,1,2],NaN]',
        b'[1,"BoxStoodStill",0,[1,1,2],1e999]',
        b'[1,"Signal",0,[1,1,2]]',
        b'[1,"NetSeen",0,[1,' + b"9" * 40 + b',2],true,true,true,true]',
        b"x" * 5000,
    ],
)  # fmt: skip
def test_a_hostile_line_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        signal_log.decode(line)


def test_torn_lines_are_skipped_and_counted(night: Told) -> None:
    torn = [night.log[0], night.log[1][:20], b"\x00\xff", b"", *night.log[1:]]
    again = Replay(torn)
    assert lines(list(again)) == lines(night.decisions)[: len(lines(list(Replay(night.log))))]
    assert again.skipped == 2


def test_a_replay_advances_as_far_as_the_watch_had_when_a_late_signal_came() -> None:
    """A stream resumed at 9.9 s, and the owner heard of it after it had called the camera dark."""
    flows = StreamFlows(at(0), "cam-01", Role.MAIN, 1920, 1080)
    from edge_agent.health.signals import CameraKnown
    from edge_agent.health.watch import NightWatch

    watch, log, told = NightWatch(), [], []
    for signal in (
        CameraKnown(at(0), "cam-01", "", None, "10.0.0.9", (Role.MAIN,)),
        flows,
        StreamSilent(at(105), "cam-01", Role.MAIN, at(100), "gone", False, False),
    ):
        log.append(signal_log.encode(signal, watch.now_ns))
        told += watch.observe(signal)
    told += watch.advance(at(110.2))
    late = StreamFlows(at(109.9), "cam-01", Role.MAIN, 1920, 1080)
    log.append(signal_log.encode(late, watch.now_ns))
    told += watch.observe(late)
    assert lines(list(Replay(log))) == lines(told)


def test_two_runs_differ_in_what_they_tell_otherwise(night: Told) -> None:
    told = [d["data"] for d in map(json.loads, lines(night.decisions)) if d["type"] == "incident"]
    before = stories(told)
    after = stories([leaf for leaf in told if leaf["subject"] != "cam-01"])
    (difference,) = differences(before, after)
    assert difference.after is None
    assert difference.before is not None
    assert difference.before.verdict == "no_signal_slate"
    assert differences(before, before) == []


def test_the_condenser_keeps_what_is_new_and_little_else() -> None:
    condenser = Condenser()
    for second in range(0, 3600, 10):
        condenser.keep(PictureMeasured(at(second), "cam-01", 100.0, 40.0, 0.1, 9.0, 0.5, 0.2, "a"))
        condenser.keep(StreamPulse(at(second), "cam-01", Role.MAIN, 10.0, 250, 5, 60_000, 9000))
    assert condenser.dropped >= 680
    assert condenser.keep(PictureMeasured(at(3600), "cam-01", 46.0, 12.0, 0.02, 18.0, 0.95, 1.0, "b"))
    assert condenser.keep(StreamPulse(at(3605), "cam-01", Role.MAIN, 10.0, 250, 5, 60_000, 120))
    assert not condenser.keep(DeviceSaid(at(3605), "dvr", 1, "motion", True))
    assert condenser.keep(DeviceSaid(at(3606), "dvr", 1, "video_loss", True))
    assert not condenser.keep(DeviceSaid(at(3607), "dvr", 1, "video_loss", True))


# The command.


def test_replay_tells_decisions_and_counts(tmp_path: Path, night: Told) -> None:
    (tmp_path / "signals-1.jsonl").write_bytes(b"".join(line + b"\n" for line in night.log))
    result = CliRunner().invoke(app, ["replay", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "dvr_reboot 95 %" in result.output
    assert "2 incidents" in result.output


def test_replay_compares_two_runs_by_their_incidents(tmp_path: Path, night: Told) -> None:
    log, other = tmp_path / "signals-1.jsonl", tmp_path / "before.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in night.log))
    told = CliRunner().invoke(app, ["replay", str(log), "--json"]).stdout_bytes
    other.write_bytes(told)
    same = CliRunner().invoke(app, ["replay", str(log), "--against", str(other)])
    assert (same.exit_code, same.output) == (0, "no incident differs\n")
    other.write_bytes(told.replace(b"no_signal_slate", b"camera_lost"))
    differs = CliRunner().invoke(app, ["replay", str(log), "--against", str(other)])
    assert differs.exit_code == 1
    assert "before: camera_lost" in differs.output
    assert "1 incident differs" in differs.output


def test_replay_of_no_log_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "signals-1.jsonl"
    empty.write_bytes(b"not a signal\n")
    result = CliRunner().invoke(app, ["replay", str(empty)])
    assert result.exit_code != 0
