"""The demo's MQTT broker: mosquitto with mutual TLS and access rules, or an embedded one that checks less."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from edge_agent.demo import broker_conf
from edge_agent.demo.child import die_with_parent
from edge_agent.demo.pki import Pki, client_context
from edge_agent.errors import EdgeAgentError

BrokerKind = Literal["auto", "mosquitto", "embedded"]

START_S = 10.0
STOP_S = 5.0
POLL_S = 0.05
ATTEMPTS = 3  # another process may take the free port between our look and the broker's bind

EMBEDDED_NOTICE = (
    "The embedded broker on 127.0.0.1 is used: it speaks TLS but checks no client certificate and has no\n"
    "access rules, so any local program may read and write every topic.\n"
    "For the real thing: apt-get install mosquitto"
)


class BrokerError(EdgeAgentError):
    """The broker cannot be started; the text says why and what to install."""


class Broker(Protocol):
    """A broker process on 127.0.0.1. `port` is known once `start` has returned."""

    port: int
    notice: str  # what the person at the terminal must know; empty for mosquitto

    @property
    def running(self) -> bool: ...

    def start(self) -> None:
        """Return when it accepts connections. Raises BrokerError with the last line of its log."""
        ...

    def stop(self) -> None:
        """Ask it to end, kill it after 5 s. Safe to call twice; it may be started again."""
        ...


class Mosquitto:
    """Mosquitto as a child process; sessions and retained messages survive a restart.

    The ICCC's workers whose certificates exist when `start` is called get their rights by name. It listens
    on `host`; 0.0.0.0 is for a network namespace of one's own.
    """

    def __init__(self, directory: Path, pki: Pki, port: int = 0, host: str = "127.0.0.1") -> None:
        self.port = port
        self.notice = ""
        self._host = host
        self._directory = directory
        self._pki = pki
        self._child = _Child("mosquitto", directory / "mosquitto.log", pki)

    @staticmethod
    def program() -> str | None:
        """Where mosquitto is; Debian keeps it in /usr/sbin, which a user's PATH lacks."""
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
        return shutil.which("mosquitto", path=path)

    @property
    def running(self) -> bool:
        return self._child.running

    def start(self) -> None:
        program = self.program()
        if program is None:
            raise BrokerError("mosquitto is not installed: apt-get install mosquitto")
        self._directory.mkdir(parents=True, exist_ok=True)
        self.port = self._child.start(self.port, lambda port: [program, "-c", str(self._configure(port))])

    def stop(self) -> None:
        self._child.stop()

    def _configure(self, port: int) -> Path:
        acl = self._directory / "acl"
        acl.write_text(broker_conf.mosquitto_acl(self._pki.iccc_workers()), encoding="utf-8")
        # A broker started by root becomes "mosquitto", who could not read our 0600 keys.
        user = "root" if os.geteuid() == 0 else ""
        text = broker_conf.mosquitto_conf(
            port, self._pki.ca, self._pki.server(), acl, self._directory, user=user, host=self._host
        )
        conf = self._directory / "mosquitto.conf"
        conf.write_text(text, encoding="utf-8")
        return conf


class IotCore:
    """The fallback from PyPI (rumqttd): TLS for secrecy, but no client certificates and no access rules.

    Sessions and retained messages die with it.
    """

    def __init__(self, directory: Path, pki: Pki, port: int = 0) -> None:
        self.port = port
        self.notice = EMBEDDED_NOTICE
        self._directory = directory
        self._pki = pki
        self._child = _Child("iotcore", directory / "iotcore.log", pki)

    @property
    def running(self) -> bool:
        return self._child.running

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.port = self._child.start(self.port, self._command)

    def stop(self) -> None:
        self._child.stop()

    def _command(self, port: int) -> list[str]:
        toml = self._directory / "iotcore.toml"
        toml.write_text(broker_conf.iotcore_toml(port, self._pki.server()), encoding="utf-8")
        # It logs every packet as an error, hence the level.
        return [sys.executable, "-m", "iotcore", "--config", str(toml), "--log-level", "CRITICAL"]


def choose(kind: BrokerKind, directory: Path, pki: Pki, port: int = 0) -> Broker:
    """`auto` prefers mosquitto. Raises BrokerError when the wanted one is not installed."""
    if kind == "mosquitto" or (kind == "auto" and Mosquitto.program()):
        return Mosquitto(directory, pki, port)
    if importlib.util.find_spec("iotcore") is None:
        raise BrokerError("no broker: apt-get install mosquitto, or pip install iotcore")
    return IotCore(directory, pki, port)


class _Child:
    """A server process on one TLS port, in a session of its own: Ctrl-C at the terminal is for us alone."""

    def __init__(self, name: str, log: Path, pki: Pki) -> None:
        self._name = name
        self._log = log
        self._pki = pki
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, wanted_port: int, command: Callable[[int], list[str]]) -> int:
        """Start it on `wanted_port`, or on any free one for 0; returns the port when it accepts."""
        for _ in range(ATTEMPTS):
            port = wanted_port or _free_port()
            with self._log.open("ab") as sink:
                self._process = subprocess.Popen(
                    command(port),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            if self._accepts(port, self._process):
                return port
            self.stop()
        raise BrokerError(f"{self._name} does not start on port {port}: {_last_line(self._log)}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)

    def _accepts(self, port: int, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a TLS handshake with our server; False when the process ends or 10 s pass."""
        context = client_context(self._pki.ca, self._pki.client("probe"))
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as plain:
                    context.wrap_socket(plain, server_hostname="127.0.0.1").close()
                    return process.poll() is None
            except ssl.SSLCertVerificationError:
                return False  # a stranger's server sits on this port
            except OSError:
                time.sleep(POLL_S)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "no word in its log")
