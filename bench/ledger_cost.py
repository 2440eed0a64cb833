"""What a long ledger costs: 400 days of minute marks, opened, proved, rebuilt and verified.

    python -m bench.ledger_cost [LEAVES]

Prints the figures of docs/ledger.md, "Measured". Times are CPU times, which other work on the machine moves
little. 600,000 leaves need 200 MB in the temporary directory and about a minute.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.process import memory
from bench.table import table
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.file import LedgerFile
from edge_agent.ledger.leaf import CameraMark
from edge_agent.ledger.log import LedgerLog
from edge_agent.ledger.verifier import verify_directory
from edge_agent.ledger.wire import Batch
from edge_agent.model import ClockTrust, Instant

LEAVES, APPENDED = 600_000, 5_000
BEGAN_US, MINUTE_US = 1_790_000_000_000_000, 60_000_000
T = TypeVar("T")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else LEAVES
    with tempfile.TemporaryDirectory(prefix="ledger-cost-") as folder:
        print(measured(Path(folder), count))


def measured(directory: Path, count: int) -> str:
    """A table of what the marks of `count` minutes cost, with eight cameras."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    origin = notes.origin_of("pump-17", public)
    write(directory, count, origin, public, key)
    before = memory(os.getpid()).rss
    file, open_s = timed(lambda: LedgerFile(directory, signed(directory, origin, public)))
    log = LedgerLog(file, origin, public, key.sign, lambda: True)
    (_, inclusion, consistency), proofs_s = timed(lambda: proofs(log, count))
    _, first_s = timed(lambda: file.entries(count // 3, 100))
    _, next_s = timed(lambda: file.entries(count // 3 + 100, 100))
    grown = memory(os.getpid()).rss - before
    file.close()
    report, verify_s = timed(lambda: verify_directory(directory))
    parts = [path.stat().st_size for path in directory.glob("leaves-*")]
    hashes = (directory / "hashes").stat().st_size
    (directory / "hashes").unlink()
    rebuilt, rebuild_s = timed(lambda: LedgerFile(directory))
    rebuilt.close()
    rows = (
        ("on the disk", f"{sum(parts) / 1e6:.0f} MB in {len(parts)} parts, {hashes / 1e6:.0f} MB of hashes"),
        ("open", f"{open_s * 1e3:.0f} ms"),
        (
            "root and two proofs",
            f"{proofs_s * 1e3:.2f} ms; {32 * max(len(inclusion), len(consistency))} bytes",
        ),
        ("100 leaves of an old part", f"{first_s * 1e3:.0f} ms, the next {next_s * 1e3:.1f} ms"),
        ("memory", f"+{grown / 2**20:.1f} MiB"),
        ("`hashes` rebuilt", f"{rebuild_s:.1f} s"),
        ("verify_directory", f"{verify_s:.1f} s, {'holds' if report.ok else report.problems[:1]}"),
        ("30 marks as a batch", quoted(list(marks(30)))),
    )
    return table(f"Ledger of {count:,} leaves", ("what", "CPU, bytes"), rows)


def write(directory: Path, count: int, origin: str, public: bytes, key: Ed25519PrivateKey) -> None:
    (directory / "vkey").write_text(Verifier(origin, public).vkey + "\n", encoding="utf-8")
    file = LedgerFile(directory)
    batch: list[bytes] = []
    for leaf in marks(count):
        batch.append(leaf)
        if len(batch) == APPENDED:
            file.append(batch)
            batch = []
    if batch:
        file.append(batch)
    head = LedgerLog(file, origin, public, key.sign, lambda: True).sign(count)
    (directory / "checkpoint").write_text(str(head), encoding="utf-8")
    file.close()


def signed(directory: Path, origin: str, public: bytes) -> notes.Checkpoint:
    text = (directory / "checkpoint").read_text(encoding="utf-8")
    return notes.open_checkpoint(text, Verifier(origin, public))[0]


def marks(count: int) -> Iterator[bytes]:
    for minute in range(count):
        tips = hashlib.sha256(minute.to_bytes(8, "big")).digest()
        data = leaves_.mark(7, [4_000 + minute // 10, 900], tips[::-1], [CameraMark.UP] * 8, tips)
        at = Instant(BEGAN_US + minute * MINUTE_US, minute * MINUTE_US * 1000, ClockTrust.NTP)
        yield leaves_.encode("mark", data, at, b"\x01\x02\x03\x04")


def proofs(log: LedgerLog, count: int) -> tuple[bytes, list[bytes], list[bytes]]:
    return log.root(count), log.inclusion(count // 3, count), log.consistency(count // 2 + 1, count)


def quoted(leaves: list[bytes]) -> str:
    batch = len(Batch(0, tuple(leaves)).encode())
    strings = len(json.dumps([leaf.decode() for leaf in leaves]))
    return f"{batch:,} bytes; as JSON strings {strings:,}"


def timed(what: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    return what(), time.process_time() - began


if __name__ == "__main__":
    main()
