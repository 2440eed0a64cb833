"""The service as a technician meets it: installed on a bare Debian, recording, back after every blow.

The recorder and the broker run outside the container, as they do at a shop. Each step prints one line;
the first that fails ends the run. Needs root, debootstrap, systemd-container, mosquitto.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue

import paho.mqtt.client as mqtt
import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parent))

from container import Container, ContainerError, bare_debian, copy_of, wait_until

from edge_agent.demo import settings
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.pki import Pki, client_context
from edge_agent.demo.settings import Layout
from edge_agent.seal.keys import BoxKey
from edge_agent.uplink.messages import Birth, BirthData, verify_message

REPOSITORY = Path(__file__).resolve().parents[2]
CAMERAS = 4
ETC, STATE = "etc/edge-agent", "var/lib/edge-agent"
INSTALL = ("sh", "/root/wheels/install.sh", "--wheels", "/root/wheels")
RUNNING_S = 60.0
HEARTBEAT_S = 30.0


class Shop:
    """Recorder, broker and box. Everything that a step needs to act and to look."""

    def __init__(self, work: Path) -> None:
        self.layout = Layout(work / "city")
        self.layout.make()
        self.pki = Pki(self.layout.pki)
        self.pki.client("iccc-console")
        self.dvr = VirtualDvr(channels=CAMERAS, user=settings.DVR_USER, password=settings.DVR_PASSWORD)
        self.broker = Mosquitto(self.layout.broker, self.pki)
        # A copy of its own: the last run's box must not make this one pass.
        self.box = Container(copy_of(bare_debian(work / "debian"), work / "box"), "edge-agent-box")
        self.heard: Queue[tuple[str, bytes]] = Queue()
        self._ear: mqtt.Client | None = None

    def open(self) -> None:
        self.dvr.start()
        self.broker.start()
        self._ear = self._listen()
        self.box.boot()

    def close(self) -> None:
        if self._ear is not None:
            self._ear.disconnect()
            self._ear.loop_stop()
        self.box.stop()
        self.broker.stop()
        self.dvr.stop()

    def _listen(self) -> mqtt.Client:
        ear = mqtt.Client(CallbackAPIVersion.VERSION2, "iccc-console", protocol=mqtt.MQTTv5)
        ear.tls_set_context(client_context(self.pki.ca, self.pki.client("iccc-console")))
        ear.on_message = lambda _c, _u, message: self.heard.put((message.topic, message.payload))
        ear.on_connect = lambda client, *_: client.subscribe("iccc/v1/+/up/#", qos=1)
        ear.connect("127.0.0.1", self.broker.port)
        ear.loop_start()
        return ear

    # -- looking ------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop what was heard so far: only what comes from now on counts."""
        while not self.heard.empty():
            self.heard.get_nowait()

    def hears(self, leaf: str, timeout_s: float) -> bytes:
        """The next message on `up/{leaf}`. Raises ContainerError when none comes."""
        wanted, deadline = f"iccc/v1/{settings.SITE}/up/{leaf}", time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                topic, payload = self.heard.get(timeout=left)
            except Empty:
                break
            if topic == wanted and payload:
                return payload
        raise ContainerError(f"no {leaf} at the broker within {timeout_s:g} s")

    def is_recording(self) -> bool:
        """All cameras' sessions are open at the recorder, and the ring grows."""
        before = self.ring_bytes()
        time.sleep(2)
        return self.dvr.control.sessions() >= CAMERAS and self.ring_bytes() > before

    def ring_bytes(self) -> int:
        ring = self.box.root / STATE / "ring"
        return sum(f.stat().st_size for f in ring.rglob("*") if f.is_file()) if ring.is_dir() else 0

    def main_pid(self) -> int:
        return int(self.box.run("systemctl", "show", "-P", "MainPID", "edge-agent").stdout)

    def last_words(self) -> str:
        return self.box.run("journalctl", "-u", "edge-agent", "-n", "25", "--no-pager", check=False).stdout

    def is_back(self) -> None:
        """Recording and heartbeating again; what was heard before does not count."""
        self.forget()
        wait_until("recording", RUNNING_S, self.is_recording)
        self.hears("heartbeat", HEARTBEAT_S)


