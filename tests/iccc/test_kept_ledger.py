"""What the console shows of the mirror's store."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.iccc.console import mirror
from edge_agent.iccc.console.views import ledger_fact
from edge_agent.iccc.sites import LedgerView, SiteView, ledger_looked
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Fraud


def test_fraud_is_one_entry_of_the_feed_however_often_it_is_seen() -> None:
    site, entries = ledger_looked(SiteView("pump-7"), LedgerView(12, 10, 1), 5)
    assert (entries, ledger_fact(LedgerView(12, 10, 1))) == ((), ["Ledger", "12 facts kept, 10 cosigned", ""])
    site, entries = ledger_looked(site, LedgerView(12, 10, 1, "signed two trees"), 6)
    assert [(entry.tone, entry.detail, entry.at_us) for entry in entries] == [("bad", "signed two trees", 6)]
    site, entries = ledger_looked(site, LedgerView(13, 10, 1, "signed two trees"), 7)
    assert entries == ()
    assert site.ledger is not None
    assert ledger_fact(site.ledger)[2] == "bad"


def test_the_store_is_read_by_site_and_its_absence_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "mirror.sqlite"
    assert mirror.look(path) == {}
    assert not path.exists()
    store = LedgerStore(path)
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    origin = store.enrol("pump-7", public, 1)
    store.enrol("pump-8", bytes(32), 1)
    store.record_fraud(Fraud("pump-7", origin, "signed two trees", "a", "b"), 2)
    store.close()
    seen = mirror.look(path)
    assert seen == {"pump-7": LedgerView(0, 0, 0, "signed two trees"), "pump-8": LedgerView(0, 0, 0)}


def test_new_keys_begin_a_new_ledger_and_end_the_alarm(tmp_path: Path) -> None:
    path = tmp_path / "mirror.sqlite"
    store = LedgerStore(path)
    origin = store.enrol("pump-7", bytes(32), 1)
    store.record_fraud(Fraud("pump-7", origin, "signed two trees", "a", "b"), 2)
    store.enrol("pump-7", bytes([1]) * 32, 3)
    store.close()
    assert mirror.look(path)["pump-7"].fraud == ""


def test_a_file_that_is_no_store_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mirror.sqlite"
    path.write_bytes(b"not a database" * 100)
    assert mirror.look(path) == {}
