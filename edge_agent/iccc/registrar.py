"""The ingest worker: `python -m edge_agent.iccc.registrar --config registrar.toml`.

It registers what the boxes' ledgers say: leaves into the mirror's store, cosigned checkpoints back on the
retained `dn/witness`, holes asked for on `dn/want`, leaves for a rolled-back box on `dn/leaves`. Any
number of workers share the subscription and the store. A message is acknowledged once it is stored, and the
broker keeps the session, so a worker may be killed at any moment; when its store fails, it ends itself.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from edge_agent import log as logs
from edge_agent.errors import EdgeAgentError, FormatError, LedgerError, UplinkError
from edge_agent.iccc.belief import Boxes
from edge_agent.iccc.ingest import Ingest, Ingested
from edge_agent.iccc.link import Arrived, BrokerLink
from edge_agent.iccc.registrar_settings import RegistrarSettings, load
from edge_agent.iccc.store import LedgerStore
from edge_agent.uplink import topics
from edge_agent.uplink.topics import Down, Up, UpTopic

log = logging.getLogger(__name__)

HEARD = (Up.HEARTBEAT, Up.LEDGER, Up.EVENT)
TICK_S = 1.0

Publish = Callable[[str, bytes, bool], None]  # topic, payload, retained; UplinkError without a connection
Handle = Callable[[str, bytes, int], Ingested]


class Registrar:
    """From message to store to answer; knows no broker. One thread, the one that opened the store."""

    def __init__(self, ingest: Ingest, store: LedgerStore, boxes: Boxes, publish: Publish) -> None:
        self._ingest = ingest
        self._store = store
        self._boxes = boxes
        self._publish = publish
        self._handlers: dict[Up, Handle] = {
            Up.HEARTBEAT: ingest.on_heartbeat,
            Up.LEDGER: ingest.on_ledger,
            Up.EVENT: ingest.on_event,
        }
        self._enrolled: set[str] = set()
        # a worker may have died between storing a note and publishing it
        self._owed = dict.fromkeys(origin.site for origin in store.sites() if origin.note)
        self.taken = self.strangers = 0

    def take(self, topic: str, payload: bytes, now_us: int) -> None:
        """One message of a box. What is not from an enrolled box is counted, logged once in a while."""
        try:
            parsed = topics.parse(topic)
            handle = self._handlers.get(parsed.leaf) if isinstance(parsed, UpTopic) else None
            if not isinstance(parsed, UpTopic) or handle is None:
                return
            self._enrol(parsed.site, now_us)
            self._answer(handle(parsed.site, payload, now_us))
            self.taken += 1
        except (FormatError, LedgerError) as error:
            self._refuse(topic, str(error))

    def tick(self, now_us: int) -> None:
        """Once a second while connected: cosign what is due, publish it, ask for what is missing."""
        try:
            for due in self._ingest.notes_due(now_us):
                self._owe_note(due.site)
            for site in list(self._owed):
                self._ingest.publish_note(site, self._publisher(site))
                del self._owed[site]
            for asked in self._ingest.wants(now_us):
                self._publish(topics.down(asked.site, Down.WANT), asked.payload, False)
        except UplinkError as error:
            log.info("not published yet: %s", error)
        except LedgerError as error:
            log.error("%s", error)

    def _enrol(self, site: str, now_us: int) -> None:
        if site in self._enrolled:
            return
        public = self._boxes.public_key(site)
        if public is None:
            raise LedgerError(f"{site} is not enrolled here")
        self._store.enrol(site, public, now_us)
        self._enrolled.add(site)

    def _answer(self, done: Ingested) -> None:
        """What is not published now is asked for again by the box; only the note is owed."""
        if done.note is not None or done.unsigned:
            self._owe_note(done.site)
        if done.leaves is not None:
            try:
                self._publish(topics.down(done.site, Down.LEAVES), done.leaves, False)
            except UplinkError as error:
                log.info("%s: leaves not sent back: %s", done.site, error)

    def _owe_note(self, site: str) -> None:
        self._owed[site] = None

    def _publisher(self, site: str) -> Callable[[bytes], None]:
        return lambda note: self._publish(topics.down(site, Down.WITNESS), note, True)

    def _refuse(self, topic: str, why: str) -> None:
        self.strangers += 1
        if self.strangers & (self.strangers - 1) == 0:  # the first, the second, the fourth ...
            log.warning("%s: not taken: %s (%d so far)", topic, why, self.strangers)


class Worker:
    """A registrar on its connection to the broker."""

    def __init__(self, settings: RegistrarSettings, store: LedgerStore) -> None:
        ingest = Ingest(store, settings.witness(), settings.mirror())
        self._registrar = Registrar(ingest, store, settings.trusted_boxes(), self._publish)
        self._link = BrokerLink(
            settings.broker,
            settings.tls,
            settings.client_id,
            self._heard,
            lambda _up, reason: log.info("broker: %s", reason),
            session_s=settings.session_s,
        )
        for leaf in HEARD:
            self._link.subscribe(topics.ingest_filter(settings.share, leaf), 1)

    def run(self, stop: Event) -> None:
        """Until `stop`. Raises sqlite3.Error when the store fails: the message at hand will come again."""
        self._link.open()
        try:
            next_tick = 0.0
            while not stop.is_set():
                self._link.turn(TICK_S / 2)
                if self._link.connected and time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._registrar.tick(_now_us())
        finally:
            self._link.stop()
            log.info("took %d messages, refused %d", self._registrar.taken, self._registrar.strangers)

    def _heard(self, arrived: Arrived) -> None:
        self._registrar.take(arrived.topic, arrived.payload, _now_us())

    def _publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self._link.publish(topic, payload, retain=retain)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logs.configure(options.log_level)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = load(options.config)
        store = LedgerStore(settings.store)
        try:
            Worker(settings, store).run(stop)
        finally:
            store.close()
    except (EdgeAgentError, sqlite3.Error) as error:
        log.critical("registrar: %s", error)
        return 2
    return 0


def _now_us() -> int:
    return time.time_ns() // 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.iccc.registrar", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see docs/guides/iccc.md")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
