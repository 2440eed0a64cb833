"""What the console knows at this moment, and who looks at it. Owned by the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from pathlib import Path

from pydantic import JsonValue

from edge_agent.iccc.belief import Still
from edge_agent.iccc.console import mirror
from edge_agent.iccc.console.views import entry_json, site_json
from edge_agent.iccc.hearing import Disbelieved, Fact, Heard, LinkChanged, StillHeard
from edge_agent.iccc.sites import (
    FeedEntry,
    SiteView,
    Step,
    cameras_listed,
    hear,
    ledger_looked,
    pass_time,
    picture_taken,
)

log = logging.getLogger(__name__)

FEED_ENTRIES = 200
WATCHER_MESSAGES = 64
MAX_PICTURES = 4096
TICK_S = 5.0
DISBELIEF_EVERY_S = 60.0


class Desk:
    """Takes facts from the client's thread through `take`, which must be called in the loop."""

    def __init__(self, *, faults: bool, mirror: Path | None = None) -> None:
        self._faults = faults
        self._mirror = mirror
        self._sites: dict[str, SiteView] = {}
        self._stills: dict[tuple[str, str], Still] = {}
        self._feed: deque[FeedEntry] = deque(maxlen=FEED_ENTRIES)
        self._watchers: set[asyncio.Queue[str]] = set()
        self._disbelieved_s: dict[str, float] = {}
        self.broker_up = False
        self.disbelieved = 0

    def site(self, site_id: str) -> SiteView | None:
        return self._sites.get(site_id)

    def sites(self) -> tuple[SiteView, ...]:
        return tuple(self._sites.values())

    def still(self, site_id: str, camera_id: str) -> Still | None:
        return self._stills.get((site_id, camera_id))

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def without_picture(self) -> list[tuple[str, str]]:
        """Cameras that may see and of which no picture has come."""
        return [
            (site.id, camera.id)
            for site in self._sites.values()
            if site.presence == "online"
            for camera in site.cameras
            if camera.state in ("up", "unknown") and (site.id, camera.id) not in self._stills
        ]

    def without_states(self) -> list[tuple[str, str]]:
        """(site, session) of those online of whose cameras nothing has been heard yet."""
        return [
            (site.id, site.session)
            for site in self._sites.values()
            if site.presence == "online"
            and site.session
            and site.cameras
            and all(camera.since_us is None for camera in site.cameras)
        ]

    def listed(self, site_id: str, cameras: JsonValue) -> None:
        """What a site answered to `cameras.list`."""
        site = self._sites.get(site_id)
        if site is not None:
            self._settle((cameras_listed(site, cameras, time.time_ns() // 1000), ()))

    def take(self, fact: Fact) -> None:
        now_us = time.time_ns() // 1000
        match fact:
            case Heard(site_id, message, retained):
                site = self._sites.get(site_id, SiteView(site_id))
                self._settle(hear(site, message, now_us, retained=retained))
            case StillHeard(site_id, camera, still):
                self._keep_still(site_id, camera, still)
            case LinkChanged(up, reason):
                self.broker_up = up
                log.info("broker: %s", reason)
                self._push({})
            case Disbelieved(site_id, topic, why):
                self._disbelieve(site_id, topic, why)

    async def keep_time(self) -> None:
        """Notice sites that fall quiet. Runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now_us = time.time_ns() // 1000
            for site in list(self._sites.values()):
                step = pass_time(site, now_us)
                if step[0] is not site:
                    self._settle(step)
            await self._look_at_mirror(now_us)

    def watch(self) -> asyncio.Queue[str]:
        """Messages for one page: everything now, then each change. Too slow a page gets everything again."""
        queue: asyncio.Queue[str] = asyncio.Queue(WATCHER_MESSAGES)
        queue.put_nowait(self._all())
        self._watchers.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[str]) -> None:
        self._watchers.discard(queue)

    def everything(self) -> dict[str, JsonValue]:
        sites: list[JsonValue] = [site_json(site) for site in self._sites.values()]
        events: list[JsonValue] = [entry_json(e, self._sites.get(e.site)) for e in self._feed]
        told: dict[str, JsonValue] = {"sites": sites, "events": events, "faults": self._faults}
        return told | self._common("all")

    async def _look_at_mirror(self, now_us: int) -> None:
        if self._mirror is None:
            return
        for site_id, ledger in (await asyncio.to_thread(mirror.look, self._mirror)).items():
            site = self._sites.get(site_id)
            if site is not None and ledger != site.ledger:
                self._settle(ledger_looked(site, ledger, now_us))

    def _settle(self, step: Step) -> None:
        site, entries = step
        self._sites[site.id] = site
        self._feed.extend(entries)
        for entry in entries:
            log.info("%s: %s %s", site.id, entry.text, entry.detail)
        changes: dict[str, JsonValue] = {"sites": [site_json(site)]}
        if entries:
            changes["events"] = [entry_json(entry, site) for entry in entries]
        self._push(changes)

    def _keep_still(self, site_id: str, camera: str, still: Still) -> None:
        key = (site_id, camera)
        known = self._stills.get(key)
        if known is not None and known.taken_us >= still.taken_us:
            return  # replayed, or overtaken by a newer one
        if known is None and len(self._stills) >= MAX_PICTURES:
            self._stills.pop(next(iter(self._stills)))
        self._stills[key] = still
        site = self._sites.get(site_id, SiteView(site_id))
        self._settle((picture_taken(site, camera, still.taken_us), ()))

    def _disbelieve(self, site_id: str, topic: str, why: str) -> None:
        self.disbelieved += 1
        now_s = time.monotonic()
        if now_s - self._disbelieved_s.get(site_id, -DISBELIEF_EVERY_S) < DISBELIEF_EVERY_S:
            return
        if len(self._disbelieved_s) > FEED_ENTRIES:
            self._disbelieved_s.clear()
        self._disbelieved_s[site_id] = now_s
        log.warning("%s: not believed: %s", topic, why)
        if site_id in self._sites:
            entry = FeedEntry(site_id, time.time_ns() // 1000, "warn", "A message was not believed", why)
            self._settle((self._sites[site_id], (entry,)))

    def _common(self, kind: str) -> dict[str, JsonValue]:
        return {"type": kind, "now_ms": time.time_ns() // 1_000_000, "broker": self.broker_up}

    def _all(self) -> str:
        return json.dumps(self.everything())

    def _push(self, changes: dict[str, JsonValue]) -> None:
        text = json.dumps(changes | self._common("change"))
        for queue in self._watchers:
            try:
                queue.put_nowait(text)
            except asyncio.QueueFull:
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(self._all())
