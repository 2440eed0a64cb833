"""The list to visit today and a site's nights, over thirteen sites: in the store, over HTTP, in a browser."""

from __future__ import annotations

import csv
import io
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

sys.path.insert(0, str(Path(__file__).parent))

import fleet

from edge_agent.iccc.console import visits_view
from edge_agent.iccc.console.desk import Desk
from edge_agent.iccc.console.guard import Guard
from edge_agent.iccc.console.nights_pages import NightPages

SHOTS = os.environ.get("EDGE_AGENT_SCREENSHOTS")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fleet") / "mirror.sqlite"
    fleet.fill(path)
    return path


@pytest.fixture(scope="module")
def server(mirror: Path) -> Iterator[Any]:
    desk = Desk(faults=False)
    fleet.tell(desk)
    pages = NightPages(desk, mirror, {"school": "Education", "other": "Nagar Nigam"}, lambda: fleet.NOW_US)
    app = Starlette(routes=pages.routes(), middleware=[Middleware(Guard, user="", password="")])
    served = fleet.Served(app)
    yield served
    served.stop()


def get(server: Any, path: str) -> tuple[str, Any]:
    with urllib.request.urlopen(server.url + path, timeout=20) as reply:
        return reply.read().decode("utf-8"), reply.headers


def test_the_list_is_ordered_by_what_needs_a_visit_and_by_minutes_of_the_night(server: Any) -> None:
    text, headers = get(server, "/visits.csv")
    assert text.startswith("\ufeff")
    assert headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert [(r["site"], r["urgency"]) for r in rows] == [
        ("theka-11", "visit"), ("theka-04", "visit"), ("pump-31", "visit"), ("pump-17", "visit"),
        ("market-05", "visit"), ("theka-27", "visit"), ("bank-02", "call"), ("coaching-07", "call"),
        ("school-09", "call"),
    ]  # fmt: skip
    by_site = {row["site"]: row for row in rows}
    assert by_site["theka-04"]["department"] == "Excise"
    assert by_site["pump-17"]["department"] == "Supply"
    assert by_site["school-09"]["department"] == "Education"
    assert by_site["bank-02"]["department"] == "Nagar Nigam"
    assert by_site["theka-04"]["night_lost_min"] == str(4 * (6 * 60 + 12))
    assert by_site["theka-04"]["since"].endswith("22:04:00")
    assert by_site["pump-17"]["until"] == ""
    assert by_site["pump-17"]["now"] == "still dark"
    assert by_site["theka-11"]["now"] == "seeing again"
    assert by_site["market-05"]["name"].startswith("'=HYPERLINK")


def test_what_came_again_and_again_is_one_line_and_what_befell_another_camera_stands_beside_it(
    server: Any,
) -> None:
    text, _ = get(server, "/visits.csv?department=Excise")
    (row,) = (r for r in csv.DictReader(io.StringIO(text[1:])) if r["site"] == "theka-27")
    assert (row["cameras"], row["others"]) == ("cam-02", "cam-03 stream_refused")
    assert (row["since"], row["until"]) == ("2026-11-20 22:00:00", "2026-11-20 23:19:00")
    assert row["observed"] == "no pictures came from this camera, 40 times"
    assert (row["night_longest_min"], row["night_lost_min"]) == ("40", "80")
    page, _ = get(server, "/visits?department=Excise")
    assert "also Entrance, 02:00 to 02:40: the device refused this stream (75 % sure)." in page
    night, _ = get(server, f"/sites/theka-27/nights?night={fleet.EVENING}")
    assert "Cash counter, 40 times from 22:00 to 23:19, 40 min in all: no pictures came" in night


def test_a_department_gets_its_own_list(server: Any) -> None:
    text, _ = get(server, "/visits.csv?department=Excise")
    assert {row["kind"] for row in csv.DictReader(io.StringIO(text[1:]))} == {"liquor shop"}
    page, _ = get(server, "/visits?department=Excise")
    assert "Dodhpur" in page
    assert "Shree Petroleum" not in page


