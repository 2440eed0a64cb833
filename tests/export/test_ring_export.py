"""`ring export` at the box: from ring and ledger on disk to a package that the verifier believes."""

from __future__ import annotations

import errno
import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from evidence_site import Site
from evidence_world import START_US
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.cli.moments import moment
from edge_agent.errors import EdgeAgentError
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict
from edge_agent.verify.trust import read_trust

KOLKATA = ZoneInfo("Asia/Kolkata")


def told(seconds: float) -> str:
    return f"{datetime.fromtimestamp(START_US / 1e6 + seconds, KOLKATA):%Y-%m-%d %H:%M:%S}"


def run(
    site: Site, *more: str, start: float = 0, end: float = 12, camera: str = "cam-01", key: Path | None = None
):
    arguments = ["-c", str(site.config), "ring", "export", camera, "--from", told(start), "--to", told(end)]
    return CliRunner().invoke(app, [*arguments, "--key", str(key or site.key), *more])


def refusal(result: object) -> str:
    assert isinstance(result.exception, EdgeAgentError), result.exception
    return str(result.exception)


def test_a_package_from_the_ring_is_authentic_and_says_who_exported_it(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    result = run(site.write(), "-o", str(out), "--by", "asha", "--case", "4711/2026", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fragments"] == 60
    trust = read_trust(site.box.trust(tmp_path / "keys", "mirror", "witness"))
    report = verify(out, trust)
    assert report.verdict is Verdict.AUTHENTIC, report
    assert report.facts["exported"]["by"] == "asha"
    assert report.facts["statement"] == "recorded from live stream"


def test_a_clip_begins_at_the_keyframe_before_and_ends_at_the_mark_after(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    result = run(site.write(), "-o", str(out), "--json", start=3, end=5)
    assert json.loads(result.stdout)["fragments"] == (8 - 2) * 5  # keyframe at 2 s, mark at 8 s
    assert verify(out).verdict is Verdict.AUTHENTIC


def test_without_a_running_agent_the_missing_leaf_is_said(site: Site, tmp_path: Path) -> None:
    result = run(site.write(), "-o", str(tmp_path / "out.zip"))
    assert "not in the ledger" in result.stderr


def test_a_sealed_box_refuses_and_names_the_command_centre(site: Site) -> None:
    assert "sealed mode" in refusal(run(site.write(sealed=True)))


def test_another_key_is_refused_before_anything_is_read(site: Site, tmp_path: Path) -> None:
    site.write()
    from edge_agent.demo import keyfile

    other = tmp_path / "other.pem"
    keyfile.x25519_key(other)
    assert "not the private key of keys.site_recipient" in refusal(run(site, key=other))


def test_a_time_without_footage_names_the_command_that_shows_what_there_is(
    site: Site, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    assert "ring coverage cam-01" in refusal(run(site.write(), "-o", str(out), start=9000, end=9010))
    assert list(tmp_path.glob("out*")) == []


def test_an_unknown_camera_and_a_package_that_is_there_already_are_refused(
    site: Site, tmp_path: Path
) -> None:
    site.write()
    assert "known: cam-01" in refusal(run(site, camera="cam-09"))
    (tmp_path / "there.zip").write_bytes(b"precious")
    assert "is there already" in refusal(run(site, "-o", str(tmp_path / "there.zip")))
    assert (tmp_path / "there.zip").read_bytes() == b"precious"


def test_a_full_disk_is_one_sentence_and_leaves_no_draft(site: Site, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_agent.export.bundle.Bundle.add", full)
    assert "the disk is full" in refusal(run(site.write(), "-o", str(tmp_path / "out.zip")))
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22 20:00", "2026-11-22T20:00:00+05:30"),
        ("2026-11-22T20:00:30", "2026-11-22T20:00:30+05:30"),
        ("2026-11-22T14:30:00Z", "2026-11-22T20:00:00+05:30"),
    ],
)
def test_moments_are_the_sites_unless_they_name_an_offset(text: str, expected: str) -> None:
    assert moment(text, "Asia/Kolkata") == datetime.fromisoformat(expected).timestamp() * 1e6


def test_what_is_no_moment_is_told_how_to_be_written() -> None:
    with pytest.raises(EdgeAgentError, match="2026-11-22 20:00"):
        moment("yesterday", "Asia/Kolkata")