# -- the steps, in order; each raises ContainerError -----------------------------------------------------


def packages_are_made(shop: Shop) -> None:
    wheels = shop.box.root / "root/wheels"
    subprocess.run(["sh", REPOSITORY / "installer/make-wheels.sh", wheels], check=True, timeout=900)


def installs_on_a_bare_debian_without_network_use(shop: Shop) -> None:
    said = shop.box.run(*INSTALL).stdout
    _expect("not started: name the site" in said, said)
    _expect((shop.box.root / ETC / "edge-agent.toml").stat().st_mode & 0o777 == 0o640, "mode of the sample")


def a_wrong_configuration_is_named_and_not_started(shop: Shop) -> None:
    wrong = shop.box.root / "root/wrong.toml"
    wrong.write_text('[site]\nid = "aligarh-pump-0001"\nname = "x"\nlicense = "typo"\n')
    done = shop.box.run(*INSTALL, "--config", "/root/wrong.toml", check=False)
    _expect(done.returncode != 0 and "site.license" in done.stdout + done.stderr, done.stdout + done.stderr)


def starts_records_and_heartbeats(shop: Shop) -> None:
    _write_configuration(shop)
    shop.box.run(*INSTALL, "--config", "/root/edge-agent.toml", "--allow", "127.0.0.1")
    shop.hears("birth", RUNNING_S)
    shop.is_back()


def a_second_installation_changes_nothing(shop: Shop) -> None:
    said = shop.box.run(*INSTALL).stdout
    _expect("is already there" in said, said)
    shop.is_back()


def status_tells_of_every_camera(shop: Shop) -> None:
    status = json.loads(shop.box.run("edge-agent", "status", "--json").stdout)
    _expect(len(status["cameras"]) == CAMERAS, json.dumps(status)[:2000])


def the_sandbox_holds(shop: Shop) -> None:
    probe = "/var/lib/edge-agent/probe.json"
    shutil.copy(Path(__file__).with_name("sandbox_probe.py"), shop.box.root / "opt/sandbox_probe.py")
    unit = (shop.box.root / "etc/systemd/system/edge-agent.service").read_text()
    lines = [line for line in unit.splitlines() if not line.startswith(("Type=", "Restart=", "WatchdogSec="))]
    at = next(i for i, line in enumerate(lines) if line.startswith("ExecStart="))
    lines[at] = f"ExecStart=/opt/edge-agent/current/bin/python /opt/sandbox_probe.py {probe}\nType=oneshot"
    (shop.box.root / "etc/systemd/system/edge-agent-probe.service").write_text("\n".join(lines))
    shop.box.run("systemctl", "daemon-reload")
    shop.box.run("systemctl", "start", "edge-agent-probe")
    found = json.loads((shop.box.root / probe.lstrip("/")).read_text())
    _expect(not found["failed_to_fail"] and not found["failed_to_work"], json.dumps(found, indent=1))


def nothing_listens_on_tcp(shop: Shop) -> None:
    """The network is shared with the host, so only sockets of the agent's own processes count."""
    inodes = _socket_inodes(shop.main_pid(), shop)
    tables = (Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()).splitlines()
    listening = {line.split()[9] for line in tables if line.split()[3] == "0A"}
    _expect(not inodes & listening, f"listening sockets: {inodes & listening}")


def returns_after_kill_9(shop: Shop) -> None:
    before = shop.main_pid()
    shop.forget()
    shop.box.run("kill", "-9", str(before))
    born = _birth(shop)
    _expect(not born.clean_shutdown and born.last_alive is not None, f"the birth after kill -9 says {born}")
    wait_until("another process", RUNNING_S, lambda: shop.main_pid() not in (0, before))
    shop.is_back()


def a_frozen_agent_is_restarted_by_the_watchdog(shop: Shop) -> None:
    before = shop.main_pid()
    shop.box.run("kill", "-STOP", str(before))
    wait_until("the watchdog bites", 150, lambda: shop.main_pid() not in (0, before))
    shop.is_back()


def returns_after_a_reboot(shop: Shop) -> None:
    shop.box.shut_down()
    shop.forget()
    shop.box.boot()
    born = _birth(shop)
    _expect(born.clean_shutdown, f"the birth after a reboot says {born}")
    shop.is_back()