def test_a_lost_line_a_good_night_and_a_new_site_are_not_on_the_list(server: Any) -> None:
    page, _ = get(server, "/visits")
    for absent in ("Bharat Fuels", "Great Value Mall", "Beer Shop", "joined this morning"):
        assert absent not in page


@pytest.mark.parametrize(
    ("skipped", "said"),
    [
        (0, "whatever was due saw all night."),
        (1, "where a box told of it."),
        (2, "No site has told of a night"),
    ],
)
def test_a_site_that_told_nothing_is_not_said_to_have_seen(skipped: int, said: str) -> None:
    assert said in visits_view.page([], chosen="", sites=2, skipped=skipped, made="")


def test_nothing_from_outside_is_run_and_nothing_is_loaded(server: Any) -> None:
    for path in ("/visits", f"/sites/pump-31/nights?night={fleet.EVENING}"):
        page, headers = get(server, path)
        assert "<img" not in page
        assert "&lt;img" in page
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "src=" not in page.replace("src=x", "")


def test_a_box_that_made_no_record_is_unknown_and_never_dark(server: Any) -> None:
    text, _ = get(server, f"/sites/school-09/nights.csv?night={fleet.EVENING}")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert len(rows) == 4
    for row in rows:
        assert int(row["night_dark_min"]) == 0
        assert int(row["night_seen_min"]) == 40
        assert int(row["night_unknown_min"]) == 560
        assert row["main_verdict"] == "no_record"


@pytest.mark.parametrize("query", ["?night=yesterday", "?month=2026-13"])
def test_what_is_no_date_gets_a_plain_answer(server: Any, query: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(server, f"/sites/pump-17/nights{query}")
    assert refused.value.code == 400
    assert "?night=2026-11-21" in refused.value.read().decode()
    refused.value.close()


def test_a_date_before_there_were_cameras_has_no_night(server: Any) -> None:
    page, _ = get(server, "/sites/pump-17/nights?night=0001-01-01")
    assert "No night is recorded" in page


def test_the_first_day_is_shown_so_far_and_says_when_its_night_ends(server: Any) -> None:
    page, _ = get(server, "/sites/mall-new/nights")
    assert "No night is over yet. The first, of Sat 21 Nov from 20:00, ends on Sun 22 Nov at 06:00" in page
    assert "from 06:15 on." in page
    assert "So far all 4 cameras were not known for 4 h 11 min." in page, "the box told nothing since 06:19"
    assert "No record before 21 Nov 2026, 06:16: this box was installed then." in page


def test_a_night_before_the_box_is_no_night_of_it(server: Any) -> None:
    page, _ = get(server, f"/sites/mall-new/nights?night={fleet.EVENING}")
    assert "No record before 21 Nov 2026, 06:16: this box was installed then." in page
    assert "nothing is recorded" not in page
    table, _ = get(server, "/sites/mall-new/nights.csv?month=2026-11")
    (_, *rows) = csv.reader(io.StringIO(table[1:]))
    assert {row[0] for row in rows} == {"2026-11-21"}


@pytest.mark.needs("chromium")
def test_the_pages_in_a_browser(page: Any, server: Any) -> None:
    for name, path in (
        ("visits", "/visits"),
        ("night-of-a-site", f"/sites/theka-04/nights?night={fleet.EVENING}"),
        ("silent-site", f"/sites/school-09/nights?night={fleet.EVENING}"),
    ):
        page.open(server.url + path)
        assert not page.errors
        assert page.run("getComputedStyle(document.querySelector('h1')).fontSize") == "22px"
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        if SHOTS:
            page.screenshot(Path(SHOTS) / f"{name}.png", whole=True)
    page.open(server.url + "/visits")
    assert page.run("document.querySelectorAll('.visits tbody tr').length") == 9
