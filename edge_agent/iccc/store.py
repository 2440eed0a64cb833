"""Where the mirror keeps leaves: one SQLite file in WAL mode, shared by as many workers as there are.

One `LedgerStore` a thread; processes and threads meet in the file. A commit is durable before it returns
(`synchronous=FULL`), because the mirror's signature says so. State of an origin moves by compare-and-set.
Leaves are idempotent by (origin, index, hash); they are *pending* until a signed checkpoint covers them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import LedgerError
from edge_agent.iccc.store_rows import SCHEMA, Fraud, Origin, PendingHead
from edge_agent.iccc.witness import Head
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle

TILE = 8  # tiles are the nodes of level 8: 256 leaves each
PENDING_AHEAD = 100_000
MAX_PENDING_HEADS = 256
MAX_RIVALS = 4

_SELECT_ORIGIN = (
    "SELECT origin, site, public, size, root, checkpoint, noted_size, noted_root, noted_us, note, frozen "
    "FROM origins"
)
_ADD_LEAF = (
    "INSERT OR IGNORE INTO leaves (origin, idx, hash, body) SELECT :origin, :idx, :hash, :body "
    "WHERE (SELECT count(*) FROM leaves WHERE origin = :origin AND idx = :idx) < :limit"
)


class LedgerStore:
    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.Error:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    # -- origins --------------------------------------------------------------------------------------------

    def enrol(self, site: str, public: bytes, now_us: int) -> str:
        """Make `public` the ledger key of `site`; returns the origin. Earlier origins stay readable."""
        origin = notes.origin_of(site, public)
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO origins (origin, site, public, enrolled, root) VALUES (?, ?, ?, ?, ?)",
                (origin, site, public, now_us, merkle.EMPTY_ROOT),
            )
        return origin

    def of_site(self, site: str) -> Origin:
        """The site's newest log. Raises `LedgerError` for a site that never enrolled."""
        found = self._origins("site = ? ORDER BY enrolled DESC LIMIT 1", (site,))
        if not found:
            raise LedgerError(f"{site} has no enrolled ledger key")
        return found[0]

    def origin(self, name: str) -> Origin:
        return self._origins("origin = ?", (name,))[0]

    def sites(self) -> list[Origin]:
        """The newest log of every site."""
        newest = "enrolled = (SELECT max(enrolled) FROM origins o WHERE o.site = origins.site)"
        return self._origins(newest, ())

    def notes_due(self, now_us: int) -> list[Origin]:
        """Origins that grew since their last cosignature, and whose next one is due."""
        return self._origins("note_due_us <= ? AND size > noted_size AND NOT frozen", (now_us,))

    def note_is_due(self, origin: str, now_us: int) -> bool:
        due = "origin = ? AND note_due_us <= ? AND size > noted_size AND NOT frozen"
        return bool(self._origins(due, (origin, now_us)))

    # -- leaves ---------------------------------------------------------------------------------------------

    def add(
        self, origin: Origin, first: int, entries: Sequence[bytes], head: PendingHead | None, now_us: int
    ) -> None:
        """Store entries as pending and remember a checkpoint; what is there already changes nothing.

        Entries further than 100,000 ahead are not taken: they come when it is their turn.
        """
        kept = list(enumerate(entries, first))[: max(0, origin.size + PENDING_AHEAD - first)]
        top = max(first + len(kept), head.head.size if head else 0)
        with self._transaction():
            added = self._db.executemany(_ADD_LEAF, [_row(origin.name, i, entry) for i, entry in kept])
            if head:
                self._add_head(origin.name, head)
            if added.rowcount > 0:
                self._db.execute("UPDATE origins SET heard_us = ? WHERE origin = ?", (now_us, origin.name))
            self._db.execute(
                "UPDATE origins SET top = max(top, ?), gap_us = coalesce(gap_us, ?) "
                "WHERE origin = ? AND size < max(top, ?)",
                (top, now_us, origin.name, top),
            )

    def candidates(self, origin: str, first: int, end: int) -> list[list[bytes]]:
        """For each index of [first, end) the hashes that claim it, a verified one first."""
        rows = self._db.execute(
            "SELECT idx, hash FROM leaves WHERE origin = ? AND idx >= ? AND idx < ? ORDER BY verified DESC",
            (origin, first, end),
        )
        found: list[list[bytes]] = [[] for _ in range(end - first)]
        for index, hash_ in rows:
            found[index - first].append(hash_)
        return found

    def present(self, origin: str, first: int, end: int) -> set[int]:
        query = "SELECT DISTINCT idx FROM leaves WHERE origin = ? AND idx >= ? AND idx < ?"
        return {row[0] for row in self._db.execute(query, (origin, first, end))}

    def contested_below(self, origin: str, size: int) -> int | None:
        """The lowest verified index for which another leaf was sent."""
        query = "SELECT min(idx) FROM leaves WHERE origin = ? AND idx < ? AND NOT verified"
        lowest: int | None = self._db.execute(query, (origin, size)).fetchone()[0]
        return lowest

    def leaves(self, origin: str, first: int, count: int) -> list[bytes]:
        """Verified entries, byte for byte as they came."""
        query = "SELECT body FROM leaves WHERE origin = ? AND idx >= ? AND idx < ? AND verified ORDER BY idx"
        return [row[0] for row in self._db.execute(query, (origin, first, first + count))]

    # -- the tree over verified leaves ----------------------------------------------------------------------

    def nodes(self, origin: str) -> merkle.NodeLookup:
        def look_up(level: int, index: int) -> bytes:
            if level < TILE:
                return merkle.root(self._hashes("leaves", origin, index << level, 1 << level))
            above = level - TILE
            return merkle.root(self._hashes("tiles", origin, index << above, 1 << above))

        return look_up

    def root(self, origin: str, size: int) -> bytes:
        return merkle.span_root(self.nodes(origin), 0, size)

    # -- checkpoints ----------------------------------------------------------------------------------------

    def pending_heads(self, origin: str) -> list[PendingHead]:
        query = "SELECT size, root, checkpoint, misfits FROM heads WHERE origin = ? ORDER BY size"
        return [PendingHead(Head(s, r), c, m) for s, r, c, m in self._db.execute(query, (origin,))]

    def drop_head(self, origin: str, head: Head) -> None:
        query = "DELETE FROM heads WHERE origin = ? AND size = ? AND root = ?"
        self._db.execute(query, (origin, head.size, head.root))

    def accept(self, origin: Origin, pending: PendingHead, hashes: Sequence[bytes]) -> bool:
        """Move the mirror from `origin.size` to the head; `hashes` are the leaves between.

        Compare-and-set: False, and nothing changed, when another worker moved it first.
        """
        head = pending.head
        with self._transaction() as give_up:
            moved = self._db.execute(
                "UPDATE origins SET size = ?, root = ?, checkpoint = ?, "
                "gap_us = CASE WHEN top > ? THEN gap_us END WHERE origin = ? AND size = ? AND NOT frozen",
                (head.size, head.root, pending.checkpoint, head.size, origin.name, origin.size),
            ).rowcount
            if not moved or not self._verify(origin, head, hashes):
                give_up()
                return False
        return True

    def reject(self, origin: str, first: int, pending: PendingHead) -> None:
        """The pending leaves do not give the signed root: forget them, they will be asked for again."""
        head = pending.head
        with self._transaction():
            self._db.execute(
                "DELETE FROM leaves WHERE origin = ? AND idx >= ? AND idx < ? AND NOT verified",
                (origin, first, head.size),
            )
            self._db.execute(
                "DELETE FROM asked WHERE origin = ? AND idx >= ? AND idx < ?", (origin, first, head.size)
            )
            self._db.execute(
                "UPDATE heads SET misfits = misfits + 1 WHERE origin = ? AND size = ? AND root = ?",
                (origin, head.size, head.root),
            )

    def want_note(self, origin: str, due_us: int) -> None:
        self._db.execute(
            "UPDATE origins SET note_due_us = min(coalesce(note_due_us, ?), ?) WHERE origin = ?",
            (due_us, due_us, origin),
        )

    def keep_note(self, before: Origin, head: Head, note: bytes, now_us: int) -> bool:
        """Compare-and-set of the cosigned note."""
        moved = self._db.execute(
            "UPDATE origins SET noted_size = ?, noted_root = ?, noted_us = ?, note = ?, note_due_us = NULL "
            "WHERE origin = ? AND noted_size = ? AND noted_us = ? AND NOT frozen",
            (head.size, head.root, now_us, note, before.name, before.noted.size if before.noted else 0,
             before.noted_us),
        ).rowcount  # fmt: skip
        return bool(moved)

    # -- holes ----------------------------------------------------------------------------------------------

    def with_holes(self, quiet_before_us: int, long_before_us: int) -> list[tuple[Origin, int]]:
        """Origins that miss leaves and have been quiet, or missing them for long; and how far they go."""
        quiet = "gap_us IS NOT NULL AND size < top AND (max(heard_us, gap_us) <= ? OR gap_us <= ?)"
        found = self._origins(quiet, (quiet_before_us, long_before_us))
        return [(origin, self._top(origin.name)) for origin in found]

    def ask(self, origin: Origin, missing: Sequence[int], now_us: int, until_us: int) -> list[int]:
        """Reserve missing indexes for the caller to ask for; those already asked for are left out."""
        with self._transaction():
            self._db.execute("DELETE FROM asked WHERE origin = ? AND until_us <= ?", (origin.name, now_us))
            query = "INSERT OR IGNORE INTO asked (origin, idx, until_us) VALUES (?, ?, ?)"
            return [
                index
                for index in missing
                if self._db.execute(query, (origin.name, index, until_us)).rowcount > 0
            ]

    # -- fraud ----------------------------------------------------------------------------------------------

    def record_fraud(self, fraud: Fraud, now_us: int) -> bool:
        """Keep the evidence and freeze the origin; False if it was known already."""
        with self._transaction():
            new = self._db.execute(
                "INSERT OR IGNORE INTO frauds VALUES (?, ?, ?, ?, ?)",
                (fraud.origin, now_us, fraud.reason, fraud.ours, fraud.theirs),
            ).rowcount
            self._db.execute("UPDATE origins SET frozen = 1 WHERE origin = ?", (fraud.origin,))
        return new > 0

    def frauds(self) -> list[Fraud]:
        query = (
            "SELECT site, f.origin, reason, ours, theirs "
            "FROM frauds f JOIN origins USING (origin) ORDER BY at_us"
        )
        return [Fraud(*row) for row in self._db.execute(query)]

    # -- helpers --------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Callable[[], None]]:
        """Commit at the end, unless the body fails or calls what it is given."""
        given_up: list[bool] = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield lambda: given_up.append(True)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("ROLLBACK" if given_up else "COMMIT")

    def _origins(self, where: str, values: Sequence[object]) -> list[Origin]:
        rows = self._db.execute(f"{_SELECT_ORIGIN} WHERE {where}", tuple(values))
        return [
            Origin(o, s, p, n, r, c, Head(ns, nr) if nr else None, nu, note, bool(frozen))
            for o, s, p, n, r, c, ns, nr, nu, note, frozen in rows
        ]

    def _top(self, origin: str) -> int:
        top: int = self._db.execute("SELECT top FROM origins WHERE origin = ?", (origin,)).fetchone()[0]
        return top

    def _hashes(self, table: str, origin: str, first: int, count: int) -> list[bytes]:
        only = "AND verified " if table == "leaves" else ""
        rows = self._db.execute(
            f"SELECT hash FROM {table} WHERE origin = ? AND idx >= ? AND idx < ? {only}ORDER BY idx",  # noqa: S608
            (origin, first, first + count),
        )
        hashes = [row[0] for row in rows]
        if len(hashes) != count:
            raise LedgerError(f"{origin}: the mirror lacks leaves it had; restore it from its backup")
        return hashes

    def _add_head(self, origin: str, pending: PendingHead) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO heads (origin, size, root, checkpoint) VALUES (?, ?, ?, ?)",
            (origin, pending.head.size, pending.head.root, pending.checkpoint),
        )
        self._db.execute(
            "DELETE FROM heads WHERE origin = ? AND size NOT IN "
            "(SELECT size FROM heads WHERE origin = ? ORDER BY size DESC LIMIT ?)",
            (origin, origin, MAX_PENDING_HEADS),
        )

    def _verify(self, origin: Origin, head: Head, hashes: Sequence[bytes]) -> bool:
        """Inside the accepting transaction: mark the chosen leaves, forget their rivals, complete tiles.

        False if another worker threw some of them away meanwhile.
        """
        chosen = [(origin.name, index, hash_) for index, hash_ in enumerate(hashes, origin.size)]
        marked = self._db.executemany(
            "UPDATE leaves SET verified = 1 WHERE origin = ? AND idx = ? AND hash = ?", chosen
        ).rowcount
        if marked != len(chosen):
            return False
        self._db.execute(
            "DELETE FROM leaves WHERE origin = ? AND idx >= ? AND idx < ? AND NOT verified",
            (origin.name, origin.size, head.size),
        )
        for tile in range(origin.size >> TILE, head.size >> TILE):
            hash_ = merkle.root(self._hashes("leaves", origin.name, tile << TILE, 1 << TILE))
            self._db.execute("INSERT INTO tiles VALUES (?, ?, ?)", (origin.name, tile, hash_))
        self.drop_head(origin.name, head)
        self._db.execute("DELETE FROM asked WHERE origin = ? AND idx < ?", (origin.name, head.size))
        return True


def _row(origin: str, index: int, entry: bytes) -> dict[str, object]:
    hash_ = leaves_.entry_hash(entry)
    return {"origin": origin, "idx": index, "hash": hash_, "body": entry, "limit": MAX_RIVALS}
