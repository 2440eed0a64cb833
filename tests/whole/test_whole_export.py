"""A whole city: the command centre exports what the agent recorded, and a stranger verifies it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.demo import keyfile, settings
from edge_agent.demo.city import City
from edge_agent.demo.settings import SITE
from edge_agent.export.manifest import Exported
from edge_agent.iccc import export as exports
from edge_agent.iccc.export import Desk, Wanted
from edge_agent.iccc.store import LedgerStore
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.model import Role
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict
from edge_agent.verify.trust import Trust

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.long, pytest.mark.timeout(900)]

Soon = Callable[[Callable[[], object], float, str], None]
S = 1_000_000


def test_ten_seconds_leave_the_city_as_evidence(city: City, watcher, soon: Soon, tmp_path: Path) -> None:
    start = time.time_ns() // 1000
    time.sleep(12)
    size = city.status()["ledger"]["size"]
    soon(lambda: city.status()["ledger"]["size"] > size + 2, 150, "two minute marks")
    marked = city.status()["ledger"]["size"]
    soon(lambda: city.status()["ledger"]["cosigned"] >= marked, 400, "the cosignature")
    private = keyfile.ed25519_key(tmp_path / "exporter.pem")
    desk = Desk(
        settings.RECIPIENT_ID, city.pki.recipient_key().private_bytes_raw(),
        Verifier("iccc/exporter", private.public_key().public_bytes_raw()), private,
        keyfile.vkey(settings.WITNESS_NAME, city.pki.witness_key()),
        keyfile.vkey(settings.MIRROR_NAME, city.pki.mirror_key()),
    )  # fmt: skip
    told = Exported(time.time_ns() // 1000, "asha", "FIR 12", "4711", "iccc")
    wanted = Wanted(SITE, "cam-01", Role.MAIN, start, start + 10 * S, told)
    public, birth, out = settings.box_public(city.layout), watcher.client.birth(SITE), tmp_path / "e.zip"
    with exports.open_spool(tmp_path / "spool", birth, wanted, public) as spool:
        assert exports.pull(watcher.client, wanted, spool, lambda _us: None)
        store = LedgerStore(city.layout.mirror)
        exports.write(out, watcher.client, wanted, desk, spool, store, public, lambda records: records)
        store.close()
    city_keys = {("mirror", desk.mirror), ("witness", desk.witness), ("exporter", desk.exporter.vkey)}
    report = verify(out, Trust(frozenset(city_keys)))
    assert report.verdict is Verdict.AUTHENTIC, report
