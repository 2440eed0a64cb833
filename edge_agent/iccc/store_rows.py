"""What the mirror keeps of every log: its tables, and the rows that its code reasons about."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.iccc.witness import Head
from edge_agent.ledger.checkpoint import Verifier

SCHEMA = """
CREATE TABLE IF NOT EXISTS origins (
  origin TEXT PRIMARY KEY, site TEXT NOT NULL, public BLOB NOT NULL, enrolled INTEGER NOT NULL,
  size INTEGER NOT NULL DEFAULT 0, root BLOB NOT NULL, checkpoint TEXT NOT NULL DEFAULT '',
  top INTEGER NOT NULL DEFAULT 0, heard_us INTEGER NOT NULL DEFAULT 0, gap_us INTEGER,
  noted_size INTEGER NOT NULL DEFAULT 0, noted_root BLOB, noted_us INTEGER NOT NULL DEFAULT 0,
  note BLOB, note_due_us INTEGER, frozen INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS origins_site ON origins(site, enrolled);
CREATE TABLE IF NOT EXISTS leaves (
  origin TEXT NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL,
  verified INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (origin, idx, hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tiles (
  origin TEXT NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (origin, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
  origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, checkpoint TEXT NOT NULL,
  misfits INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (origin, size, root)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
  origin TEXT NOT NULL, idx INTEGER NOT NULL, until_us INTEGER NOT NULL,
  PRIMARY KEY (origin, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frauds (
  origin TEXT NOT NULL, at_us INTEGER NOT NULL, reason TEXT NOT NULL,
  ours TEXT NOT NULL, theirs TEXT NOT NULL,
  PRIMARY KEY (origin, ours, theirs)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """One log as the mirror knows it. `size` leaves are stored and verified under `checkpoint`."""

    name: str
    site: str
    public: bytes
    size: int
    root: bytes
    checkpoint: str
    noted: Head | None
    noted_us: int
    note: bytes | None
    frozen: bool

    @property
    def key(self) -> Verifier:
        return Verifier(self.name, self.public)

    @property
    def head(self) -> Head:
        return Head(self.size, self.root)


@dataclass(frozen=True, slots=True)
class PendingHead:
    """A signed checkpoint whose leaves are not all there yet."""

    head: Head
    checkpoint: str
    misfits: int


@dataclass(frozen=True, slots=True)
class Fraud:
    """Two signed statements of one log that cannot both be true: kept for ever, shouted at once."""

    site: str
    origin: str
    reason: str
    ours: str
    theirs: str
