"""A whole city on loopback: a shop with its DVR and its box, a broker, and the command centre's console.

Every part is a process of its own, exactly as in the field; this one starts them in order, starts again
what dies, and stops them in reverse.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from edge_agent.demo import broker, keyfile, settings
from edge_agent.demo.broker import Broker, BrokerKind
from edge_agent.demo.child import Child
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.pki import Pki
from edge_agent.demo.settings import Layout
from edge_agent.errors import EdgeAgentError
from edge_agent.host.lock import sole_owner
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings, IcccClient
from edge_agent.iccc.link import TlsFiles

log = logging.getLogger(__name__)

CONSOLE = "iccc-console"
REPORTER = "iccc-report"
EXPORTER = "iccc-export"  # a name of its own: two clients with one put each other out
REGISTRARS = ("iccc-registrar-1", "iccc-registrar-2")  # the second for those who want to see them share
CONSOLE_START_S = 20.0
PAUSE_S = 1.0  # between a part's death and its next start

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CityOptions:
    cameras: int = 4
    state: Path = Path("state")
    broker: BrokerKind = "auto"
    port: int = 8000
    brand: str = "dahua"
    footage: Path | None = None


class City:
    """A context manager: everything runs inside `with`, nothing after it."""

    def __init__(self, options: CityOptions, say: Progress) -> None:
        self.options = options
        self._say = say
        self.layout = Layout(options.state.resolve())
        self.layout.make()
        self.pki = Pki(self.layout.pki)
        self.dvr = _virtual_dvr(options, self.layout)
        for worker in (CONSOLE, REPORTER, EXPORTER, *REGISTRARS):
            self.pki.client(worker)  # the broker's access rules name those that exist when it starts
        self.broker: Broker = broker.choose(options.broker, self.layout.broker, self.pki)
        self.registrar: Child | None = None
        self.console: Child | None = None
        self.agent: Child | None = None
        self._due_s: dict[Child, float] = {}
        self._undo = ExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.options.port}/"

    def __enter__(self) -> City:
        with ExitStack() as undo:
            undo.enter_context(sole_owner(self.layout.state))
            _refuse_taken(self.options.port)
            undo.callback(self._stop)
            self._start()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def client(self) -> IcccClient:
        """A further worker of the command centre, for measuring."""
        identity = self.pki.client(REPORTER)
        client_settings = ClientSettings(
            broker=f"mqtts://127.0.0.1:{self.broker.port}",
            tls=TlsFiles(self.pki.ca, identity.certificate, identity.key),
            client_id=REPORTER,
            command_key=self.pki.command_key(),
            kid=settings.COMMAND_KID,
            recipient_id=settings.RECIPIENT_ID,
            recipient_key=self.pki.recipient_key().private_bytes_raw(),
        )
        return IcccClient(client_settings, TrustedBoxes({settings.SITE: settings.box_public(self.layout)}))

    def status(self) -> dict[str, Any]:
        """The agent's own words. Raises EdgeAgentError while it does not run."""
        return agent_status(self.layout.agent_config)

    def tend(self) -> None:
        """Start again what died, but the recorder. Call about once a second."""
        now = time.monotonic()
        for child in filter(None, (self.agent, self.registrar, self.console)):
            if child.running:
                self._due_s[child] = now + PAUSE_S
            elif now >= self._due_s.get(child, 0.0):
                log.warning(
                    "%s ended with %s; starting it again\n%s", child.name, child.exit_code, child.last_words()
                )
                child.start()
        if not self.broker.running:
            log.warning("the broker ended; starting it again")
            self.broker.start()

    def _start(self) -> None:
        self._say(f"virtual DVR with {self.options.cameras} cameras (the first start draws its pictures)")
        self.dvr.start()
        self._say("broker")
        self.broker.start()
        if self.broker.notice:
            self._say(self.broker.notice)
        self._say("command centre registrar")
        self.registrar = self.start_registrar()
        self._say("command centre console")
        self.console = self._start_console()
        self._say("edge agent")
        self.agent = self._start_agent()

    def start_registrar(self, worker: str = REGISTRARS[0]) -> Child:
        """An ingest worker of the ledger's mirror. Whoever starts a second one stops it."""
        path = settings.write_registrar_config(self.layout, self.pki, self.broker.port, worker)
        command = [sys.executable, "-m", "edge_agent.iccc.registrar", "--config", str(path)]
        registrar = Child("registrar", command, self.layout.logs / f"{worker}.log")
        registrar.start()
        return registrar

    def _start_agent(self) -> Child:
        config = settings.write_agent_config(
            self.layout, self.pki, self.broker.port, self.dvr.endpoint_reference
        )
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
        agent = Child("agent", command, self.layout.logs / "agent.log")
        agent.start()
        return agent

    def _start_console(self) -> Child:
        path = self._write_console_config()
        command = [sys.executable, "-m", "edge_agent.iccc", "--config", str(path)]
        console = Child("console", command, self.layout.logs / "console.log")
        console.start()
        _wait_for_page(console, self.url)
        return console

    def _write_console_config(self) -> Path:
        identity = self.pki.client(CONSOLE)
        self.pki.command_key()
        self.pki.recipient_key()
        keyfile.ed25519_key(self.layout.iccc / "exporter.key")
        public = settings.base64_text(settings.box_public(self.layout))
        document = {
            "broker": f"mqtts://127.0.0.1:{self.broker.port}",
            "ca": str(self.pki.ca),
            "certificate": str(identity.certificate),
            "key": str(identity.key),
            "client_id": CONSOLE,
            "command_key": str(self.pki.command_key_path),
            "kid": settings.COMMAND_KID,
            "recipient_key": str(self.pki.recipient_key_path),
            "recipient_id": settings.RECIPIENT_ID,
            "operator": "demo-operator",
            "boxes": {settings.SITE: public},
            "mirror": str(self.layout.mirror),
            "export_key": str(self.layout.iccc / "exporter.key"),
            "witness_vkey": keyfile.vkey(settings.WITNESS_NAME, self.pki.witness_key()),
            "mirror_vkey": keyfile.vkey(settings.MIRROR_NAME, self.pki.mirror_key()),
            "evidence_public": settings.public_text(self.pki.evidence_key()),
            "port": self.options.port,
            "dvr_control": f"http://127.0.0.1:{self.dvr.control.port}",
        }
        identity = self.pki.client(EXPORTER)
        own = {"certificate": str(identity.certificate), "key": str(identity.key), "client_id": EXPORTER}
        _write_private(self.layout.iccc / "export.toml", document | own)
        return _write_private(self.layout.iccc / "iccc.toml", document)

    def _stop(self) -> None:
        for child in (self.agent, self.console, self.registrar):
            if child is not None:
                child.stop()
        self.broker.stop()
        self.dvr.stop()


def _virtual_dvr(options: CityOptions, layout: Layout) -> VirtualDvr:
    more: dict[str, Any] = {"footage": options.footage.resolve()} if options.footage else {}
    return VirtualDvr(
        channels=options.cameras,
        brand=options.brand,
        user=settings.DVR_USER,
        password=settings.DVR_PASSWORD,
        serial=settings.serial(layout),
        **more,
    )


def _write_private(path: Path, document: dict[str, Any]) -> Path:
    path.touch(mode=0o600)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return path


def agent_status(config: Path) -> dict[str, Any]:
    """What the running agent says of itself, through its own command line."""
    command = [sys.executable, "-m", "edge_agent.cli", "status", "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise EdgeAgentError(done.stderr.strip() or "edge-agent status failed")
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def _refuse_taken(port: int) -> None:
    """Else somebody else's page would be taken for the console's. Raises EdgeAgentError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EdgeAgentError(f"port {port}: {error.strerror}; choose another one with --port") from error


def _wait_for_page(console: Child, url: str) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    deadline = time.monotonic() + CONSOLE_START_S
    while time.monotonic() < deadline and console.running:
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - our own page on loopback
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise EdgeAgentError(f"the console does not answer at {url}: {console.last_words()}")
