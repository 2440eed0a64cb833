"""Every kind of leaf that the agent writes is in the ledger's documentation, and no other."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_table_of_kinds_is_the_journals() -> None:
    journal = (REPOSITORY / "edge_agent/agent/journal.py").read_text(encoding="utf-8")
    written = set(re.findall(r"_ledger\.append\w*\(\s*\"(\w+)\"", journal))
    table = (REPOSITORY / "docs/ledger.md").read_text(encoding="utf-8")
    section = table[table.index("Kinds that the agent writes") : table.index("`mark`, each minute, at most")]
    first_cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(written) > 15
    assert documented == written
