"""Thirteen sites of a city and what befell them last night, in a real registrars' store."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "health"))

from browser_page import wait_until
from night_leaves import IST, Story

from edge_agent.agent.nights import missing
from edge_agent.clock import ManualClock
from edge_agent.health.nights import Schedule
from edge_agent.iccc.console.desk import Desk
from edge_agent.iccc.hearing import Heard
from edge_agent.iccc.ingest import Ingest
from edge_agent.iccc.nights import last_evening
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.witness import Role
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint
from edge_agent.ledger.wire import Batch
from edge_agent.uplink import messages, ulid
from edge_agent.uplink.stamper import Stamper

CAMERAS = ("Forecourt", "Cash counter", "Entrance", "Store")
NOW_US = int(datetime(2026, 11, 21, 5, 0, tzinfo=UTC).timestamp()) * 1_000_000  # 10:30 in Aligarh
EVENING = last_evening(IST, NOW_US)
MORNING = EVENING + timedelta(days=1)


@dataclass(frozen=True)
class Site:
    id: str
    name: str
    kind: str
    night: Callable[[Story], object]
    records: bool = True  # the box made its own record
    first: str = f"{EVENING} 04:00"  # when its ledger began


def dark(cameras: str, since: str, until: str, verdict: str, confidence: int = 85) -> Callable[[Story], None]:
    """`cameras` as digits; times of that night."""

    def tell(story: Story) -> None:
        story.until(when(since))
        ids = [f"cam-0{digit}" for digit in cameras]
        for camera in ids:
            story.turn(camera, "dark", verdict=verdict, confidence=confidence, incident=f"i-{since}")
        if until:
            story.until(when(until))
            for camera in ids:
                story.turn(camera, "up")

    return tell


def loose(camera: str, since: str, times: int) -> Callable[[Story], None]:
    """A minute dark and a minute not, again and again; and another camera for a while, apart from it."""

    def tell(story: Story) -> None:
        story.until(when(since))
        for _ in range(times):
            story.turn(camera, "dark", verdict="camera_lost", confidence=70, incident="i-loose")
            story.now_us += 60_000_000
            story.turn(camera, "up").now_us += 60_000_000
        dark("3", "02:00", "02:40", "stream_refused", 75)(story)

    return tell


def silent(since: str) -> Callable[[Story], None]:
    """The box itself ends, and nothing comes any more."""
    return lambda story: story.until(when(since)).until(f"{MORNING} 06:20", marks=False)


def when(clock: str) -> str:
    return f"{EVENING if clock > '12:00' else MORNING} {clock}"


FLEET = (
    Site("theka-04", "Desi Sharab Theka, Quarsi", "liquor_shop",
         dark("1234", "22:04", "04:16", "dvr_off_mains_present", 92)),
    Site("theka-11", "English Wine Shop, Dodhpur", "liquor_shop",
         dark("1234", "21:30", "05:40", "all_cameras_off")),
    Site("theka-19", "Beer Shop, Sasni Gate", "liquor_shop", lambda s: None),
    Site("pump-17", "Shree Petroleum, Ring Road", "petrol_pump", dark("2", "23:10", "", "camera_lost", 80)),
    Site("pump-22", "Bharat Fuels, Khair Road", "petrol_pump", dark("1234", "01:00", "03:10", "wan_down")),
    Site("pump-31", "<img src=x onerror=alert(1)> Fuels", "petrol_pump",
         dark("3", "20:30", "05:10", "no_signal_slate")),
    Site("bank-02", "Gramin Bank, Centre Point", "bank", dark("1234", "02:00", "02:55", "power_cut", 95)),
    Site("mall-01", "Great Value Mall", "mall", lambda s: None),
    Site("school-09", "Public School, Ramghat Road", "school", silent("20:40"), records=False),
    Site("market-05", '=HYPERLINK("http://x") Market', "market",
         dark("14", "00:15", "01:20", "undetermined", 40)),
    Site("colony-03", "Swarn Jayanti Nagar", "colony", lambda s: None),
    Site("mall-new", "Mall that joined this morning", "mall", lambda s: None, first=f"{MORNING} 06:16"),
    Site("theka-27", "Wine Shop, Agra Road", "liquor_shop", loose("cam-02", "22:00", 40),
         first=f"{EVENING} 12:00"),
    Site("coaching-07", "Excel Coaching", "coaching", dark("4", "22:00", "22:20", "lan_down", 70)),
)  # fmt: skip


def leaves_of(site: Site) -> list[bytes]:
    story = Story([f"cam-0{n}" for n in range(1, 5)], site.first, every=2).boot().all_up()
    site.night(story)
    if site.records:
        story.until(f"{MORNING} 06:15")
        for made in missing(story.leaves(), Schedule(IST), [EVENING], story.now_us):
            for part in made.leaves:
                story.add("night", **part)
        story.until(f"{MORNING} 06:20")
    return story.entries


def fill(path: Path) -> None:
    """Every site's leaves, ingested, verified and cosigned as the registrars do it."""
    store = LedgerStore(path)
    witness, mirror = (_role(name) for name in ("witness", "mirror"))
    ingest = Ingest(store, witness, mirror)
    for number, site in enumerate(FLEET):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32)
        public = key.public_key().public_bytes_raw()
        store.enrol(site.id, public, NOW_US)
        entries = leaves_of(site)
        root = merkle.root([merkle.leaf_hash(entry) for entry in entries])
        head = Checkpoint(notes.origin_of(site.id, public), len(entries), root)
        note = str(notes.sign(head, public, key.sign))
        ingest.on_ledger(site.id, Batch(0, tuple(entries), note).encode(), NOW_US)
    ingest.notes_due(NOW_US + 600_000_000)
    store.close()


def tell(desk: Desk) -> None:
    """Births, and how the cameras are now."""
    clock = ManualClock(wall_us=NOW_US)
    for number, site in enumerate(FLEET):
        stamper = Stamper(ulid.new(clock.wall_us))
        birth = messages.BirthData(
            site=site.id, name=site.name, kind=site.kind, boot="00" * 16, software="0", timezone=IST,
            address=f"{number + 3}, {site.name.split(', ')[-1]}, Aligarh",
            contact=f"Manager, 0571 240 00{number:02}",
            cameras=tuple(messages.CameraInfo(id=f"cam-0{n}", name=c) for n, c in enumerate(CAMERAS, 1)),
        )  # fmt: skip
        desk.take(Heard(site.id, stamper.birth(birth, clock.now()), False))
        states = {"cam-02": "dark"} if site.id == "pump-17" else {}
        beat = messages.HeartbeatData(
            cameras=tuple(
                messages.CameraState(id=f"cam-0{n}", state=states.get(f"cam-0{n}", "up")) for n in range(1, 5)
            )
        )
        if site.records:
            desk.take(Heard(site.id, stamper.heartbeat(beat, clock.now()), False))


class Served:
    """An application under uvicorn, in a thread."""

    def __init__(self, app: Any) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def _role(name: str) -> Role:
    key = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"\0"))
    return Role.named(f"iccc/{name}", key.public_key().public_bytes_raw(), key.sign)
