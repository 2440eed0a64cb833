"""One shop with everything real in it: agent, virtual DVR, UPS, wiring, and what its command centre heard."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
import tomllib
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from ups import Ups
from wiring import CITY, DVR, NAME, Wiring

from edge_agent.demo import settings
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.child import Child
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.pki import Pki
from edge_agent.demo.report import Ear
from edge_agent.demo.settings import SITE, Layout
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control import call
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings, IcccClient
from edge_agent.iccc.link import TlsFiles
from edge_agent.ledger import leaf as leaves

WORKER, REGISTRAR = "iccc-test", "iccc-registrar-1"
CAMERAS = ("cam-01", "cam-02", "cam-03")
UPS_PORT = 3493
LEARN_S = 35.0  # what is usual here must be known before something unusual is recognised
BOOT = "/proc/sys/kernel/random/boot_id"


class World:
    """A context manager. At `night` the site's time zone is one where it is two in the morning."""

    def __init__(self, state: Path, *, night: bool, ups: bool) -> None:
        self.layout = Layout(state)
        self.layout.make()
        self.night = night
        self.wiring = Wiring()
        self.pki = Pki(self.layout.pki, names=("localhost", "127.0.0.1", CITY, NAME))
        for worker in (WORKER, REGISTRAR):
            self.pki.client(worker)
        self.broker = Mosquitto(self.layout.broker, self.pki, host="0.0.0.0")
        self.ups: Ups | None = None
        self.ear = Ear()
        self._with_ups = ups
        self._boot = state / "boot_id"
        self._undo = ExitStack()

    def __enter__(self) -> World:
        with ExitStack() as undo:
            undo.enter_context(self.wiring)
            with self.wiring.at("city"):
                undo.callback(self.broker.stop)
                self.broker.start()
                registrar = self._registrar()
                registrar.start()
                undo.callback(registrar.stop)
                self.client = self._client()
                self.client.listen(self.ear.heard)
                self.client.start()
                undo.callback(self.client.stop)
            with self.wiring.at("dvr"):
                self._dvr = VirtualDvr(
                    channels=len(CAMERAS), user=settings.DVR_USER, password=settings.DVR_PASSWORD,
                    host=DVR, interface="none", serial=uuid.uuid4().hex[:10],
                )  # fmt: skip
                undo.enter_context(self._dvr)
            for picture in ("black", "slate", "on"):  # encoded once, before anybody waits for it
                self.channels(mode=picture)
            self.agent = self._child("agent", self._agent_command())
            with self.wiring.at("box"):
                if self._with_ups:
                    self.ups = Ups(self.layout.state / "nut", UPS_PORT)
                    undo.callback(self.ups.stop)
            self.new_boot()
            self.agent.start()
            undo.callback(self.agent.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    # What befalls the shop.

    def channel(self, number: int, **faults: object) -> None:
        with self.wiring.at("dvr"):
            self._dvr.control.set_channel(number, **faults)

    def channels(self, **faults: object) -> None:
        with self.wiring.at("dvr"):
            self._dvr.control.set_channels(**faults)

    def device(self, **faults: object) -> None:
        with self.wiring.at("dvr"):
            self._dvr.control.set_device(**faults)

    def act(self, act: str, seconds: float = 0.0) -> None:
        with self.wiring.at("dvr"):
            self._dvr.control.act(act, None, seconds)

    def password(self, password: str = settings.DVR_PASSWORD) -> None:
        with self.wiring.at("dvr"):
            self._dvr.control.set_credentials(settings.DVR_USER, password)
            self._dvr.control.act("cut")

    def recorder(self, *, on: bool) -> None:
        """Its switch: off, its address is gone, too; on, it starts anew."""
        self.device(off=not on)
        self.wiring.plug("dvr", in_=on)

    def mains(self, status: str) -> None:
        assert self.ups is not None
        self.ups.say(status)

    def broker_on(self, on: bool) -> None:
        with self.wiring.at("city"):
            self.broker.start() if on else self.broker.stop()

    def new_boot(self) -> None:
        self._boot.write_text(f"{uuid.uuid4()}\n")

    def kill_agent(self) -> None:
        assert self.agent._process is not None
        self.agent._process.kill()
        self.agent._process.wait(10)

    # What the box and the command centre know.

    def order(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Over the control socket: a file, so no line is crossed."""
        return dict(call(self.layout.agent / "control.sock", command, arguments, timeout_s=5))

    def states(self) -> dict[str, str]:
        try:
            return {camera["id"]: camera["state"] for camera in self.order("status")["cameras"]}
        except EdgeAgentError:
            return {}

    def seeing(self) -> bool:
        return list(self.states().values()) == ["up"] * len(CAMERAS)

    def linked(self) -> bool:
        try:
            return bool(self.order("status")["link"]["up"])
        except EdgeAgentError:
            return False

    def told_all(self) -> bool:
        """Every leaf of the box, but for the very newest, is in the command centre's store."""
        try:
            size = int(self.order("status")["ledger"]["size"])
        except EdgeAgentError:
            return False
        return self._mirrored() >= size

    def heard(self, after: float) -> list[tuple[float, str, dict[str, Any]]]:
        """(seconds after, kind, leaf's data) of every event that reached the command centre."""
        return [
            (at - after, event.data.kind, dict(event.data.detail))
            for at, event in list(self.ear.events)
            if at > after and event.data.kind in ("camera", "incident")
        ]

    def mirrored(self, after_us: int) -> list[tuple[str, dict[str, Any]]]:
        """(kind, data) of every leaf in the command centre's store, from that moment on."""
        with contextlib.closing(sqlite3.connect(f"file:{self.layout.mirror}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT body FROM leaves ORDER BY idx").fetchall()
        kept = [leaves.decode(bytes(body)) for (body,) in rows]
        return [
            (leaf.kind, dict(leaf.data))
            for leaf in kept
            if leaf.kind in ("camera", "incident") and leaf.at.wall_us > after_us
        ]

    def _mirrored(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.layout.mirror}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT count(*) FROM leaves").fetchone()[0])

    def wait(self, true: Callable[[], object], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.25)
        return True

    def get_ready(self) -> None:
        """Until every camera sees and the box knows what is usual."""
        if not self.wait(lambda: self.seeing() and self.client.birth(SITE), 120):
            raise RuntimeError(f"the shop did not come up: {self.states()} {self.agent.last_words(20)}")
        time.sleep(LEARN_S)

    # How it is built.

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self.layout.logs / f"{name}.log")

    def _registrar(self) -> Child:
        path = settings.write_registrar_config(self.layout, self.pki, self.broker.port, REGISTRAR)
        return self._child(
            "registrar", [sys.executable, "-m", "edge_agent.iccc.registrar", "--config", str(path)]
        )

    def _agent_command(self) -> list[str]:
        """`ip netns exec` shows it the box's own ports in /sys, and a boot id that a story can change."""
        path = settings.write_agent_config(self.layout, self.pki, self.broker.port, "")
        document: dict[str, Any] = tomllib.loads(path.read_text())
        document["uplink"]["brokers"] = [f"mqtts://{NAME}:{self.broker.port}"]
        document["recorders"][0] |= {
            "address": DVR, "onvif_port": self._dvr.http_port, "rtsp_port": self._dvr.rtsp_port
        }  # fmt: skip
        del document["recorders"][0]["endpoint"]
        document["site"]["timezone"] = time_zone(2 if self.night else 14, datetime.now(UTC))
        document["power"] = {"nut": f"shop@127.0.0.1:{UPS_PORT}" if self._with_ups else "off"}
        document["watch"] = {"device_clock_s": 10}  # five minutes in the field: a step would be known later
        path.write_text(tomlkit.dumps(document))
        run = f'mount --bind {self._boot} {BOOT} && exec "$@"'
        agent = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(path)]
        return [
            "ip", "netns", "exec", self.wiring.namespace("box"),
            "unshare", "-m", "sh", "-c", run, "sh", *agent,
        ]  # fmt: skip

    def _client(self) -> IcccClient:
        identity = self.pki.client(WORKER)
        client_settings = ClientSettings(
            broker=f"mqtts://127.0.0.1:{self.broker.port}",
            tls=TlsFiles(self.pki.ca, identity.certificate, identity.key),
            client_id=WORKER,
            command_key=self.pki.command_key(),
            kid=settings.COMMAND_KID,
            recipient_id=settings.RECIPIENT_ID,
            recipient_key=self.pki.recipient_key().private_bytes_raw(),
        )
        return IcccClient(client_settings, TrustedBoxes({SITE: settings.box_public(self.layout)}))


def time_zone(hour: int, now: datetime) -> str:
    """The zone of whole hours where it is about that hour."""
    ahead = (hour - now.hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"
