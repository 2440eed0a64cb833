"""What this command centre holds where, and the keys that open it: each sealed again to the evidence key.

A SQLite file beside the registrars' store. It holds no secret: a wrap opens for the evidence key alone, and
that key stays apart. When a case is released its wraps go, and with them the last way to its footage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import EdgeAgentError
from edge_agent.model import Role
from edge_agent.seal.epoch import Wrap

_SCHEMA = """
CREATE TABLE IF NOT EXISTS holds (
  site TEXT NOT NULL, id TEXT NOT NULL, held_case TEXT NOT NULL, camera TEXT NOT NULL, role TEXT NOT NULL,
  from_us INTEGER NOT NULL, to_us INTEGER NOT NULL, records INTEGER NOT NULL, digest TEXT NOT NULL,
  at_us INTEGER NOT NULL, by TEXT NOT NULL, PRIMARY KEY (site, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wraps (
  site TEXT NOT NULL, hold TEXT NOT NULL, epoch BLOB NOT NULL, recipient TEXT NOT NULL,
  suite INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (site, hold, epoch)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class HeldThere:
    """One hold at a box. `by`: who ordered it; `digest` is the box's, over its records' digests."""

    site: str
    id: str
    case: str
    camera: str
    role: Role
    from_us: int
    to_us: int
    records: int
    digest: str
    at_us: int
    by: str


class HoldStore:
    """One process at a time writes; close it. Raises EdgeAgentError when the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise EdgeAgentError(f"{path}: {error}") from error
        with suppress(OSError):
            path.chmod(0o600)

    def close(self) -> None:
        self._db.close()

    def keep(self, hold: HeldThere, wraps: Iterable[tuple[bytes, Wrap]]) -> None:
        """The hold and its (epoch, wrap) pairs, durable when this returns; again is as good as once."""
        row = (
            hold.site, hold.id, hold.case, hold.camera, hold.role.value, hold.from_us, hold.to_us,
            hold.records, hold.digest, hold.at_us, hold.by,
        )  # fmt: skip
        wrapped = [(hold.site, hold.id, epoch, w.recipient, int(w.suite), w.sealed) for epoch, w in wraps]
        try:
            with self._db:
                self._db.execute(f"INSERT OR REPLACE INTO holds VALUES ({','.join('?' * 11)})", row)  # noqa: S608
                self._db.executemany("INSERT OR REPLACE INTO wraps VALUES (?,?,?,?,?,?)", wrapped)
        except sqlite3.Error as error:
            raise EdgeAgentError(f"{self._path}: {error}") from error

    def holds(self, site: str | None = None) -> list[HeldThere]:
        rows = self._db.execute("SELECT * FROM holds WHERE ?1 IS NULL OR site = ?1 ORDER BY at_us", (site,))
        return [_held(*row) for row in rows]

    def wraps(self, site: str) -> dict[bytes, Wrap]:
        """By epoch: of everything that is held at a site."""
        rows = self._db.execute("SELECT epoch, recipient, suite, sealed FROM wraps WHERE site = ?", (site,))
        return {epoch: Wrap(recipient, suite, sealed) for epoch, recipient, suite, sealed in rows}

    def forget(self, site: str, case: str) -> int:
        """After a release: how many holds went, with their wraps."""
        try:
            with self._db:
                ids = [h.id for h in self.holds(site) if h.case == case]
                for table, column in (("wraps", "hold"), ("holds", "id")):
                    self._db.executemany(
                        f"DELETE FROM {table} WHERE site = ? AND {column} = ?",  # noqa: S608
                        [(site, id_) for id_ in ids],
                    )
                return len(ids)
        except sqlite3.Error as error:
            raise EdgeAgentError(f"{self._path}: {error}") from error


def _held(
    site: str, id_: str, case: str, camera: str, role: str, from_us: int, to_us: int, records: int,
    digest: str, at_us: int, by: str,
) -> HeldThere:  # fmt: skip
    return HeldThere(site, id_, case, camera, Role(role), from_us, to_us, records, digest, at_us, by)
