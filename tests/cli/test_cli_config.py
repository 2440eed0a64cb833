"""The command line as a technician meets it: one clear message, the right exit code, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge_agent.agent import roster
from edge_agent.model import Camera

SAMPLE = """\
# the shop at the crossing
[site]
id = "site-1"
name = "Test"

[state]
directory = "{state}"

[[cameras]]  # by hand
id = "cam-01"
url = "rtsp://admin:secret-word@192.0.2.7/main"
"""


def edge_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge-agent.toml"
    path.write_text(SAMPLE.format(state=tmp_path / "state"), encoding="utf-8")
    path.chmod(0o640)
    return path


def test_a_good_configuration_is_said_to_be_good_with_notes(config: Path) -> None:
    done = edge_agent("config", "check", str(config))
    assert done.returncode == 0
    assert "site-1" in done.stdout
    assert "keys.recipients is empty" in done.stdout


def test_every_mistake_is_named_at_once_and_no_value_is_echoed(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    text = text.replace('name = "Test"', 'nmae = "x"\nduty = ["25:00-26:00"]')
    config.write_text(text + "\n[uplink]\nbrokers = ['mqtt://user:hidden-word@host']\n", encoding="utf-8")
    done = edge_agent("config", "check", str(config))
    assert done.returncode == 1
    for key in ("site.nmae: unknown key", "site.duty", "site.name", "uplink.brokers"):
        assert key in done.stderr
    assert "secret-word" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_the_configuration_names_and_that_is_not_there_is_a_mistake(
    config: Path, tmp_path: Path
) -> None:
    ca = f'[uplink]\nbrokers = ["mqtts://b.example"]\nca = "{config}"\ncertificate = "{tmp_path}/no.pem"\n'
    with config.open("a", encoding="utf-8") as file:
        file.write(f'\n{ca}key = "{tmp_path}/no.key"\n[[recorders]]\npassword_file = "{tmp_path}/no.pw"\n')
    done = edge_agent("config", "check", str(config), "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["problems"] == [
        f"{config}: recorders.dvr.password_file: {tmp_path}/no.pw: No such file or directory",
        f"{config}: uplink.certificate: {tmp_path}/no.pem: No such file or directory",
        f"{config}: uplink.key: {tmp_path}/no.key: No such file or directory",
    ]


def test_the_file_to_check_may_be_named_as_everywhere_else(config: Path) -> None:
    for arguments in (("config", "check", "-c", str(config)), ("-c", str(config), "config", "check")):
        done = edge_agent(*arguments)
        assert done.returncode == 0, done.stderr
        assert str(config) in done.stdout


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = edge_agent("demo", "--state", str(tmp_path / "file"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"edge-agent: {tmp_path}/file")
    assert done.stderr.count("\n") == 1


def test_discover_asks_on_the_configured_interfaces_alone(config: Path) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write('\n[discovery]\ninterfaces = ["lo"]\n')
    done = edge_agent("discover", "--timeout", "0.5", "-c", str(config))
    assert "knocking" not in done.stderr
    assert "Traceback" not in done.stderr


def test_discover_needs_no_configuration_but_a_named_one_must_be_there(tmp_path: Path) -> None:
    done = edge_agent("discover", "-c", str(tmp_path / "none.toml"))
    assert done.returncode == 1
    assert done.stderr == f"edge-agent: {tmp_path}/none.toml: No such file or directory\n"
    done = edge_agent("-c", str(tmp_path / "none.toml"), "discover", "-i", "lo", "--timeout", "0.5")
    assert "none.toml" not in done.stderr


@pytest.mark.parametrize("content", ["[site", "\x00\x01", ""])
def test_a_file_that_is_no_configuration_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content, encoding="utf-8")
    done = edge_agent("config", "check", str(path))
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_and_a_stopped_daemon_are_told_apart(config: Path, tmp_path: Path) -> None:
    missing = edge_agent("status", "-c", str(tmp_path / "none.toml"))
    assert missing.returncode == 1
    assert "No such file" in missing.stderr
    stopped = edge_agent("status", "-c", str(config))
    assert stopped.returncode == 1
    assert "not running" in stopped.stderr


def test_a_camera_added_by_hand_keeps_comments_mode_and_the_other_camera(config: Path) -> None:
    done = edge_agent("camera", "add", "rtsp://u:p%40ss@192.0.2.8/x", "--name", "Till", "-c", str(config))
    assert done.returncode == 0, done.stderr
    text = config.read_text(encoding="utf-8")
    assert "# the shop at the crossing" in text
    assert "# by hand" in text
    assert [c["id"] for c in tomllib.loads(text)["cameras"]] == ["cam-01", "cam-02"]
    assert config.stat().st_mode & 0o777 == 0o640
    assert "p%40ss" not in done.stdout


def test_a_camera_added_by_hand_never_gets_the_id_of_a_recorders_camera(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    seen = (("sn:dahua:X/1", "cam-02"), ("sn:dahua:X/2", "cam-03"))
    roster.save(tmp_path / "state" / roster.NAME, roster.Roster(seen))
    taken = edge_agent("camera", "add", "rtsp://192.0.2.8/x", "--id", "cam-02", "-c", str(config))
    assert taken.returncode == 1
    assert "cam-02 is a recorder's camera" in taken.stderr
    done = edge_agent("camera", "add", "rtsp://192.0.2.8/x", "-c", str(config))
    assert "cam-04 added" in done.stdout


def test_a_bad_camera_url_changes_nothing(config: Path) -> None:
    before = config.read_bytes()
    done = edge_agent("camera", "add", "http://192.0.2.8/x", "-c", str(config))
    assert done.returncode == 1
    assert "rtsp://" in done.stderr
    assert config.read_bytes() == before


def test_a_daemon_that_cannot_write_its_state_says_where(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be", encoding="utf-8")
    done = edge_agent("run", "-c", str(config))
    assert done.returncode == 1
    assert str(tmp_path / "state") in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_camera_fails_its_test_with_a_reason() -> None:
    url = "rtsp://user:hidden-word@127.0.0.1:9/none"
    done = edge_agent("camera", "test", url, "--seconds", "2", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["good"] is False
    assert "refused" in told["steps"][0]["sentence"].lower()
    assert "hidden-word" not in done.stdout + done.stderr


def test_a_camera_behind_a_recorder_is_tested_by_the_id_that_status_shows(
    config: Path, tmp_path: Path
) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write('\n[[recorders]]\nname = "dvr"\naddress = "127.0.0.1"\nrtsp_port = 9\n')
    (tmp_path / "state").mkdir()
    seen = Camera("cam-07", "urn:x/7", "Gate", None, None, recorder="dvr", channel=7)
    roster.save(tmp_path / "state" / roster.NAME, roster.Roster((("urn:x/7", "cam-07"),), (seen,)))
    known = edge_agent("camera", "test", "cam-07", "--seconds", "2", "-c", str(config))
    assert known.returncode == 1
    assert known.stdout.startswith("dvr:\n")
    unknown = edge_agent("camera", "test", "cam-08", "-c", str(config))
    assert unknown.returncode == 1
    assert "no recorder or camera 'cam-08' here; known: dvr, cam-01, cam-07; " in unknown.stderr
