"""`ring stat`, `ls`, `coverage` and `verify` as people see them, on the files of a box that does not run."""

from __future__ import annotations

import json

import pytest
from evidence_site import Site
from evidence_world import START_US, S
from typer.testing import CliRunner, Result

from edge_agent.cli.main import app
from edge_agent.cli.ring_coverage import Day, Shade, days_back, drawn, picture, print_days, read_day
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control_wire import ControlError
from edge_agent.model import Role
from edge_agent.ring.evidence import EvidenceLog
from edge_agent.ring.hold import Bounds, Hold, Stretch
from edge_agent.ring.reader import Gap, RingReader, Span

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def ring(site: Site, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["ring", *arguments, "--config", str(site.config)])


def hold(site: Site, case: str = "4711/2026") -> Hold:
    log = EvidenceLog(site.root / "ring/evidence", Bounds(1 << 30, 1 << 30), site.box.box.box_id, bytes(16))
    stretch = Stretch(case, "cam-01", Role.MAIN, site.box.stream, START_US, START_US + 4 * S)
    admitted = log.admit(stretch, START_US)
    list(log.copy(admitted, RingReader({Role.MAIN: site.root / "ring/main"}), START_US))
    return log.finish(admitted)[0]


def test_stat_tells_bytes_budget_reach_and_what_is_held(site: Site) -> None:
    hold(site)
    told = ring(site, "stat").output
    assert "50.00 GiB" in told
    assert "to 2026-09-21 19:43:20" in told  # the site's time: 14:13:20 UTC
    assert "30 days are demanded" in told
    assert ", 1 hold" in told
    (figures,) = json.loads(ring(site, "stat", "--json").output)
    assert figures["budget_bytes"] == 50 << 30
    assert figures["bytes_per_s"] > 0
    assert figures["will_hold_days"] is None


def test_ls_lists_segments_in_site_time_and_holds(site: Site) -> None:
    kept = hold(site)
    told = ring(site, "ls").output
    assert "2026-09-21 19:43:20 to 19:43:32" in told
    assert "4711/2026" in told
    listed = json.loads(ring(site, "ls", "--json").output)
    assert [segment["number"] for segment in listed["segments"]["main"]] == [1]
    assert [known["id"] for known in listed["holds"]] == [kept.id]
    assert listed["holds"][0]["digest"] == kept.digest


def test_verify_finds_a_hold_that_was_altered(site: Site) -> None:
    kept = hold(site)
    assert ring(site, "verify").exit_code == 0
    (segment,) = (site.root / "ring/evidence" / kept.id).glob("*.ear")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    found = ring(site, "verify")
    assert found.exit_code == 1
    assert "WRONG hold 4711/2026 of cam-01" in found.output


def test_hold_without_an_agent_says_how_to_start_it(site: Site) -> None:
    window = ["--from", "2026-09-21 19:43:20", "--to", "2026-09-21 19:43:24", "--case", "4711"]
    found = ring(site, "hold", "cam-01", *window)
    assert isinstance(found.exception, ControlError)
    assert "systemctl start edge-agent" in str(found.exception)


def test_coverage_of_an_unknown_camera_names_the_known_ones(site: Site) -> None:
    found = ring(site, "coverage", "--camera", "cam-9")
    assert isinstance(found.exception, EdgeAgentError)
    assert "cam-01" in str(found.exception)


def test_a_day_has_its_spans_gaps_and_what_is_missing(site: Site) -> None:
    reader = RingReader({Role.MAIN: site.root / "ring/main"})
    now_us = START_US + 3600 * S
    (day,) = days_back("Asia/Kolkata", 1, now_us)
    found = read_day(reader, "cam-01", site.box.stream, day, now_us)
    assert found.date == "2026-09-21"
    assert found.seconds == 12
    assert [g.to_us for g in found.gaps] == [START_US, now_us]
    assert found.missing_s == (now_us - day[1]) / S - 12


def day(*spans: tuple[float, float], now_h: float = 24, gaps: tuple[Gap, ...] = ()) -> Day:
    found = tuple(Span(int(a * HOUR_US), int(b * HOUR_US), bytes(16)) for a, b in spans)
    return Day("cam-01", "2026-11-22", 0, DAY_US, found, gaps, int(now_h * HOUR_US))


def test_what_is_yet_to_come_is_not_missing() -> None:
    today = day((0, 6), now_h=6)
    assert picture(today, 24) == "█" * 6 + "·" * 18
    assert today.missing_s == 0


def test_each_shape_has_its_colour() -> None:
    shades = [shade for _, shade in drawn(day((0, 1), (1, 1.5), now_h=3), 24)]
    assert shades[:4] == [Shade.WHOLE, Shade.PART, Shade.NOTHING, Shade.AHEAD]


@pytest.mark.parametrize("columns", ["80", "160"])
def test_the_picture_fits_its_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    gaps = tuple(Gap(hour * HOUR_US, hour * HOUR_US + HOUR_US // 2, hour % 2 == 0) for hour in range(8))
    print_days([day((8, 24), gaps=gaps)] * 2, "Asia/Kolkata")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "66.67% of 2 d, 16:00 h missing in 16 gaps" in lines[3]
    assert sum("reason is sealed" in line for line in lines) < sum("30 min" in line for line in lines) == 5
    assert "and 11 shorter ones" in lines[-2]
    assert lines[-1].startswith("█ recorded")


def test_a_day_of_the_sites_calendar_is_not_the_clocks() -> None:
    """23 hours when summer time begins, and a new date at the site's midnight."""
    now_us = 1_774_771_200_000_000  # 2026-03-29 08:00 UTC
    (date, start_us, end_us) = days_back("Europe/Berlin", 1, now_us)[0]
    assert (date, end_us - start_us) == ("2026-03-29", 23 * HOUR_US)
    assert days_back("Asia/Kolkata", 2, START_US)[0][0] == "2026-09-20"
