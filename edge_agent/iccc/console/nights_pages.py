"""The console's reports: the nights of a site, and the list to visit today, as pages and as spreadsheets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_agent.agent.nights_page import STYLE, About, page
from edge_agent.agent.nights_table import COLUMNS, Cell, csv_text, rows
from edge_agent.agent.reports import local_time
from edge_agent.errors import LedgerError
from edge_agent.health import duty
from edge_agent.health import nights_words as words
from edge_agent.health.nights import NightRecord
from edge_agent.iccc import nights as kept
from edge_agent.iccc import visits as visiting
from edge_agent.iccc.console import visits_view
from edge_agent.iccc.console.desk import Desk
from edge_agent.iccc.nights import NightShelf
from edge_agent.iccc.sites import SiteView
from edge_agent.iccc.visits import Place, Visit

log = logging.getLogger(__name__)

FRESH_S = 60.0
NO_MIRROR = "This console was not given the registrars' store (`mirror` in its configuration)."


def wall_clock_us() -> int:
    return time.time_ns() // 1000


class NightPages:
    """Read in threads, the store opened anew each time. The list is made at most once a minute.

    `wall_us` tells the time: which night is the last one hangs on it, and turns at 06:15.
    """

    def __init__(
        self,
        desk: Desk,
        mirror: Path | None,
        departments: Mapping[str, str],
        wall_us: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._desk = desk
        self._wall_us = wall_us
        self._mirror = mirror
        self._departments = departments
        self._made: tuple[float, list[Visit], int, int] | None = None
        self._lock = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/visits", self._visits),
            Route("/visits.csv", self._visits_csv),
            Route("/sites/{site}/nights", self._nights),
            Route("/sites/{site}/nights.csv", self._nights_csv),
        ]

    # --- one site --------------------------------------------------------------------------------

    async def _nights(self, request: Request) -> Response:
        site = self._site(request)
        found = await self._read(request, site)
        if isinstance(found, Response):
            return found
        now_us = self._wall_us()
        own = sum(record.evening in found.own for record in found.records)
        source, hours = f"{own} of {len(found.records)} nights as the box recorded them", "the box's own"
        if own < len(found.records):
            source += "; the others counted here from what the box has told"
            hours += ", where counted here: always"
        evening = found.records[-1].evening if found.records else kept.last_evening(site.zone, now_us)
        about = About(
            site.id, site.name, site.kind, site.address, tuple((c.id, c.name) for c in site.cameras),
            f"made at {local_time(now_us, site.zone)}", source, hours,
            _links(site.id, evening, duty.under_way(site.zone, now_us)),
            _note(request.query_params, found, site.zone, now_us),
        )  # fmt: skip
        return _html(page(about, found.records), STYLE)

    async def _nights_csv(self, request: Request) -> Response:
        site = self._site(request)
        found = await self._read(request, site)
        if isinstance(found, Response):
            return found
        names = {camera.id: camera.name for camera in site.cameras}
        return _csv(f"nights-{site.id}.csv", COLUMNS, rows(site.id, names, found.records))

    async def _read(self, request: Request, site: SiteView) -> kept.SiteNights | Response:
        if self._mirror is None:
            return PlainTextResponse(NO_MIRROR, 404)
        now_us = self._wall_us()
        try:
            evenings = _evenings(request.query_params, site.zone, now_us)
        except ValueError:
            return PlainTextResponse("Ask with ?night=2026-11-21 or ?month=2026-11.", 400)
        try:
            found = await asyncio.to_thread(kept.read, self._mirror, site.id, site.zone, evenings, now_us)
            if not found.records and _unasked(request.query_params):  # the first day
                evenings = [duty.under_way(site.zone, now_us)]
                found = await asyncio.to_thread(kept.read, self._mirror, site.id, site.zone, evenings, now_us)
            return found
        except LedgerError as error:
            return PlainTextResponse(f"{error}", 404)

    def _site(self, request: Request) -> SiteView:
        site_id = request.path_params["site"]
        return self._desk.site(site_id) or SiteView(site_id, zone="Asia/Kolkata")

    # --- all sites -------------------------------------------------------------------------------

    async def _visits(self, request: Request) -> Response:
        made = await self._list()
        if isinstance(made, Response):
            return made
        at_s, found, sites, skipped = made
        chosen = request.query_params.get("department", "")[:64]
        when = f"made at {local_time(int(at_s * 1e6), 'Asia/Kolkata')}"
        text = visits_view.page(found, chosen=chosen, sites=sites, skipped=skipped, made=when)
        return _html(text, visits_view.STYLE)

    async def _visits_csv(self, request: Request) -> Response:
        made = await self._list()
        if isinstance(made, Response):
            return made
        chosen = request.query_params.get("department", "")
        shown = [visit for visit in made[1] if chosen in ("", visit.department)]
        base = str(request.base_url).rstrip("/")
        table = [visiting.row(n, v, base + visits_view.evidence(v)) for n, v in enumerate(shown, 1)]
        return _csv("visits.csv", visiting.COLUMNS, table)

    async def _list(self) -> tuple[float, list[Visit], int, int] | Response:
        if self._mirror is None:
            return PlainTextResponse(NO_MIRROR, 404)
        async with self._lock:
            now_us = self._wall_us()
            if self._made is None or now_us / 1e6 - self._made[0] > FRESH_S:
                places = {site.id: _place(site) for site in self._desk.sites()}
                try:
                    self._made = await asyncio.to_thread(
                        _look, self._mirror, places, self._departments, now_us
                    )
                except sqlite3.Error as error:
                    return PlainTextResponse(f"The store cannot be read: {error}", 503)
            return self._made


def _look(
    mirror: Path, places: Mapping[str, Place], departments: Mapping[str, str], now_us: int
) -> tuple[float, list[Visit], int, int]:
    nights: list[tuple[Place, NightRecord]] = []
    skipped = 0
    if not mirror.exists():
        return now_us / 1e6, [], 0, len(places)
    with NightShelf(mirror) as shelf:
        known = shelf.sites()
        for site in known:
            place = places.get(site, Place(site))
            try:
                evening = kept.last_evening(place.zone, now_us)
                found = shelf.nights(site, place.zone, [evening], now_us)
            except LedgerError as error:
                log.warning("%s: %s", site, error)
                skipped += 1
                continue
            nights += [(place, record) for record in found.records]
            skipped += not found.records
    skipped += len(set(places) - set(known))
    return now_us / 1e6, visiting.visits(nights, departments), len(set(known) | set(places)), skipped


def _place(site: SiteView) -> Place:
    heard = site.presence == "online"
    states = {camera.id: camera.state for camera in site.cameras} if heard else None
    names = {camera.id: camera.name for camera in site.cameras}
    return Place(
        site.id, site.name, site.kind, site.address, site.contact, site.zone, states, names
    )  # fmt: skip


def _evenings(asked: Mapping[str, str], zone: str, now_us: int) -> list[date]:
    """Raises ValueError for what is no date."""
    if "month" in asked:
        first = date.fromisoformat(f"{asked['month']}-01")
        days = (first + timedelta(days=n) for n in range(31))
        return [d for d in days if d.month == first.month and duty.window(zone, d)[0] < now_us]
    if "night" in asked:
        evening = date.fromisoformat(asked["night"])
        return [evening] if 2000 < evening.year < 3000 else []
    return [kept.last_evening(zone, now_us)]


def _unasked(asked: Mapping[str, str]) -> bool:
    return "month" not in asked and "night" not in asked


def _note(asked: Mapping[str, str], found: kept.SiteNights, zone: str, now_us: int) -> str:
    """Why there is less than one might look for."""
    if _unasked(asked) and not any(record.whole for record in found.records):
        first = duty.under_way(zone, found.installed_us or now_us)
        return words.first_night(zone, duty.night(zone, first))
    if not found.records and found.installed_us:
        return words.not_before(found.installed_us, zone)
    return ""


def _links(site: str, evening: date, under_way: date) -> tuple[tuple[str, str], ...]:
    base, day = f"/sites/{site}/nights", timedelta(days=1)
    month = f"{evening:%Y-%m}"
    return (
        (f"{base}?night={evening - day}", "Night before"),
        (f"{base}?night={evening + day}", "Night after"),
        (f"{base}?night={under_way}", "Night under way"),
        (f"{base}?month={month}", "Whole month"),
        (f"{base}.csv?month={month}", "Spreadsheet of the month"),
        ("/visits", "Sites to visit"),
        ("/", "Console"),
    )


def _html(text: str, style: str) -> Response:
    """Its one style is named by its hash; nothing else may be loaded or run."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": policy})


def _csv(name: str, columns: tuple[str, ...], table: list[tuple[Cell, ...]]) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(columns, table).encode(), media_type="text/csv; charset=utf-8", headers=headers)
