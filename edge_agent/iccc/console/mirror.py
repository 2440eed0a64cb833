"""What the registrars' store says of each site: how much of its ledger is kept, and whether it lied."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from edge_agent.iccc.sites import LedgerView
from edge_agent.iccc.store import LedgerStore

log = logging.getLogger(__name__)


def look(path: Path) -> dict[str, LedgerView]:
    """By site. Opens the store for a moment; nothing where there is none yet or it cannot be read."""
    if not path.exists():
        return {}
    try:
        store = LedgerStore(path)
        try:
            frauds = {fraud.origin: fraud.reason for fraud in store.frauds()}
            return {
                origin.site: LedgerView(
                    origin.size,
                    origin.noted.size if origin.noted else 0,
                    origin.noted_us,
                    frauds.get(origin.name, ""),
                )
                for origin in store.sites()
            }
        finally:
            store.close()
    except sqlite3.Error as error:
        log.warning("%s: %s", path, error)
        return {}
