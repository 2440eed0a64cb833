"""The files handed to a city's operators: accepted by mosquitto, and no looser than what was tried."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from edge_agent.demo import broker_conf
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki

BROKER = Path(__file__).resolve().parents[2] / "docs/broker"


def _settings(text: str) -> dict[str, str]:
    lines = (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {key: value for key, _, value in lines}


def test_the_box_patterns_are_the_ones_that_were_tried() -> None:
    patterns = [line for line in (BROKER / "acl").read_text().splitlines() if line.startswith("pattern")]
    tried = broker_conf.mosquitto_acl(()).splitlines()
    assert patterns == tried


def test_every_rule_of_the_tried_broker_is_in_the_production_file() -> None:
    site_dependent = {"listener", "persistence_location", "log_dest", "log_type"}
    production = _settings((BROKER / "mosquitto.conf").read_text())
    tried = _settings(broker_conf.MOSQUITTO)
    assert {k: v for k, v in production.items() if k in tried and k not in site_dependent} == {
        k: v for k, v in tried.items() if k not in site_dependent
    }


def test_no_worker_may_write_everything() -> None:
    acl = (BROKER / "acl").read_text()
    assert "readwrite" not in acl
    assert "topic write iccc/v1/#" not in acl


@pytest.mark.needs("mosquitto")
def test_mosquitto_accepts_the_files(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    server = pki.server()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = (BROKER / "mosquitto.conf").read_text()
    conf = conf.replace("listener 8883", f"user root\nlistener {port} 127.0.0.1")
    conf = conf.replace("crlfile /etc/mosquitto/iccc/revoked.pem\n", "").replace(
        "log_dest syslog", "log_dest stderr"
    )
    conf = conf.replace("/etc/mosquitto/iccc/ca.pem", str(pki.ca)).replace(
        "/var/lib/mosquitto/", f"{tmp_path}/"
    )
    conf = conf.replace("/etc/mosquitto/iccc/broker.pem", str(server.certificate))
    conf = conf.replace("/etc/mosquitto/iccc/broker.key", str(server.key))
    conf = conf.replace("/etc/mosquitto/iccc/acl", str(BROKER / "acl"))
    (tmp_path / "mosquitto.conf").write_text(conf)
    program = Mosquitto.program()
    assert program is not None
    running = subprocess.Popen([program, "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            if running.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
    finally:
        running.terminate()
        said = running.communicate(timeout=10)[1]
    pytest.fail(said.decode())
