"""A shop and its command centre on the two ends of a bad line: real broker, mutual TLS, registrar, agent.

The DVR and the agent live in one namespace, the broker, the registrar and this test's client in the other;
everything between them crosses the line. Root only.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from emulator import CLONE_NEWNET
from lab import CITY_ADDRESS, Lab, lab

from edge_agent.demo import settings
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.child import Child
from edge_agent.demo.city import agent_status
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.pki import Pki
from edge_agent.demo.settings import SITE, Layout
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings, IcccClient
from edge_agent.iccc.link import TlsFiles

WORKER, REGISTRAR = "iccc-test", "iccc-registrar-1"


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, the threads and the processes that it starts, live in the namespace meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{namespace}").open() as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, home.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class FarCity:
    """A context manager. `changes` are laid over the agent's configuration, section by section."""

    def __init__(
        self,
        state: Path,
        *,
        cameras: int = 2,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        **dvr: object,
    ) -> None:
        self.layout = Layout(state)
        self.layout.make()
        self.pki = Pki(self.layout.pki, names=("localhost", "127.0.0.1", CITY_ADDRESS))
        for worker in (WORKER, REGISTRAR):
            self.pki.client(worker)
        self.broker = Mosquitto(self.layout.broker, self.pki, host="0.0.0.0")
        self.dvr = VirtualDvr(
            channels=cameras, user=settings.DVR_USER, password=settings.DVR_PASSWORD, interface="none", **dvr
        )
        self._changes = changes or {}
        self._undo = ExitStack()

    def __enter__(self) -> FarCity:
        with ExitStack() as undo:
            self.lab: Lab = undo.enter_context(lab())
            with inside(self.lab.city):
                undo.callback(self.broker.stop)
                self.broker.start()
                self.registrar = self._start_registrar()
                undo.callback(self.registrar.stop)
                self.client = self._client()
                self.client.start()
                undo.callback(self.client.stop)
            with inside(self.lab.box):
                undo.enter_context(self.dvr)
                self.agent = self._start_agent()
                undo.callback(self.agent.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def status(self) -> dict[str, Any]:
        """The agent's own words; its socket is a file, so no line is crossed."""
        return agent_status(self.layout.agent_config)

    def restart_agent(self) -> None:
        """After a kill: in its own namespace again."""
        with inside(self.lab.box):
            self.agent.start()

    def restart_broker(self) -> None:
        with inside(self.lab.city):
            self.broker.stop()
            self.broker.start()

    def wait_until_seeing(self, cameras: int, timeout_s: float = 60) -> None:
        """Raises AssertionError with the agent's last words."""
        wait_for(lambda: self._seeing() == cameras, timeout_s, self.agent.last_words)
        wait_for(lambda: self.client.birth(SITE), timeout_s, self.agent.last_words)

    def _seeing(self) -> int:
        try:
            return sum(camera["state"] == "up" for camera in self.status()["cameras"])
        except (EdgeAgentError, subprocess.TimeoutExpired):
            return -1

    def _start_registrar(self) -> Child:
        path = settings.write_registrar_config(self.layout, self.pki, self.broker.port, REGISTRAR)
        command = [sys.executable, "-m", "edge_agent.iccc.registrar", "--config", str(path)]
        registrar = Child("registrar", command, self.layout.logs / "registrar.log")
        registrar.start()
        return registrar

    def _start_agent(self) -> Child:
        path = settings.write_agent_config(self.layout, self.pki, self.broker.port, "")
        document = tomllib.loads(path.read_text())
        document["uplink"]["brokers"] = [f"mqtts://{CITY_ADDRESS}:{self.broker.port}"]
        document["recorders"][0] |= {
            "address": "127.0.0.1", "onvif_port": self.dvr.http_port, "rtsp_port": self.dvr.rtsp_port
        }  # fmt: skip
        for section, values in self._changes.items():
            document.setdefault(section, {}).update(values)
        path.write_text(tomlkit.dumps(document))
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(path)]
        agent = Child("agent", command, self.layout.logs / "agent.log")
        agent.start()
        return agent

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


def wait_for(true: Callable[[], object], timeout_s: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what()}"
        time.sleep(0.2)
