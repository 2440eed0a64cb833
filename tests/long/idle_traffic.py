"""What an idle site costs a day: eight cameras, a heartbeat a minute, ledger and cosignatures, no viewer.

Every IP packet that crosses the line is counted, TCP, TLS and acknowledgements included, over half an hour
and extrapolated to a day. A table says what each part costs: payloads by topic as they arrive, the rest is
what carries them. Fails above 1.5 MB a day.

    python tests/long/idle_traffic.py --minutes 31
"""

from __future__ import annotations

import argparse
import ssl
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from far_city import FarCity, inside

from edge_agent.demo.settings import SITE

BAR_MB, GOAL_MB = 1.5, 0.75
SETTLE_S = 150.0  # births, the first ledger batch and pictures belong to the start, not to a day
EAR = "iccc-ear"
DAY_S = 86_400
UNWATCHED = {
    "uplink": {"heartbeat_s": 60},
    "snapshots": {"enabled": False},  # a picture an hour is bought and paid for by configuration
    "capture": {"sub": "off"},
}


class Ear:
    """Hears everything at the broker and adds up payloads by topic."""

    def __init__(self, city: FarCity) -> None:
        self.bytes: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        identity = city.pki.client(EAR)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, EAR, protocol=MQTTProtocolVersion.MQTTv5)
        context = ssl.create_default_context(cafile=str(city.pki.ca))
        context.load_cert_chain(identity.certificate, identity.key)
        self._client.tls_set_context(context)
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", city.broker.port)
        self._client.subscribe(f"iccc/v1/{SITE}/#", qos=0)
        self._client.loop_start()

    def begin(self) -> None:
        self.bytes.clear()
        self.messages.clear()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _heard(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        part = "/".join(message.topic.split("/")[3:5])
        self.bytes[part] += len(message.payload)
        self.messages[part] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=31.0)
    parser.add_argument("--cameras", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-idle-") as directory:
        state = Path(directory) / "state"
        shapes = {"main": "320x180@5", "sub": "160x90@5", "h265": "none"}
        city = FarCity(state, cameras=options.cameras, changes=UNWATCHED, **shapes)
        city.pki.client(EAR)
        with city:
            city.wait_until_seeing(options.cameras)
            city.lab.mobile()
            return measure(city, options.minutes * 60)


def measure(city: FarCity, seconds: float) -> int:
    with inside(city.lab.city):
        ear = Ear(city)
    time.sleep(min(SETTLE_S, seconds))
    ear.begin()
    before, began = city.lab.counters(), time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(left, 60))
        print(f"{(time.monotonic() - began) / 60:.0f} min", file=sys.stderr, flush=True)
    span_s = time.monotonic() - began
    after = city.lab.counters()
    ear.stop()
    return report(ear, {way: after[way]["bytes"] - before[way]["bytes"] for way in after}, span_s)


def report(ear: Ear, wire: dict[str, int], span_s: float) -> int:
    a_day = DAY_S / span_s
    print(f"| part | messages a day | payload KB a day |\n|---|---|---|  measured {span_s / 60:.1f} min")
    for part, size in ear.bytes.most_common():
        print(f"| {part} | {ear.messages[part] * a_day:.0f} | {size * a_day / 1e3:.0f} |")
    total = sum(wire.values())
    carried = total - sum(ear.bytes.values())
    print(f"| MQTT, TLS, TCP and IP around them, keepalives | | {carried * a_day / 1e3:.0f} |")
    megabytes = total * a_day / 1e6
    print(f"up {wire['up'] * a_day / 1e6:.2f}, down {wire['down'] * a_day / 1e6:.2f} MB a day")
    print(f"{megabytes:.2f} MB a day; bar {BAR_MB}, goal {GOAL_MB}")
    return 0 if megabytes <= BAR_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
