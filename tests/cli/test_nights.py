"""`nights`: the real command on real ledger files; table, spreadsheet, page."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "health"))

from night_leaves import Story

from edge_agent.agent.nights_table import csv_text
from edge_agent.cli.main import app
from edge_agent.errors import ConfigError
from edge_agent.ledger.file import LedgerFile


class Shop:
    def __init__(self, directory: Path, entries: list[bytes]) -> None:
        self.state = directory / "state"
        self.config = directory / "edge-agent.toml"
        self.config.write_text(
            '[site]\nid = "pump-17"\nname = "<Shree> Petroleum"\nkind = "petrol_pump"\n'
            f'[state]\ndirectory = "{self.state}"\n'
            '[[cameras]]\nid = "cam-01"\nname = "=Forecourt"\n'
            '[[cameras]]\nid = "cam-02"\nduty = ["08:00-22:00"]\n',
            encoding="utf-8",
        )
        if entries:
            (self.state / "ledger").mkdir(parents=True)
            file = LedgerFile(self.state / "ledger")
            file.append(entries)
            file.close()

    def ask(self, *arguments: str) -> Result:
        """In this process: a start of Python for each question would be most of the test."""
        return CliRunner().invoke(app, ["nights", *arguments, "--config", str(self.config)])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    story = Story(["cam-01", "cam-02"], "2026-11-20 05:00", every=2).boot().all_up()
    story.until("2026-11-20 22:05")
    story.turn("cam-01", "dark", "2026-11-20 22:04", verdict="camera_lost", confidence=80, incident="a")
    story.until("2026-11-21 04:16").turn("cam-01", "up").until("2026-11-22 07:00")
    return Shop(tmp_path_factory.mktemp("shop"), story.entries)


class Page(HTMLParser):
    """Every address that a browser would fetch, and every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "data")]


def test_a_night_is_drawn_and_told(shop: Shop) -> None:
    told = shop.ask("--night", "2026-11-20")
    text = told.stdout
    assert told.exit_code == 0
    assert "Fri 20 Nov 2026: 1 of 2 cameras was dark for 6 h 12 min of the night." in text
    assert "=Forecourt, 22:04 to 04:16: no pictures came from this camera (80 % sure)." in text
    bar = next(line for line in text.splitlines() if line.startswith("=Forecourt"))
    assert bar.count("#") == 13
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_month_as_json_counts_every_night_that_has_begun(shop: Shop) -> None:
    found = json.loads(shop.ask("--month", "2026-11", "--json").stdout)
    by_night = {night["night"]: night for night in found}
    assert {"2026-11-19", "2026-11-20", "2026-11-21"} <= set(by_night)
    cam_01, cam_02 = by_night["2026-11-20"]["cameras"]
    assert cam_01["night"] == {"due": 600, "seen": 228, "dark": {"camera_lost": 372}}
    assert cam_02["night"] == {"due": 120, "seen": 120}
    first = by_night["2026-11-19"]
    assert first["installed"] == "2026-11-19T23:30:00.000Z"
    assert first["cameras"][0]["night"] == {"due": 60, "seen": 60}, "nothing was due before the box was there"
    assert min(by_night) == "2026-11-19"


def test_before_the_box_was_there_nothing_was_due(shop: Shop) -> None:
    told = shop.ask("--night", "2026-11-10")
    assert told.exit_code == 0
    assert told.stdout.strip() == "No record before 20 Nov 2026, 05:00: this box was installed then."
    assert json.loads(shop.ask("--night", "2026-11-10", "--json").stdout) == []


def test_on_the_first_day_the_night_under_way_is_shown_and_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(["cam-01", "cam-02"], "2026-11-20 15:20").boot().all_up().until("2026-11-20 23:00")
    first = Shop(tmp_path, story.entries)
    monkeypatch.setattr("time.time_ns", lambda: story.now_us * 1000)
    text = first.ask().stdout
    assert text.startswith("No night is over yet. The first, of Fri 20 Nov from 20:00, ends on Sat 21 Nov at")
    assert "Fri 20 Nov 2026: So far every camera saw." in text
    assert "No record before 20 Nov 2026, 15:20: this box was installed then." in text
    story.turn("cam-01", "dark", verdict="camera_lost", confidence=70).until("2026-11-20 23:40")
    (tmp_path / "later").mkdir()
    text = Shop(tmp_path / "later", story.entries).ask("--so-far").stdout
    assert "So far 1 of 2 cameras was dark for 40 min." in text


def test_the_spreadsheet_has_types_and_no_formulas(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "nights.csv"
    assert shop.ask("--night", "2026-11-20", "--csv", str(path)).exit_code == 0
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["night"] for row in rows] == ["2026-11-20"] * 2
    assert rows[0]["name"] == "'=Forecourt"
    assert (rows[0]["night_dark_min"], rows[0]["verdicts"]) == ("372", "camera_lost 372")
    for row in rows:
        parts = [int(row[f"{state}_min"]) for state in ("seen", "dark", "unusable", "unknown", "muted")]
        assert sum(parts) == int(row["due_min"])
    assert shop.ask("--night", "2026-11-20", "--csv", "-").stdout_bytes == content


@pytest.mark.parametrize(
    "text", ["0571 2400001", "05712400001", "12/4", "1-2", "Mar 1", "2 Nov", "21-Mar-2026", "TRUE", "1e5",
             "10:30", "12%", "(5)", "₹ 500", "१२", "=1+1", "+91 571 240", "-5", "@A1"],
)  # fmt: skip
def test_words_from_outside_stay_words(text: str) -> None:
    assert cells("contact", text) == [f"'{text}"]


@pytest.mark.parametrize(
    "text", ["Gate 1", "March gate", "cam-01", "काउंटर 2", "Manager, 0571 240", "4 Khair Road", ""]
)
def test_what_is_plainly_a_word_is_left_as_it_is(text: str) -> None:
    assert cells("name", text) == [text]


def test_our_own_dates_and_numbers_stay_dates_and_numbers() -> None:
    assert cells("since", "2026-11-21 22:04:00") == ["2026-11-21 22:04:00"]
    assert cells("due_min", 600) == ["600"]


def cells(column: str, cell: str | int) -> list[str]:
    return list(csv.reader(io.StringIO(csv_text([column], [[cell]])[1:], newline="")))[1] or [""]


def test_the_page_stands_alone_and_escapes_what_it_shows(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "nights.html"
    assert shop.ask("--month", "2026-11", "--html", str(path)).exit_code == 0
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.fetched
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert "&lt;Shree&gt; Petroleum" in text
    assert "6 h 12 min dark" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--night", "21.11.2026"], "--night"),
        (["--month", "2026"], "--month"),
        (["--month", "2026-11", "--night", "2026-11-20"], "exclude"),
        (["--month", "2026-11", "--so-far"], "exclude"),
    ],
)
def test_a_wrong_wish_is_refused_with_its_name(shop: Shop, arguments: list[str], word: str) -> None:
    told = shop.ask(*arguments)
    assert isinstance(told.exception, ConfigError)
    assert word in str(told.exception)


def test_without_a_ledger_it_says_so_in_one_line(tmp_path: Path) -> None:
    """The command as it is installed, in a process of its own."""
    shop = Shop(tmp_path, [])
    command = [sys.executable, "-m", "edge_agent.cli", "nights", "--config", str(shop.config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert "no ledger yet" in told.stderr
    assert len(told.stderr.splitlines()) == 1
