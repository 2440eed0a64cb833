"""A recorded box on disk, with ring, ledger and configuration, as the commands find it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from evidence_world import PRIVATE, PUBLIC, START_US, Box

from edge_agent.clock import ManualClock
from edge_agent.demo import keyfile
from edge_agent.ledger.file import LedgerFile
from edge_agent.ledger.wire import WitnessNote
from edge_agent.model import Role, StreamKey
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.record import Record


class Deaf:
    def put(self, fact: object) -> None:
        pass


@dataclass
class Site:
    """The files of a box that has recorded, and its configuration."""

    root: Path
    box: Box

    @property
    def config(self) -> Path:
        return self.root / "edge-agent.toml"

    @property
    def key(self) -> Path:
        return self.root / "site.pem"

    def write(self, sealed: bool = False) -> Site:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "box.key").write_bytes(bytes(range(32)))
        keyfile.write_private(self.key, X25519PrivateKey.from_private_bytes(PRIVATE))
        keys: dict[str, object] = {"witness": self.box.witness.key.vkey, "mirror": self.box.mirror.key.vkey}
        if not sealed:
            keys["site_recipient"] = {"id": "site", "public_key": base64.b64encode(PUBLIC).decode()}
        document = {
            "site": {"id": "pump-7", "name": "Pump 7", "timezone": "Asia/Kolkata"},
            "state": {"directory": str(self.root)},
            "ring": {"directory": str(self.root / "ring")},
            "keys": keys,
            "cameras": [{"id": "cam-01", "url": "rtsp://user:pass@127.0.0.1/1"}],
        }
        self.config.write_text(tomlkit.dumps(document))
        self.write_ring()
        self.write_ledger()
        return self

    def write_ring(self) -> None:
        writer = RingWriter(
            role=Role.MAIN, directory=self.root / "ring" / "main",
            policy=RingPolicy(max_bytes=1 << 34, min_free_bytes=0), box_id=self.box.box.box_id,
            run=os.urandom(16), clock=ManualClock(), inbox=Deaf(),
        )  # fmt: skip
        everything: list[Record] = sorted(self.box.records + self.box.tips, key=lambda r: r.header.wall_us)
        for record in everything:
            tips = record in self.box.tips
            writer.put(StreamKey("tips" if tips else "cam-01", Role.MAIN), record)
        writer.cycle()
        writer.finish()

    def write_ledger(self) -> None:
        directory = self.root / "ledger"
        directory.mkdir()
        file = LedgerFile(directory)
        file.append(self.box.leaves)
        file.close()
        view = self.box.view()
        (directory / "checkpoint").write_text(view.own)
        if view.cosigned:
            (directory / "cosigned").write_bytes(
                WitnessNote(view.witnessed, view.cosigned, START_US).encode()
            )
