"""A box of its own process that is given far more to say than it may keep, on a line that takes nothing.

    python hungry_box.py PKI_DIRECTORY PORT ROUNDS

Prints the growth of its resident memory in bytes, from before the flood to its highest since, and what was
offered to it. Ends by itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event, Thread

from uplink_world import ONE, SITE, Box, records

from edge_agent.clock import SystemClock
from edge_agent.demo.pki import Pki
from edge_agent.events import BoundedInbox
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink import topics
from edge_agent.uplink.link import Broker, Link, LinkSettings
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.messages import EventData, HeartbeatData
from edge_agent.uplink.mqtt import MqttConnection

WARM_UP, PICTURE, EVENTS, FRAGMENTS = 2, 400_000, 50, 20


class Still:
    """As much of a sealed picture as the link looks at."""

    def __init__(self) -> None:
        self.raw = os.urandom(PICTURE)


class Hungry:
    def __init__(self, pki: Pki, port: int) -> None:
        self._box = Box(pki, port, ack_timeout_s=3600)
        identity = pki.client(topics.media_client(SITE))
        clock = SystemClock()
        settings = LinkSettings(
            (Broker("127.0.0.1", port),), identity.common_name, pki.ca, identity.certificate, identity.key,
            gentle=True,
        )  # fmt: skip
        link = Link(settings, clock, MqttConnection)
        self._media = MediaLink(site=SITE, link=link, inbox=BoundedInbox(), clock=clock)
        self._tap = Tap[Record]()
        self._tap.begin_epoch(*records(0))
        self._media.start_live("cam-01", Role.MAIN, self._tap, lease=ONE, lease_s=600)
        for worker in (self._box.control, self._media):
            Thread(target=worker.run, args=(Event(), lambda: None), daemon=True).start()

    def feed(self) -> int:
        """One round of everything a box says; returns its bytes."""
        control = self._box.control
        control.send_snapshot("cam-01", (Still(),))  # type: ignore[arg-type]
        control.send_ledger(os.urandom(8000))
        control.send_heartbeat(HeartbeatData())
        for _ in range(EVENTS):
            control.send_event(EventData(kind="test", detail={"text": "x" * 4000}))
        for record in records(FRAGMENTS, size=30_000)[2:]:
            self._tap.publish(record, len(record.raw), keyframe=record.header.keyframe)
        return PICTURE + 8000 + EVENTS * 4000 + FRAGMENTS * 30_000


def main() -> None:
    directory, port, rounds = sys.argv[1:]
    hungry = Hungry(Pki(Path(directory)), int(port))
    pause = Event()
    for _ in range(WARM_UP):
        hungry.feed()
        pause.wait(0.3)
    before, offered = memory("VmRSS"), 0
    for _ in range(int(rounds)):
        offered += hungry.feed()
        pause.wait(0.005)
    print(max(0, memory("VmHWM") - before), offered, flush=True)
    os._exit(0)  # the links would wait for a broker that takes no farewell


def memory(line: str) -> int:
    """Bytes of this program alone: what `getrusage` tells includes the parent from before the exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(text.split()[1]) for text in status if text.startswith(line))


if __name__ == "__main__":
    main()