def returns_after_a_power_cut(shop: Shop) -> None:
    shop.box.power_cut()
    shop.forget()
    shop.box.boot()
    born = _birth(shop)
    _expect(not born.clean_shutdown, f"the birth after a power cut says {born}")
    shop.is_back()


def stays_within_a_small_box(shop: Shop) -> None:
    rss = shop.box.run("ps", "-o", "rss=", "-u", "edge-agent").stdout.split()
    total_mb = sum(map(int, rss)) / 1024
    print(f"      agent's processes: {total_mb:.0f} MB resident", flush=True)
    _expect(total_mb < 400, f"{total_mb:.0f} MB")


def uninstalls_and_keeps_the_footage(shop: Shop) -> None:
    shop.box.run(*INSTALL[:2], "--uninstall")
    _expect(not (shop.box.root / "opt/edge-agent").exists(), "/opt/edge-agent remains")
    _expect(shop.ring_bytes() > 0, "the footage is gone")
    shop.box.run(*INSTALL[:2], "--uninstall", "--purge")
    _expect(not (shop.box.root / STATE).exists(), "the footage remains after --purge")


STEPS: tuple[Callable[[Shop], None], ...] = (
    packages_are_made,
    installs_on_a_bare_debian_without_network_use,
    a_wrong_configuration_is_named_and_not_started,
    starts_records_and_heartbeats,
    a_second_installation_changes_nothing,
    status_tells_of_every_camera,
    the_sandbox_holds,
    nothing_listens_on_tcp,
    returns_after_kill_9,
    a_frozen_agent_is_restarted_by_the_watchdog,
    returns_after_a_reboot,
    returns_after_a_power_cut,
    stays_within_a_small_box,
    uninstalls_and_keeps_the_footage,
)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContainerError(otherwise)


def _birth(shop: Shop) -> BirthData:
    """The next birth, believed only under the box's own key."""
    payload = shop.hears("birth", RUNNING_S)
    public = BoxKey.load_or_create(shop.box.root / STATE / "box.key").public
    message = verify_message(payload, Ed25519PublicKey.from_public_bytes(public))
    assert isinstance(message, Birth)
    return message.data


def _write_configuration(shop: Shop) -> None:
    """The demo's configuration, with the paths that a technician's would have."""
    demo = settings.write_agent_config(shop.layout, shop.pki, shop.broker.port, "")
    document = tomlkit.parse(demo.read_text()).unwrap()
    document["recorders"][0] |= {"address": "127.0.0.1", "onvif_port": shop.dvr.http_port, "endpoint": ""}
    document["state"] = {"directory": f"/{STATE}"}
    document["ring"]["directory"] = f"/{STATE}/ring"
    folder = shop.box.root / ETC
    gid = folder.stat().st_gid
    for key in ("ca", "certificate", "key", "media_certificate", "media_key"):
        source = Path(document["uplink"][key])
        shutil.copy(source, folder / source.name)
        (folder / source.name).chmod(0o640)
        shutil.chown(folder / source.name, 0, gid)
        document["uplink"][key] = f"/{ETC}/{source.name}"
    (shop.box.root / "root/edge-agent.toml").write_text(tomlkit.dumps(document))


def _socket_inodes(main_pid: int, shop: Shop) -> set[str]:
    script = f"for p in {main_pid} $(pgrep -P {main_pid}); do readlink /proc/$p/fd/*; done"
    listed = shop.box.run("sh", "-c", script, check=False).stdout.splitlines()
    return {line[8:-1] for line in listed if line.startswith("socket:[")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".make/long/service"))
    parser.add_argument("--keep", action="store_true", help="leave the container's files for a look")
    options = parser.parse_args()
    socket.setdefaulttimeout(30)
    shop = Shop(options.work.resolve())
    try:
        shop.open()
        for step in STEPS:
            began = time.monotonic()
            step(shop)
            print(f"ok  {step.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
    except ContainerError as error:
        print(f"{shop.last_words()}\nFAILED  {error}", flush=True)
        return 1
    finally:
        shop.close()
        if not options.keep:
            shutil.rmtree(options.work / "box", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
