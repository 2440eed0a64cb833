from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from edge_agent.agent import roster
from edge_agent.agent.roster import Roster
from edge_agent.config import CameraEntry
from edge_agent.model import Camera, Credentials, Endpoint


def seen(channel: int, recorder: str = "dvr", serial: str = "S1") -> Camera:
    return Camera("", f"{serial}:{channel}", f"Channel {channel}", None, None, recorder, channel)


def test_inputs_one_two_and_four_keep_their_numbers() -> None:
    _, cameras = roster.admit(Roster(), [seen(4), seen(1), seen(2)], ())
    assert [(c.id, c.channel) for c in cameras] == [("cam-01", 1), ("cam-02", 2), ("cam-04", 4)]


def test_an_id_stays_with_its_camera_when_others_come_and_go() -> None:
    first, _ = roster.admit(Roster(), [seen(1), seen(2)], ())
    second, cameras = roster.admit(first, [seen(2), seen(3)], ())
    assert [c.id for c in cameras] == ["cam-02", "cam-03"]
    assert second.id_of("S1:1") == "cam-01"


def test_a_second_recorder_gets_the_next_free_numbers() -> None:
    _, cameras = roster.admit(Roster(), [seen(1), seen(1, "dvr2", "S2")], ())
    assert [c.id for c in cameras] == ["cam-01", "cam-02"]


def test_configured_name_and_id_win_and_disabled_cameras_are_left_out() -> None:
    entries = (
        CameraEntry(id="till", name="Till", channel=2),
        CameraEntry(id="cam-03", channel=3, enabled=False),
    )
    _, cameras = roster.admit(Roster(), [seen(1), seen(2), seen(3)], entries)
    assert [(c.id, c.name) for c in cameras] == [("cam-01", "Channel 1"), ("till", "Till")]


def test_cameras_of_last_time_come_back_with_todays_credentials_and_none_on_disk(tmp_path: Path) -> None:
    there = Credentials("admin", "secret-word")
    point = Endpoint("rtsp://192.0.2.1:554/main", "192.0.2.1", 554, there)
    known, _ = roster.admit(Roster(), [replace(seen(1), main=point), seen(2, "gone", "S2")], ())
    path = tmp_path / "cameras.json"
    roster.save(path, known)
    assert b"secret-word" not in path.read_bytes()
    today = Credentials("admin", "changed")
    (camera,) = roster.remembered(roster.load(path), {"dvr": today})
    assert camera.id == "cam-01"
    assert camera.main == replace(point, credentials=today)


def test_roster_survives_a_restart_and_a_damaged_file_gives_ids_anew(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    known, _ = roster.admit(Roster(), [seen(1), seen(2)], ())
    roster.save(path, known)
    assert roster.load(path) == known
    path.write_text("{ torn", encoding="utf-8")
    assert roster.load(path) == Roster()


def test_a_camera_by_hand_takes_its_id_from_a_recorders_camera_which_gets_another() -> None:
    first, _ = roster.admit(Roster(), [seen(1), seen(2)], ())
    entries = (CameraEntry(id="cam-01", url=SecretStr("rtsp://192.0.2.9/yard")),)
    yard = Camera("cam-01", "url:cam-01", "yard", None, None)
    again, cameras = roster.admit(first, [yard, *roster.remembered(first, {"dvr": None})], entries)
    assert [(c.id, c.uid) for c in cameras] == [
        ("cam-01", "url:cam-01"),
        ("cam-03", "S1:1"),
        ("cam-02", "S1:2"),
    ]
    settled, cameras = roster.admit(again, [seen(1), seen(2)], entries)
    assert [c.id for c in cameras] == ["cam-03", "cam-02"]
    assert [(c.id, c.uid) for c in settled.last] == [("cam-02", "S1:2"), ("cam-03", "S1:1")]
