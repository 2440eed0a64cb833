from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.agent.config_watch import LOOK_EVERY_S, ConfigWatch

GOOD = '[site]\nid = "site-1"\nname = "One"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "edge-agent.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_an_edit_is_noticed_and_an_untouched_file_is_not(path: Path) -> None:
    watch = ConfigWatch(path, config.load(path))
    assert not watch.edited(0.0)
    path.write_text(GOOD.replace("One", "Two"), encoding="utf-8")
    assert not watch.edited(LOOK_EVERY_S / 2)
    assert watch.edited(LOOK_EVERY_S)
    assert not watch.edited(2 * LOOK_EVERY_S)


def test_a_comment_is_no_new_configuration(path: Path) -> None:
    watch = ConfigWatch(path, config.load(path))
    path.write_text(GOOD + "# a note\n", encoding="utf-8")
    assert not watch.edited(0.0)


def test_a_bad_edit_is_told_and_the_daemon_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = ConfigWatch(path, config.load(path))
    path.write_text(GOOD + "nmae = 1\n", encoding="utf-8")
    assert not watch.edited(0.0)
    assert "site.nmae: unknown key" in caplog.text
    path.unlink()
    assert not watch.edited(10.0)
    path.write_text(GOOD.replace("One", "Two"), encoding="utf-8")
    assert watch.edited(20.0)


@pytest.mark.parametrize(
    "slip",
    [
        '[[keys.recipients]]\nid = "city"\npublic_key = "QUJD"',
        '[keys]\nwitness = "iccc/witness+ca2da6a1+BK9KCmh7JJ4b17cZPO7V+VTeocFomGYzgZKxOpPdzJOO"',
        '[[cameras]]\nid = "yard"\nurl = "rtsp://192.0.2.8/x"\nduty = ["25:00-26:00"]',
        '[[cameras]]\nid = "yard"\nurl = "http://192.0.2.8/x"',
    ],
)
def test_an_edit_that_no_daemon_could_start_with_ends_none(path: Path, slip: str) -> None:
    watch = ConfigWatch(path, config.load(path))
    path.write_text(f"{GOOD}{slip}\n", encoding="utf-8")
    assert not watch.edited(0.0)


def test_a_new_password_in_its_own_file_counts(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "dvr.password"
    secret.write_text("old", encoding="utf-8")
    path.write_text(GOOD + f'[[recorders]]\nname = "dvr"\npassword_file = "{secret}"\n', encoding="utf-8")
    watch = ConfigWatch(path, config.load(path))
    secret.write_text("newer", encoding="utf-8")
    assert watch.edited(0.0)
